"""Draws pictures side by side with what was read and found in each."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from integrations.protocols import Faces, RgbArray, Word

PANEL = (960, 720)
"""Largest width and height in px that a picture is drawn at."""

_MARGIN, _TITLE, _LINE = 16, 38, 29
_LARGE, _SMALL = 26, 21
_COLUMNS, _ROWS = 2, 6
_BACKGROUND, _INK = "#1b1d22", "#f2f2f2"
_COLOURS = {True: "#7fe07f", False: "#ff9a7a", None: "#8fc7ff"}
_FACE = "#ffd23f"


@dataclass(frozen=True)
class Panel:
    """A picture of any size with its title, and text and faces in source px."""

    title: str
    picture: RgbArray
    words: Sequence[Word]
    faces: Faces


def draw(
    panels: Sequence[Panel],
    source: tuple[int, int],
    caption: str,
    verdict: Callable[[str], bool | None],
) -> Image.Image:
    """Lay panels out in two columns.

    Args:
        panels: what to show, row by row.
        source: width and height in px of the picture that boxes refer to.
        caption: a sentence or more, for the foot.
        verdict: tells of a text whether it was read right: green, orange, or blue for None.

    Returns:
        An RGB picture.
    """
    zoom = min(limit / side for limit, side in zip(PANEL, source, strict=True))
    drawn = [_panel(panel, source, zoom, verdict) for panel in panels]
    width, height = drawn[0].size
    columns = min(2, len(drawn))
    rows = ceil(len(drawn) / columns)
    total = columns * (width + _MARGIN) + _MARGIN
    lines = textwrap.wrap(caption, width=total // 11)
    sheet = Image.new(
        "RGB", (total, rows * (height + _MARGIN) + 2 * _MARGIN + len(lines) * _LINE), _BACKGROUND
    )
    for k, image in enumerate(drawn):
        row, column = divmod(k, columns)
        sheet.paste(
            image, (_MARGIN + column * (width + _MARGIN), _MARGIN + row * (height + _MARGIN))
        )
    foot = (_MARGIN, sheet.height - _MARGIN - len(lines) * _LINE)
    ImageDraw.Draw(sheet).multiline_text(foot, "\n".join(lines), fill=_INK, font=_font(_SMALL))
    return sheet


def _panel(
    panel: Panel, source: tuple[int, int], zoom: float, verdict: Callable[[str], bool | None]
) -> Image.Image:
    width, height = (max(1, round(side * zoom)) for side in source)
    picture = Image.fromarray(panel.picture)
    # Pixels of a small picture are shown as what they are, not smoothed into something better.
    larger = width >= picture.width
    method = Image.Resampling.NEAREST if larger else Image.Resampling.BICUBIC
    picture = picture.resize((width, height), method)
    _outline(ImageDraw.Draw(picture), panel, zoom, verdict)

    image = Image.new("RGB", (PANEL[0], _TITLE + height + _ROWS * _LINE), _BACKGROUND)
    image.paste(picture, ((PANEL[0] - width) // 2, _TITLE))
    pen = ImageDraw.Draw(image)
    pen.text((0, 2), panel.title, fill=_INK, font=_font(_LARGE))
    places = _COLUMNS * _ROWS
    for k, word in enumerate(panel.words[:places]):
        column, row = divmod(k, _ROWS)
        more = len(panel.words) - places if k == places - 1 else 0
        text = (
            f"... and {more + 1} more" if more else f"{k + 1}  {word.text}  ({word.confidence:.2f})"
        )
        place = (column * PANEL[0] / _COLUMNS, _TITLE + height + 2 + row * _LINE)
        colour = _INK if more else _COLOURS[verdict(word.text)]
        pen.text(place, text, fill=colour, font=_font(_SMALL))
    return image


def _outline(
    pen: ImageDraw.ImageDraw, panel: Panel, zoom: float, verdict: Callable[[str], bool | None]
) -> None:
    for k, word in enumerate(panel.words):
        corners = [(x * zoom, y * zoom) for x, y in word.box]
        colour = _COLOURS[verdict(word.text)]
        pen.polygon(corners, outline=colour, width=2)
        pen.text(corners[0], f"{k + 1} ", fill=colour, font=_font(_SMALL), anchor="rt")
    for box, probability in zip(panel.faces.boxes, panel.faces.probabilities, strict=True):
        x1, y1, x2, y2 = (box * np.float32(zoom)).tolist()
        pen.rectangle((x1, y1, x2, y2), outline=_FACE, width=3)
        pen.text((x1, y1 - 3), f"{probability:.3f}", fill=_FACE, font=_font(_LARGE), anchor="ls")
    for x, y in (panel.faces.landmarks.reshape(-1, 2) * zoom).tolist():
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_FACE)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
