"""A contact sheet of words: what a recogniser made of each before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from preproc.samples import Pixels

_CROP = (300, 72)  # px, the largest size a crop is drawn at
_GAP, _LINE, _HEAD = 10, 22, 34
_LONGEST = 36  # letters under a crop
_ROW = _CROP[1] + _LINE + 2 * _GAP
_BLOCK = 2 * _CROP[0] + 3 * _GAP
_PAPER, _INK, _RIGHT, _WRONG = "#1b1d22", "#f2f2f2", "#7fe07f", "#ff9a7a"


@dataclass(frozen=True)
class Sample:
    """A word before and after: two pictures, uint8 RGB, and what was read in each."""

    label: str
    before: Pixels
    after: Pixels
    read_before: str
    read_after: str


def draw(title: str, fixed: Sequence[Sample], broken: Sequence[Sample]) -> Image.Image:
    """Lay out the words that were fixed on the left, and those that were broken on the right.

    Args:
        title: the first line.
        fixed: words read right only after.
        broken: words read right only before.

    Returns:
        An RGB picture.
    """
    rows = max(len(fixed), len(broken), 1)
    size = (2 * _BLOCK + 3 * _GAP, _LINE + 3 * _GAP + _HEAD + rows * _ROW)
    sheet = Image.new("RGB", size, _PAPER)
    _write(sheet, (_GAP, _GAP), title, _INK)
    for block, (heading, samples, better) in enumerate(
        (("fixed", fixed, True), ("broken", broken, False))
    ):
        left, top = _GAP + block * (_BLOCK + _GAP), _LINE + 2 * _GAP
        _write(sheet, (left, top), f"{heading} ({len(samples)} shown)", _INK)
        for row, sample in enumerate(samples):
            place = (left, top + _HEAD + row * _ROW)
            _word(sheet, place, sample, better)
    return sheet


def _word(sheet: Image.Image, place: tuple[int, int], sample: Sample, better: bool) -> None:
    left, top = place
    for column, (crop, read, right) in enumerate(
        ((sample.before, sample.read_before, not better), (sample.after, sample.read_after, better))
    ):
        x = left + column * (_CROP[0] + _GAP)
        sheet.paste(_fitted(crop), (x, top))
        told = read or "(nothing)"
        if not right:
            told += f", not {sample.label}"
        told = told if len(told) <= _LONGEST else told[: _LONGEST - 3] + "..."
        _write(sheet, (x, top + _CROP[1] + 2), told, _RIGHT if right else _WRONG)


def _fitted(crop: Pixels) -> Image.Image:
    """As large as fits; enlarged without smoothing, so that px are seen as what they are."""
    picture = Image.fromarray(crop)
    zoom = min(limit / side for limit, side in zip(_CROP, picture.size, strict=True))
    size = (max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom)))
    method = Image.Resampling.NEAREST if zoom > 1 else Image.Resampling.BICUBIC
    return picture.resize(size, method)


def _write(sheet: Image.Image, place: tuple[int, int], text: str, colour: str) -> None:
    ImageDraw.Draw(sheet).text(place, text, fill=colour, font=ImageFont.load_default(17))
