"""Runs a network over pictures tile by tile, in smaller pieces when memory runs out.

Each output px is written once, straight into its final dtype on the host. Where results are larger
than the canvas asks for, each is shrunk before its core is kept, on the device and before anything
is rounded, so that the enlarged picture is never whole anywhere. The bicubic window reads
`resize.BICUBIC_REACH` px beyond a core, which the overlap has to have on top.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

import torch
from torch import Tensor

from preproc.errors import ModelError
from preproc.execution.host_copy import AsyncHostCopy
from preproc.execution.memory import explain_out_of_memory
from preproc.execution.stacking import stack
from preproc.execution.tiling import Tile, TilePolicy
from preproc.execution.windows import window_of
from preproc.progress import Progress, Tally
from preproc.resize import imresize
from preproc.samples import from_float, luma, to_float

Apply: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]

BATCH_PIXELS = 512 * 512
"""Most LR px in one batch of several tiles: more fills memory and gains no speed."""
_HOST = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Piece:
    """A tile with its picture (C, H, W) and the canvas (C, scale*H, scale*W) it is written to."""

    picture: Tensor
    canvas: Tensor
    tile: Tile

    @property
    def scale(self) -> int:
        """Px of the canvas per px of the picture, along each side."""
        return self.canvas.shape[-1] // self.picture.shape[-1]


def run_tiles(
    pictures: Sequence[Tensor],
    canvases: Sequence[Tensor],
    apply: Apply,
    policy: TilePolicy,
    *,
    made: int | None = None,
    batch_size: int = 1,
    device: torch.device = _HOST,
    copy_at_once: bool = False,
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
            ``scale`` or ``made``. Its second argument is a mask of the px that are a window's own,
            as `stack` gives it. Raises ``MemoryError`` when its memory is full.
        policy: how to cut.
        made: px out per px in of results that are shrunk to ``scale`` here (antialiased bicubic);
            by default none are.
        batch_size: most tiles at a time; large tiles go one by one (`BATCH_PIXELS`).
        device: where ``apply`` is given its batches. Samples go there as they are stored, a quarter
            of what they take as floats.
        copy_at_once: whether the GPU waits until results are in their places, for comparison.
        progress: called after each batch, and during one where ``apply`` says `progress.advance`,
            with the LR px done and those of all pictures.

    Raises:
        ModelError: results have another shape.
        MemoryError: as ``apply`` raised it, or a `DeviceMemoryError` if the host's memory is full,
            when the tiles cannot be made smaller.
    """
    pieces = [
        Piece(picture, canvas, tile)
        for picture, canvas in zip(pictures, canvases, strict=True)
        for tile in policy.tiles(*picture.shape[-2:])
    ]
    tally = Tally(progress, sum(piece.tile.kept for piece in pieces))
    queues = _grouped(pieces, policy)
    with AsyncHostCopy(at_once=copy_at_once) as copies:
        while queues:
            queue = queues[0]
            batch = _next_batch(queue, policy, batch_size)
            kept = sum(piece.tile.kept for piece in batch)
            try:
                with tally.during(kept):
                    _enhance(batch, apply, made, device, copies)
            except MemoryError:
                queue.extendleft(reversed(batch))
                longest = max(batch[0].tile.shape)
                if len(batch) > 1:
                    batch_size = len(batch) // 2
                elif policy.size is not None and longest > policy.min_size:
                    size = max(longest // 2, policy.min_size)
                    queues = _grouped(_cut_finer(queues, policy, size), policy)
                else:
                    raise
            else:
                tally.add(kept)
            if not queue:
                queues.popleft()


def _enhance(
    batch: Sequence[Piece],
    apply: Apply,
    made: int | None,
    device: torch.device,
    copies: AsyncHostCopy,
) -> None:
    """Put a batch of tiles through ``apply``, and their cores in their places."""
    height, width = batch[0].tile.shape
    full = f"The main memory has no room for {len(batch)} tile(s) of about {height}x{width} px"
    with explain_out_of_memory(f"{full}; choose a smaller tile=."):
        samples, mask = stack([_cut(piece) for piece in batch])
        windows = to_float(samples.to(device))
    results = apply(windows, mask)
    scale = batch[0].scale
    if made is None or results.shape[-1] == scale * windows.shape[-1]:
        made = scale
    require_scaled(results, windows, made)
    with explain_out_of_memory(f"{full} once they are computed; choose a smaller tile=."):
        for piece, result in zip(batch, results, strict=True):
            _paste(piece, result, made, copies)


def require_scaled(results: Tensor, windows: Tensor, scale: int) -> None:
    """Make sure that a network has made ``scale`` times as many px each way.

    Raises:
        ModelError: it has not.
    """
    height, width = windows.shape[-2:]
    # Of the shape, since len() would fix the batch's size in what torch.export makes.
    wanted = (windows.shape[0], 3, scale * height, scale * width)
    if results.shape != wanted:
        raise ModelError(
            f"The network turned {tuple(windows.shape)} into {tuple(results.shape)} instead of "
            f"{wanted}; its result must have three channels and exactly {scale} times the px along "
            "each side, as it was registered with that scale."
        )


def _grouped(pieces: Iterable[Piece], policy: TilePolicy) -> deque[deque[Piece]]:
    """Pieces that may share a batch together, in the order of the first of each group."""
    groups: dict[object, deque[Piece]] = {}
    for piece in pieces:
        alike = policy.group(piece.tile), piece.picture.dtype
        groups.setdefault(alike, deque()).append(piece)
    return deque(groups.values())


def _next_batch(queue: deque[Piece], policy: TilePolicy, batch_size: int) -> list[Piece]:
    """Take as many pieces off a group's queue as fit a batch."""
    height, width = policy.group(queue[0].tile)
    most = max(1, min(batch_size, BATCH_PIXELS // (height * width)))
    return [queue.popleft() for _ in range(min(most, len(queue)))]


def _cut_finer(queues: Iterable[Iterable[Piece]], policy: TilePolicy, size: int) -> Iterator[Piece]:
    """The same work in windows no longer than ``size`` px."""
    for piece in chain.from_iterable(queues):
        for tile in policy.split(piece.tile, size):
            yield replace(piece, tile=tile)


def _cut(piece: Piece) -> Tensor:
    """The window (3, h, w), as it is stored; beyond the picture it is reflected."""
    left, top, right, bottom = piece.tile.window
    rows = window_of(piece.picture, -2, top, bottom)
    return window_of(rows, -1, left, right).expand(3, -1, -1)


def _paste(piece: Piece, result: Tensor, made: int, copies: AsyncHostCopy) -> None:
    """Start copying the core of a result (3, made*h, made*w) to its place on the canvas."""
    scale, window, core = piece.scale, piece.tile.window, piece.tile.core
    if made != scale:
        own = window.grown(0, *piece.picture.shape[-2:])
        shrunk = scale * own.height, scale * own.width
        result, window = imresize(result[:, *own.within(window, made)], size=shrunk), own
    kept = result[:, *core.within(window, scale)]
    if piece.canvas.shape[0] == 1:
        kept = luma(kept)
    if not piece.canvas.is_floating_point():
        kept = from_float(kept, piece.canvas.dtype)
    copies.start(kept, piece.canvas[:, *core.slices(scale)])
