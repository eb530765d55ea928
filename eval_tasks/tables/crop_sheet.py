"""A sheet of squares side by side: input, bicubic, networks, original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from preproc.samples import Pixels

_GAP, _LINE = 6, 24
_PAPER, _INK = "#1b1d22", "#f2f2f2"


def draw(rows: Sequence[tuple[str, Mapping[str, Pixels]]], side: int) -> Image.Image:
    """Lay squares out, one row each.

    Args:
        rows: the row's caption, and its squares by what the column is called; all rows have the
            same columns. Smaller squares are enlarged without smoothing.
        side: px that a square is shown at.

    Returns:
        An RGB picture.
    """
    columns = list(rows[0][1])
    width = len(columns) * (side + _GAP) + _GAP
    height = _LINE + len(rows) * (_LINE + side + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, name in enumerate(columns):
        pen.text((_GAP + column * (side + _GAP), 4), name, fill=_INK, font=font)
    for row, (caption, squares) in enumerate(rows):
        top = _LINE + row * (_LINE + side + _GAP)
        pen.text((_GAP, top + 4), caption, fill=_INK, font=font)
        for column, square in enumerate(squares.values()):
            picture = Image.fromarray(square).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (_GAP + column * (side + _GAP), top + _LINE))
    return sheet
