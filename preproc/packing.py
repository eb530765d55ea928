"""Regions of a picture on as few sheets as possible: geometry only.

Each box grows by a margin of real neighbours to a window; windows that are cheaper together than
apart become one; the rest is put on shelves of sheets, the tallest first, with gaps between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preproc.box import Box
from preproc.errors import ImageError
from preproc.tiles import TilePolicy


@dataclass(frozen=True)
class Sheet:
    """One pass of the network.

    Attributes:
        height: px.
        width: px.
        places: window index, and the row and column of its first px.
    """

    height: int
    width: int
    places: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class RegionPlan:
    """What is computed for a list of boxes.

    Attributes:
        boxes: whole px, clipped to the picture.
        windows: what is cut from the picture.
        home: for each box the index of the window it is cut from again.
        sheets: the windows that share passes.
        alone: indices of the windows that go through by themselves.
        pixels: LR px that the network computes.
        whole_pixels: LR px that it would compute for the whole picture.
    """

    boxes: tuple[Box, ...]
    windows: tuple[Box, ...]
    home: tuple[int, ...]
    sheets: tuple[Sheet, ...]
    alone: tuple[int, ...]
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
    gap: int | None,
    side: int,
) -> RegionPlan:
    """Plan what is computed for boxes; never more than for the whole picture.

    Args:
        size: height and width of the picture in px.
        boxes: (left, top, right, bottom) each, in px; fractions are rounded outwards, and what is
            beyond the picture is cut off.
        policy: how the whole picture and large windows are cut.
        margin: px of real neighbours around each box.
        gap: px between windows on a sheet; None puts no windows together.
        side: longest side of a sheet.

    Raises:
        ImageError: a box is no box, or has no px of the picture.
    """
    height, width = size
    clipped = tuple(_clipped(n, box, height, width) for n, box in enumerate(boxes))
    grown = [box.grown(margin, height, width) for box in clipped]
    windows = _merged(grown, side)
    fits = [gap is not None and max(w.height, w.width) <= side for w in windows]
    alone = [n for n, fit in enumerate(fits) if not fit]
    sheets = _packed({n: windows[n] for n, fit in enumerate(fits) if fit}, side, gap or 0)
    pixels = sum(sheet.height * sheet.width for sheet in sheets)
    pixels += sum(policy.pixels(windows[n].height, windows[n].width) for n in alone)
    whole = policy.pixels(height, width)
    if pixels > whole:
        windows, sheets, alone, pixels = [Box(0, 0, width, height)], [], [0], whole
    home = (next(n for n, w in enumerate(windows) if w.holds(box)) for box in grown)
    return RegionPlan(
        clipped, tuple(windows), tuple(home), tuple(sheets), tuple(alone), pixels, whole
    )


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
            f"Box {number} {tuple(box)} has no px of the picture, which has {height}x{width}; "
            "a box is (left, top, right, bottom)."
        )
    return clipped


def _merged(windows: Sequence[Box], side: int) -> list[Box]:
    """Unite windows, two at a time, where their union has no more px than both and fits a sheet."""
    done = np.empty((0, 4), np.int64)
    for window in windows:
        current = np.array([window], np.int64)
        while len(done):
            union = np.hstack(
                [np.minimum(done[:, :2], current[:, :2]), np.maximum(done[:, 2:], current[:, 2:])]
            )
            extra = _area(union) - _area(done) - _area(current)
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


@dataclass
class _Shelf:
    """Windows side by side on a sheet; the first is the tallest."""

    top: int
    height: int
    width: int = 0


def _packed(windows: Mapping[int, Box], side: int, gap: int) -> list[Sheet]:
    """Put windows on the first shelf with room, the tallest first; end sheets with them."""
    shelves: list[list[_Shelf]] = []
    places: list[list[tuple[int, int, int]]] = []
    for index in sorted(windows, key=lambda n: -windows[n].height):
        height, width = windows[index].height, windows[index].width
        sheet, shelf = _shelf_for(shelves, height, width, side, gap)
        if sheet == len(places):
            places.append([])
        left = shelf.width + gap if shelf.width else 0
        places[sheet].append((index, shelf.top, left))
        shelf.width = left + width
    return [
        Sheet(rows[-1].top + rows[-1].height, max(shelf.width for shelf in rows), tuple(put))
        for rows, put in zip(shelves, places, strict=True)
    ]


def _shelf_for(
    shelves: list[list[_Shelf]], height: int, width: int, side: int, gap: int
) -> tuple[int, _Shelf]:
    """The number of a sheet and a shelf of it with room for a window; a new one if need be."""
    for number, rows in enumerate(shelves):
        for shelf in rows:
            if height <= shelf.height and shelf.width + gap + width <= side:
                return number, shelf
        top = rows[-1].top + rows[-1].height + gap
        if top + height <= side:
            rows.append(_Shelf(top, height))
            return number, rows[-1]
    shelves.append([_Shelf(0, height)])
    return len(shelves) - 1, shelves[-1][0]
