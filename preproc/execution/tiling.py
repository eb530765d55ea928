"""Large pictures in pieces: where to cut and what to keep. Geometry only.

A tile is a window that goes through the network and a core inside it that is kept. Windows overlap,
so that every core has ``overlap`` px of real neighbours on its inner sides; at the picture's
border window and picture end together, so that the border is treated as in the whole picture. Cores
meet without overlapping, in the middle of the overlap. Overlaps are not blended: errors fall with
the distance from the window's edge, so that both sides err least in the middle, and a blend would
mix in the worse px around it.

Windows of one picture all have one shape, so that they can go through the network as a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from preproc.box import Box
from preproc.errors import OptionError
from preproc.networks import SizeRule

_MIN_CORE = 16  # px a side; in smaller ones nearly all work would be for the overlap
_ANY_SIZE = SizeRule()


@dataclass(frozen=True)
class TilePolicy:
    """How pictures are cut; says nothing of how it is done.

    Attributes:
        size: longest side of a window in LR px; None keeps every picture whole.
        overlap: LR px of real neighbours around a core on its inner sides.
        border: LR px of reflection around a picture, not kept; neutral value 0.
        size_rule: which extents of a window are allowed.
        bucket: windows no longer than ``mixed_side`` px share a batch if their sides, rounded up
            to multiples of ``bucket``, are equal.
        mixed_side: longest side in LR px of windows that share a batch so; longer ones only share
            one with equal windows.
    """

    size: int | None
    overlap: int
    border: int = 0
    size_rule: SizeRule = _ANY_SIZE
    bucket: int = 1
    mixed_side: int = 0

    def __post_init__(self) -> None:
        if self.overlap < 0:
            raise OptionError(
                f"overlap must be a number of px of 0 or more, but is {self.overlap}."
            )
        if self.size is not None and self.size < self.min_size:
            or_else = ", or a smaller overlap" if self.overlap else ""
            raise OptionError(
                f"Tiles of {self.size} px are too small for overlaps of {self.overlap} px; choose "
                f"a tile of {self.min_size} px or more{or_else}."
            )

    @property
    def min_size(self) -> int:
        """Smallest useful window in LR px."""
        step = self.size_rule.multiple_of
        return self.size_rule.padded(2 * _up(self.overlap, step) + max(_MIN_CORE, step))

    def group(self, tile: Tile) -> tuple[int, int]:
        """What tiles must have in common to share a batch: the shape, or nearly."""
        height, width = tile.shape
        if max(height, width) > self.mixed_side:
            return height, width
        return _up(height, self.bucket), _up(width, self.bucket)

    def tiles(self, height: int, width: int) -> list[Tile]:
        """The tiles of a picture, row by row, all of one shape."""
        y, x = (
            Span(-self.border, self.size_rule.padded(side + 2 * self.border) - self.border, 0, side)
            for side in (height, width)
        )
        whole = Tile(y, x)
        return [whole] if self.size is None else self.split(whole, self.size)

    def pixels(self, height: int, width: int) -> int:
        """LR px that the network computes for a picture, those computed twice counted twice."""
        return sum(math.prod(tile.shape) for tile in self.tiles(height, width))

    def split(self, tile: Tile, size: int) -> list[Tile]:
        """Cut a tile so that no window is longer than ``size`` px; its core stays covered."""
        rows, columns = (
            span.split(size, self.overlap, self.size_rule) for span in (tile.y, tile.x)
        )
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

    @property
    def window(self) -> slice:
        """Where the window lies in the whole picture."""
        return slice(self.start, self.stop)

    def split(self, size: int, overlap: int, size_rule: SizeRule = _ANY_SIZE) -> list[Span]:
        """Cut the window into the fewest equal ones, evenly spread; cores end mid-overlap.

        Args:
            size: longest new window; above twice the overlap.
            overlap: px between a new cut and the end of either window, at least.
            size_rule: which lengths are allowed; starts are multiples, too, as this span's is.
        """
        if self.length <= size:
            return [self]
        step = size_rule.multiple_of
        shared = 2 * _up(overlap, step)
        count = -(-(self.length - shared) // (size // step * step - shared))
        window = size_rule.padded(-(-(self.length + (count - 1) * shared) // count))
        slack = self.length - window
        starts = [self.start + i * slack // (count - 1) // step * step for i in range(count)]
        cuts = [(left + window + right) // 2 for left, right in pairwise(starts)]
        edges = [self.core_start, *(self._in_core(cut) for cut in cuts), self.core_stop]
        return [
            Span(start, start + window, low, high)
            for start, (low, high) in zip(starts, pairwise(edges), strict=True)
            if low < high
        ]

    def core(self, scale: int = 1) -> slice:
        """Where the core lies in the window's result, which has ``scale`` px a px."""
        return slice(scale * (self.core_start - self.start), scale * (self.core_stop - self.start))

    def place(self, scale: int = 1) -> slice:
        """Where the core lies in the whole picture's result."""
        return slice(scale * self.core_start, scale * self.core_stop)

    def _in_core(self, position: int) -> int:
        return min(max(position, self.core_start), self.core_stop)


def spans(extent: int, kept: int, overlap: int) -> list[Span]:
    """Cut an axis into windows of at most ``kept`` px and ``overlap`` px more to each side."""
    return Span(0, extent, 0, extent).split(kept + 2 * overlap, overlap)


@dataclass(frozen=True)
class Tile:
    """A window of a picture and the core of it that is kept."""

    y: Span
    x: Span

    @property
    def window(self) -> Box:
        """What goes through the network, in LR px; may reach beyond the picture."""
        return Box(self.x.start, self.y.start, self.x.stop, self.y.stop)

    @property
    def core(self) -> Box:
        """What is kept of it."""
        return Box(self.x.core_start, self.y.core_start, self.x.core_stop, self.y.core_stop)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the window in LR px."""
        return self.y.length, self.x.length

    @property
    def kept(self) -> int:
        """LR px of the core."""
        return self.core.height * self.core.width


def _up(value: int, multiple_of: int) -> int:
    """Round up to a multiple."""
    return -(-value // multiple_of) * multiple_of
