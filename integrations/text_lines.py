"""Lines of text as a recogniser is given them: grey, upright, antialiased, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from integrations.protocols import RgbArray
from integrations.view import Points, bounds

GreyArray = NDArray[np.uint8]


def shrink(img: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Antialiased bicubic to ``factor`` of the size; the same array when that is 1 or more."""
    if factor >= 1:
        return img
    height, width = (max(1, round(side * factor)) for side in img.shape[:2])
    return np.asarray(Image.fromarray(img).resize((width, height), Image.Resampling.BICUBIC))


def corners_of(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """The corners [x, y] of an upright box, clockwise from the top left."""
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def is_upright(quad: Points) -> bool:
    """Whether four corners, clockwise from the top left, are a box with sides along the axes."""
    (left, top), (right, bottom) = quad[0], quad[2]
    return bool((quad[1] == [right, top]).all() and (quad[3] == [left, bottom]).all())


def level(rgb: RgbArray, quad: Points) -> RgbArray:
    """What a quad covers, upright.

    Args:
        rgb: (H, W, 3) uint8.
        quad: (4, 2) corners in px of it, clockwise from the text's top left. An upright one lies
            inside the picture; what others cover outside it is black.
    """
    if is_upright(quad):
        left, top, right, bottom = bounds(np.rint(quad), rgb, 0)
        return rgb[top:bottom, left:right]
    left, top, right, bottom = bounds(quad, rgb, 2)  # what bicubic reads beyond the corners
    return _levelled(rgb[top:bottom, left:right], quad - (left, top))


def grey_line(rgb: RgbArray, quad: Points, line_height: int) -> GreyArray:
    """What a quad covers, grey and level, its shorter side at most ``line_height`` px."""
    grey = np.asarray(Image.fromarray(level(rgb, quad)).convert("L"))
    return shrink(grey, line_height / min(grey.shape))


def sheet_of(lines: Sequence[GreyArray]) -> tuple[GreyArray, list[list[int]]]:
    """One picture with all lines below each other, and where each lies on it.

    Returns:
        The sheet, black beside the lines, and for each line [left, right, top, bottom] in px.
    """
    tops = np.cumsum([0, *(line.shape[0] for line in lines)]).tolist()
    sheet = np.zeros((tops[-1], max(line.shape[1] for line in lines)), np.uint8)
    places = []
    for line, top, bottom in zip(lines, tops[:-1], tops[1:], strict=True):
        sheet[top:bottom, : line.shape[1]] = line
        places.append([0, line.shape[1], top, bottom])
    return sheet, places


def _levelled(rgb: RgbArray, quad: Points) -> RgbArray:
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    width, height = (max(1, int(max(sides[k], sides[k + 2]))) for k in (0, 1))
    corners = quad[[0, 3, 2, 1]].ravel().tolist()
    levelled = Image.fromarray(rgb).transform(
        (width, height), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC
    )
    return np.asarray(levelled)
