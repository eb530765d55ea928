"""Networks that pool over the whole image, on images too large for the device: layer by layer.

Feature maps lie on the host as a whole and visit the device in tiles, one step of the network at a
time (`preproc.networks.steps`). A block that gates by means over the image is swept twice: the
first sweep sums its features, the second computes them again and merges them, with the gates of the
whole image. So the answer is the whole image's, the device never holds more than a tile, and the
price is that the blocks' convolutions are computed twice and that the host holds the maps.

Maps are overwritten in place. At x4 CISRNet then needs two maps of 96 channels at HR (the current
one and the skip around a residual group), that is 6.1 kB of host memory per LR px in bfloat16 and
12.3 kB in float32, besides two bands of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from preproc.execution.maps import MakeMap, in_memory
from preproc.execution.tiles import Apply
from preproc.execution.tiling import Span, spans
from preproc.networks.steps import Keep, Local, Pooled, Step, Stepwise
from preproc.progress import advance, scaled

LIMIT = 2**21
"""Output px up to which an image goes through as a whole: about 5 GB for CISRNet in float32."""
BAND = 256
"""Rows of a tile; two bands of so many whole rows are on the host besides the maps."""
LENGTH = 1024
"""Columns of a tile."""


class Layerwise(nn.Module):
    """A network run step by step.

    ``forward`` maps a host tensor (N, 3, H, W) to a host tensor (N, 3, s*H, s*W); only tiles of the
    maps between go to the device of the network's parameters.

    Args:
        network: a module that is `Stepwise`.
        band: rows of a tile, in px of the map it becomes.
        length: columns of a tile, likewise.
        make_map: makes the maps.
    """

    def __init__(
        self,
        network: Stepwise,
        *,
        band: int = BAND,
        length: int = LENGTH,
        make_map: MakeMap = in_memory,
    ) -> None:
        super().__init__()
        self.network = network
        self.band, self.length = band, length
        self.make_map = make_map

    def forward(self, x: Tensor) -> Tensor:
        """Enhance a batch, picture by picture."""
        steps = list(self.network.steps())
        px = len(x) * _swept(steps, x.shape[-2] * x.shape[-1])
        with scaled(1 / px):
            pictures = [self._picture(steps, x[n : n + 1].cpu()) for n in range(len(x))]
        return pictures[0] if len(x) == 1 else torch.cat(pictures)

    def _picture(self, steps: Sequence[Step], x: Tensor) -> Tensor:
        current = x.clone(memory_format=torch.channels_last)
        stack: list[Tensor] = []
        for step in steps:
            current = self._taken(step, current, stack)
        return current

    def _taken(self, step: Step, current: Tensor, stack: list[Tensor]) -> Tensor:
        """The map after a step; may be the map before it, overwritten."""
        match step:
            case Keep():
                stack.append(self.make_map(current.shape, current.dtype).copy_(current))
                return current
            case Local(apply, radius, scale, skip):
                beside = stack.pop() if skip else None
                return self._sweep(apply, current, beside, radius, scale)
            case Pooled(extract, gates, merge, radius, merge_radius):
                factors = gates(self._mean(extract, current, radius))
                return self._sweep(
                    lambda tile: merge(tile, extract(tile), factors),
                    current,
                    None,
                    radius + merge_radius,
                )

    def _mean(self, apply: Callable[[Tensor], Tensor], x: Tensor, radius: int) -> Tensor:
        """Means (1, C, 1, 1), on the device, of ``apply(x)`` over the image."""
        total, dtype = torch.zeros((), dtype=torch.float64, device="cpu"), x.dtype
        for rows in spans(x.shape[-2], self.band, radius):
            for columns in spans(x.shape[-1], self.length, radius):
                core = _core(apply(self._tile(x[..., rows.window, :], columns)), rows, columns)
                # Summed in float32, then in float64: the sum of a large image outgrows float32.
                part = core.sum((-2, -1), keepdim=True, dtype=torch.float32)
                total = total + part.cpu().double()
                dtype = core.dtype
                advance(core[0, 0].numel())
        return (total / (x.shape[-2] * x.shape[-1])).to(self._device, dtype)

    def _sweep(
        self,
        apply: Callable[..., Tensor],
        x: Tensor,
        skip: Tensor | None,
        radius: int,
        scale: int = 1,
    ) -> Tensor:
        """``apply(x)`` or ``apply(x, skip)`` tile by tile, into ``x`` where it has the room."""
        out: Tensor | None = None
        height, width = max(1, self.band // scale), max(1, self.length // scale)
        for rows, band in _bands(x, height, radius):
            beside = None if skip is None else skip[..., rows.window, :]
            for columns in spans(x.shape[-1], width, radius):
                tiles = [self._tile(b, columns) for b in (band, beside) if b is not None]
                core = _core(apply(*tiles), rows, columns, scale)
                if out is None:
                    out = self._result_of(x, core, scale)
                out[..., rows.place(scale), columns.place(scale)].copy_(core)
                advance(core[0, 0].numel())
        assert out is not None
        return out

    def _result_of(self, x: Tensor, core: Tensor, scale: int) -> Tensor:
        """Where a sweep over ``x`` writes: ``x`` itself if its results are of the same kind."""
        channels = core.shape[1]
        if scale == 1 and channels == x.shape[1] and core.dtype == x.dtype:
            return x
        height, width = x.shape[-2:]
        return self.make_map((1, channels, scale * height, scale * width), core.dtype)

    def _tile(self, band: Tensor, columns: Span) -> Tensor:
        return band[..., columns.window].to(self._device, memory_format=torch.channels_last)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device


def large_layerwise(
    whole: Apply,
    layerwise: Apply,
    scale: int,
    batch: Tensor,
    mask: Tensor | None = None,
    *,
    limit: int = LIMIT,
) -> Tensor:
    """Enhance a batch as a whole, or layer by layer where its pictures are too large.

    Args:
        whole: gives the answer at once.
        layerwise: gives the same in bounded device memory; also for a single picture that ``whole``
            has no memory for.
        scale: px out per px in.
        batch: (N, 3, H, W).
        mask: the second argument of both.
        limit: output px up to which a picture is not too large.

    Returns:
        (N, 3, scale*H, scale*W).

    Raises:
        MemoryError: ``whole`` has no memory for several pictures, or ``layerwise`` for one.
    """
    if scale**2 * batch.shape[-2] * batch.shape[-1] <= limit:
        try:
            return whole(batch, mask)
        except MemoryError:
            if len(batch) > 1:  # half a batch may fit
                raise
    return layerwise(batch, mask)


def _swept(steps: Sequence[Step], px: int) -> int:
    """Px computed in all sweeps over an image of ``px``: the measure of progress."""
    total = 0
    for step in steps:
        match step:
            case Local(scale=scale):
                px *= scale**2
                total += px
            case Pooled():
                total += 2 * px
    return total


def _bands(x: Tensor, height: int, radius: int) -> Iterator[tuple[Span, Tensor]]:
    """Each band of rows, copied before the sweep overwrites it.

    Rows it shares with the band before are taken from that band's copy, since they may be
    overwritten already.
    """
    before: tuple[Span, Tensor] | None = None
    for span in spans(x.shape[-2], height, radius):
        band = x[..., span.window, :].clone()
        if before is not None:
            earlier, kept = before
            count = span.core_start - span.start
            first = span.start - earlier.start
            band[..., :count, :] = kept[..., first : first + count, :]
        before = span, band
        yield before


def _core(tile: Tensor, rows: Span, columns: Span, scale: int = 1) -> Tensor:
    """What is kept of a tile at ``scale`` px a px of its spans."""
    return tile[..., rows.core(scale), columns.core(scale)]
