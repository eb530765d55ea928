"""Rectangles in px: grow, clip, and turn into slices of another rectangle's picture."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in px: ``right`` and ``bottom`` lie just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Extent in px."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Extent in px."""
        return self.bottom - self.top

    def grown(self, margin: int, height: int, width: int) -> Box:
        """The box and ``margin`` px to each side, as far as a picture of that size has them."""
        return Box(
            max(self.left - margin, 0),
            max(self.top - margin, 0),
            min(self.right + margin, width),
            min(self.bottom + margin, height),
        )

    def holds(self, other: Box) -> bool:
        """Whether no px of the other box lies outside this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def slices(self, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns of this box in the whole picture at ``scale`` px a px."""
        return self.within(Box(0, 0, 0, 0), scale)

    def within(self, other: Box, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns of this box in a picture of ``other`` at ``scale`` px a px."""
        return (
            slice(scale * (self.top - other.top), scale * (self.bottom - other.top)),
            slice(scale * (self.left - other.left), scale * (self.right - other.left)),
        )
