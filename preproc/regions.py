"""Which windows of a picture are computed for a list of boxes: geometry only.

Each box grows by a margin of real neighbours to a window, and windows that are cheaper together
than apart become one. Windows then go through the network as pictures of a list do, several of
nearly one size at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preproc.box import Box
from preproc.errors import ImageError
from preproc.execution.tiling import TilePolicy
from preproc.networks import SizeRule


@dataclass(frozen=True)
class RegionPlan:
    """What is computed for a list of boxes.

    Attributes:
        boxes: whole px, clipped to the picture.
        windows: what is cut from the picture.
        home: for each box, the index of the window that holds it.
        pixels: LR px that the network computes. Windows that share a batch are filled up to the
            largest of them (`TilePolicy.bucket`), which is not counted.
        whole_pixels: LR px that it would compute for the whole picture.
    """

    boxes: tuple[Box, ...]
    windows: tuple[Box, ...]
    home: tuple[int, ...]
    pixels: int
    whole_pixels: int

    @property
    def saved(self) -> float:
        """Share of the whole picture's px that is not computed."""
        return 1 - self.pixels / self.whole_pixels


def plan_regions(
    size: tuple[int, int],
    boxes: Sequence[Sequence[float]],
    policy: TilePolicy,
    *,
    margin: int,
    side: int,
    window_cost: int = 0,
) -> RegionPlan:
    """Plan what is computed for boxes; never more than for the whole picture.

    Args:
        size: height and width of the picture in px.
        boxes: (left, top, right, bottom) each, in px; fractions are rounded outwards, and what is
            beyond the picture is cut off.
        policy: how the whole picture and large windows are cut.
        margin: px of real neighbours around each box.
        side: longest side of a window that is made of several.
        window_cost: what a window takes beside its own px, in px.

    Raises:
        ImageError: a box is malformed, or lies outside the picture.
    """
    height, width = size
    clipped = tuple(_clipped(n, box, height, width) for n, box in enumerate(boxes))
    rule = policy.size_rule
    grown = [_allowed(box.grown(margin, height, width), rule, height, width) for box in clipped]
    windows = _merged(grown, side, window_cost)
    pixels = sum(policy.pixels(window.height, window.width) for window in windows)
    whole = policy.pixels(height, width)
    if pixels + window_cost * (len(windows) - 1) > whole:
        windows, pixels = [Box(0, 0, width, height)], whole
    home = (next(n for n, w in enumerate(windows) if w.holds(box)) for box in grown)
    return RegionPlan(clipped, tuple(windows), tuple(home), pixels, whole)


def _clipped(number: int, box: Sequence[float], height: int, width: int) -> Box:
    try:
        values = [float(value) for value in box]
    except (TypeError, ValueError, RuntimeError, OverflowError):  # tensors' errors are many
        values = []
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise ImageError(f"Box {number} must be (left, top, right, bottom) in px, but is {box}.")
    left, top, right, bottom = values
    whole = Box(math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    clipped = whole.grown(0, height, width)
    if clipped.width < 1 or clipped.height < 1:
        raise ImageError(
            f"Box {number} {tuple(box)} has no px of the picture, which is {width} px wide "
            f"and {height} high; a box is (left, top, right, bottom)."
        )
    return clipped


def _allowed(box: Box, rule: SizeRule, height: int, width: int) -> Box:
    """A box around another that needs no padding but what the whole picture gets."""
    left, right = _extent(box.left, box.right, rule, width)
    top, bottom = _extent(box.top, box.bottom, rule, height)
    return Box(left, top, right, bottom)


def _extent(start: int, stop: int, rule: SizeRule, end: int) -> tuple[int, int]:
    """An axis of it: like tiles, it begins and ends at multiples or at the picture's end."""
    step, least = rule.multiple_of, rule.padded(1)
    start = max(0, min(start, end - least)) // step * step
    return start, min(max(-(-stop // step) * step, start + least), end)


def _merged(windows: Sequence[Box], side: int, cost: int) -> list[Box]:
    """Unite windows, two at a time, where their union costs no more than both, up to a length."""
    done = np.empty((0, 4), np.int64)
    for window in windows:
        current = np.array([window], np.int64)
        while len(done):
            union = np.hstack(
                [np.minimum(done[:, :2], current[:, :2]), np.maximum(done[:, 2:], current[:, 2:])]
            )
            extra = _area(union) - _area(done) - _area(current) - cost
            holds_both = _area(union) == np.maximum(_area(done), _area(current))
            too_large = (union[:, 2:] - union[:, :2]).max(1) > side
            extra[too_large & ~holds_both] = 1
            best = int(extra.argmin())
            if extra[best] > 0:
                break
            current, done = union[best : best + 1], np.delete(done, best, 0)
        done = np.vstack([done, current])
    return [Box(*(int(v) for v in row)) for row in done]


def _area(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
