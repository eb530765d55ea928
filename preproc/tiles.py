"""Large pictures in pieces: where to cut, what to keep, and the loop that survives a full memory.

A tile is a window that goes through the network and a core inside it that is kept. Windows overlap,
so that every core has ``overlap`` px of real neighbours on its inner sides; at the picture's
border window and picture end together, so that the border is treated as in the whole picture. Cores
meet without overlapping. Blending was left out: an error falls with its distance from the window's
edge, so the middle of an overlap is where both sides err least, and a blend would mix in the worse
px around it. Each output px is written once, straight into its final dtype on the host.

Windows of one picture all have one shape, so that they can go through the network as a batch.

Where results are larger than the canvas asks for, each is shrunk before its core is kept, on the
device and before anything is rounded, so that the enlarged picture is never whole anywhere. The
bicubic window reads `CONTEXT` px beyond a core, which the overlap has to have on top.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from preproc.errors import ModelError
from preproc.landing import Landing
from preproc.mixing import stack
from preproc.progress import Progress, Tally
from preproc.resize import BICUBIC_REACH, imresize
from preproc.runtime import main_memory_says
from preproc.samples import from_float, luma, to_float

Apply: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]

BATCH_PIXELS = 512 * 512
"""Most LR px in one batch of several tiles: more fills memory and gains no speed."""
SMALL = 128
"""Windows up to this many LR px a side may share a batch with others of nearly their size."""
CONTEXT = BICUBIC_REACH
"""LR px that a px shrunk from HR reads to each side: the bicubic kernel is four LR px wide."""
_HOST = torch.device("cpu")
_LEAST_CORE = 16  # px a side; halving goes no further, for nearly all work would be overlap


@dataclass(frozen=True)
class TilePolicy:
    """How pictures are cut; says nothing of how it is done.

    Attributes:
        size: longest side of a window in LR px; None keeps every picture whole.
        overlap: LR px of real neighbours around a core on its inner sides.
        border: LR px of reflection around a picture, not kept; neutral value 0.
        minimum: smallest allowed extent of a window; neutral value 1.
        multiple_of: extents must be multiples of it; neutral value 1.
        bucket: small windows share a batch when they are equal once their sides are rounded up to
            multiples of it; neutral value 1, for equal windows only.
    """

    size: int | None
    overlap: int
    border: int = 0
    minimum: int = 1
    multiple_of: int = 1
    bucket: int = 1

    def __post_init__(self) -> None:
        if self.overlap < 0:
            raise ModelError(f"overlap must be a number of px of 0 or more, but is {self.overlap}.")
        if self.size is not None and self.size < self.least_size:
            raise ModelError(
                f"Tiles of {self.size} px leave no room between overlaps of {self.overlap} px; "
                f"choose a tile of {self.least_size} px or more, or a smaller overlap."
            )

    @property
    def least_size(self) -> int:
        """Smallest useful window in LR px."""
        least = 2 * _up(self.overlap, self.multiple_of) + max(_LEAST_CORE, self.multiple_of)
        return _up(max(least, self.minimum), self.multiple_of)

    def padded(self, extent: int) -> int:
        """The extent in px that a picture's side, border included, is given by reflection."""
        return _up(max(extent, self.minimum), self.multiple_of)

    def group(self, tile: Tile) -> tuple[int, int]:
        """What tiles must have in common to share a batch: the shape, or nearly."""
        height, width = tile.shape
        if max(height, width) > SMALL:
            return height, width
        return _up(height, self.bucket), _up(width, self.bucket)

    def tiles(self, height: int, width: int) -> list[Tile]:
        """The tiles of a picture, row by row, all of one shape."""
        y, x = (
            Span(-self.border, self.padded(side + 2 * self.border) - self.border, 0, side)
            for side in (height, width)
        )
        whole = Tile(y, x)
        return [whole] if self.size is None else self.split(whole, self.size)

    def pixels(self, height: int, width: int) -> int:
        """LR px that the network computes for a picture, those computed twice counted twice."""
        return sum(math.prod(tile.shape) for tile in self.tiles(height, width))

    def split(self, tile: Tile, size: int) -> list[Tile]:
        """Cut a tile so that no window is longer than ``size`` px; its core stays covered."""
        rows = tile.y.split(size, self.overlap, self.multiple_of)
        columns = tile.x.split(size, self.overlap, self.multiple_of)
        return [Tile(y, x) for y in rows for x in columns]


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in LR px: the window [start, stop) and the core kept from it."""

    start: int
    stop: int
    core_start: int
    core_stop: int

    @property
    def length(self) -> int:
        """Extent of the window in px."""
        return self.stop - self.start

    def split(self, size: int, overlap: int, multiple_of: int = 1) -> list[Span]:
        """Cut the window into the fewest equal ones, evenly spread; cores end mid-overlap.

        Args:
            size: longest new window; above twice the overlap.
            overlap: px between a new cut and the end of either window, at least.
            multiple_of: starts and lengths are multiples of it, as this span's are.
        """
        if self.length <= size:
            return [self]
        shared = 2 * _up(overlap, multiple_of)
        count = -(-(self.length - shared) // (size // multiple_of * multiple_of - shared))
        window = _up(-(-(self.length + (count - 1) * shared) // count), multiple_of)
        slack = self.length - window
        starts = [
            self.start + i * slack // (count - 1) // multiple_of * multiple_of for i in range(count)
        ]
        cuts = [(left + window + right) // 2 for left, right in pairwise(starts)]
        edges = [self.core_start, *(self._in_core(cut) for cut in cuts), self.core_stop]
        return [
            Span(start, start + window, low, high)
            for start, (low, high) in zip(starts, pairwise(edges), strict=True)
            if low < high
        ]

    def _in_core(self, position: int) -> int:
        return min(max(position, self.core_start), self.core_stop)


@dataclass(frozen=True)
class Tile:
    """A window of a picture and the core of it that is kept."""

    y: Span
    x: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the window in LR px."""
        return self.y.length, self.x.length

    @property
    def kept(self) -> int:
        """LR px of the core."""
        return (self.y.core_stop - self.y.core_start) * (self.x.core_stop - self.x.core_start)


@dataclass(frozen=True)
class Job:
    """A tile with its picture (C, H, W) and the canvas (C, scale*H, scale*W) it is written to."""

    picture: Tensor
    canvas: Tensor
    tile: Tile


def run_tiles(
    pictures: Sequence[Tensor],
    canvases: Sequence[Tensor],
    apply: Apply,
    policy: TilePolicy,
    *,
    batch_size: int = 1,
    device: torch.device = _HOST,
    progress: Progress | None = None,
) -> None:
    """Put pictures through ``apply`` tile by tile, several tiles of a shape at a time.

    Tiles of different pictures share batches. When memory runs out, the batch is halved; when it
    held one tile only, the tiles still to do are halved. Finished ones are kept.

    Args:
        pictures: host tensors (1 or 3, H, W), uint8, uint16 or float in [0, 1].
        canvases: host tensors (1 or 3, scale*H, scale*W) to be filled; integer ones are clamped
            and rounded, float ones hold what ``apply`` gave.
        apply: maps float32 (N, 3, h, w) to float32 (N, 3, s*h, s*w) on any device, where s is
            ``scale`` or more: then results are shrunk (antialiased bicubic). Its second argument
            is which px are a window's own, as `mixing.stack` gives it. Raises ``MemoryError`` when
            its memory is full.
        policy: how to cut.
        batch_size: most tiles at a time; large tiles go one by one (`BATCH_PIXELS`).
        device: where ``apply`` is given its batches. Samples go there as they are stored, a quarter
            of what they take as floats.
        progress: called after each batch, and during one where ``apply`` says `progress.advance`,
            with the LR px done and those of all pictures.

    Raises:
        MemoryError: as ``apply`` raised it, or a `DeviceMemoryError` if the host's memory is full,
            when the tiles cannot be made smaller.
    """
    jobs = deque(
        Job(picture, canvas, tile)
        for picture, canvas in zip(pictures, canvases, strict=True)
        for tile in policy.tiles(*picture.shape[-2:])
    )
    tally = Tally(progress, sum(job.tile.kept for job in jobs))
    with Landing() as land:
        while jobs:
            batch = _next_batch(jobs, policy, batch_size)
            kept = sum(job.tile.kept for job in batch)
            try:
                with tally.during(kept):
                    _enhance(batch, apply, device, land)
            except MemoryError:
                jobs.extendleft(reversed(batch))
                longest = max(batch[0].tile.shape)
                if len(batch) > 1:
                    batch_size = len(batch) // 2
                elif policy.size is not None and longest > policy.least_size:
                    jobs = _cut_finer(jobs, policy, max(longest // 2, policy.least_size))
                else:
                    raise
            else:
                tally.add(kept)


def pad(x: Tensor, height: int, width: int) -> Tensor:
    """Extend (..., H, W) below and to the right by reflection, however small it is."""
    for axis, extent in ((-2, height), (-1, width)):
        if extent > x.shape[axis]:
            x = x.index_select(axis, _reflected(0, extent, x.shape[axis]).to(x.device))
    return x


def _enhance(batch: Sequence[Job], apply: Apply, device: torch.device, land: Landing) -> None:
    """Put a batch of tiles through ``apply``, and their cores in their places."""
    height, width = batch[0].tile.shape
    full = f"The main memory has no room for {len(batch)} tile(s) of about {height}x{width} px"
    with main_memory_says(f"{full}; choose a smaller tile=."):
        samples, inside = stack([_cut(job) for job in batch])
        windows = to_float(samples.to(device))
    results = apply(windows, inside)
    made = results.shape[-1] // windows.shape[-1]
    with main_memory_says(f"{full} once they are computed; choose a smaller tile=."):
        for job, result in zip(batch, results, strict=True):
            paste(job, result, made, land)


def _next_batch(jobs: deque[Job], policy: TilePolicy, batch_size: int) -> list[Job]:
    """Take jobs of the first one's group and samples off the queue, as many as fit a batch."""
    height, width = group = policy.group(jobs[0].tile)
    dtype = jobs[0].picture.dtype
    most = max(1, min(batch_size, BATCH_PIXELS // (height * width)))
    alike = (
        i
        for i, job in enumerate(jobs)
        if job.picture.dtype == dtype and policy.group(job.tile) == group
    )
    chosen = list(islice(alike, most))
    batch = [jobs[i] for i in chosen]
    for i in reversed(chosen):
        del jobs[i]
    return batch


def _cut_finer(jobs: deque[Job], policy: TilePolicy, size: int) -> deque[Job]:
    """The same work in windows no longer than ``size`` px."""
    return deque(replace(job, tile=tile) for job in jobs for tile in policy.split(job.tile, size))


def _cut(job: Job) -> Tensor:
    """The window (3, h, w), as it is stored; beyond the picture it is reflected."""
    y, x = job.tile.y, job.tile.x
    height, width = job.picture.shape[-2:]
    window = job.picture
    if y.start < 0 or y.stop > height:
        window = window.index_select(-2, _reflected(y.start, y.stop, height))
    else:
        window = window[:, y.start : y.stop]
    if x.start < 0 or x.stop > width:
        window = window.index_select(-1, _reflected(x.start, x.stop, width))
    else:
        window = window[..., x.start : x.stop]
    return window.expand(3, -1, -1)


def _reflected(start: int, stop: int, extent: int) -> Tensor:
    """Which of ``extent`` px stand at [start, stop) when the row goes on as its mirror image."""
    period = max(2 * (extent - 1), 1)
    index = torch.arange(start, stop, device=_HOST).remainder(period)
    return torch.minimum(index, period - index).clamp(max=extent - 1)


def paste(job: Job, result: Tensor, made: int, land: Landing) -> None:
    """Let the core of a result (3, made*h, made*w) come to its place on the canvas."""
    y, x = job.tile.y, job.tile.x
    scale = job.canvas.shape[-1] // job.picture.shape[-1]
    if made != scale:
        height, width = job.picture.shape[-2:]
        rows, columns = min(y.stop, height) - y.start, min(x.stop, width) - x.start
        result = imresize(
            result[:, : made * rows, : made * columns], size=(scale * rows, scale * columns)
        )
    core = result[
        :,
        scale * (y.core_start - y.start) : scale * (y.core_stop - y.start),
        scale * (x.core_start - x.start) : scale * (x.core_stop - x.start),
    ]
    if job.canvas.shape[0] == 1:
        core = luma(core)
    if not job.canvas.is_floating_point():
        core = from_float(core, job.canvas.dtype)
    place = job.canvas[
        :, scale * y.core_start : scale * y.core_stop, scale * x.core_start : scale * x.core_stop
    ]
    land(core, place)


def _up(value: int, multiple_of: int) -> int:
    """Round up to a multiple."""
    return -(-value // multiple_of) * multiple_of
