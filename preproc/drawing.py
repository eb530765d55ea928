"""What text is drawn with: fonts, colours that stand off their ground, and perspective."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import ImageFont

from preproc.errors import MissingLibraryError

# OFL and Bitstream Vera fonts, from packages of the extra "train".
_FONT_PACKAGES = ("justmytype_western_core", "deckr_fonts", "matplotlib")
# They draw a sign for every letter, but not that letter.
_SYMBOL_FONTS = ("cmex", "cmmi", "cmsy", "Noto Sans Symbols")


def random_font(rng: Generator, height: int) -> ImageFont.FreeTypeFont:
    """A font at a size in px, its weight and width drawn where the file leaves them open."""
    fonts = _fonts()
    font = ImageFont.truetype(fonts[rng.integers(len(fonts))], max(6, height))
    with suppress(OSError):  # not a variable font
        ranges = [(a["minimum"] or 0, a["maximum"] or 0) for a in font.get_variation_axes()]
        font.set_variation_by_axes([rng.uniform(low, high) for low, high in ranges])
    return font


def any_colour(rng: Generator) -> tuple[int, int, int]:
    """Any colour, RGB of 0 to 255."""
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def contrasting_colour(rng: Generator, under: NDArray[np.float64]) -> tuple[int, int, int]:
    """A random colour, 40 to 200 levels off the ground's mean before it is clipped to 0 to 255.

    After clipping, 10 % of the colours are less than 40 levels of lightness off, and 2 % less than
    10.
    """
    colour = np.array(any_colour(rng), float)
    gap = rng.uniform(40, 200) * (1 if under.mean() < rng.uniform(60, 200) else -1)
    red, green, blue = (
        np.clip(colour - colour.mean() + under.mean() + gap, 0, 255).astype(int).tolist()
    )
    return red, green, blue


def homography(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """The eight coefficients a to h of the perspective map that takes four points to four others.

    x' = (a x + b y + c) / (g x + h y + 1), y' = (d x + e y + f) / (g x + h y + 1).

    Args:
        source: (4, 2), x y of each; Pillow wants those of the result first.
        target: (4, 2).
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, np.float64), np.array(values, np.float64))


@lru_cache(maxsize=1)
def _fonts() -> list[Path]:
    """Fonts of the installed packages that open and draw Latin letters, in a fixed order."""
    found = []
    for package in _FONT_PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingLibraryError(
                f"Rendered text needs the fonts of {package}; install preproc with its extra "
                '"train".'
            )
        found += sorted(Path(spec.origin).parent.rglob("*.ttf"))
    return [path for path in found if _draws_latin(path)]


def _draws_latin(path: Path) -> bool:
    """Whether it is a font of letters that look different; without glyphs all are the same box."""
    font = ImageFont.truetype(path, 24)
    if str(font.getname()[0]).startswith(_SYMBOL_FONTS):
        return False
    return len({bytes(font.getmask(letter)) for letter in "ABab12"}) == 6
