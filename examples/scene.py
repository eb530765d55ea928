"""A photograph with a face and a sign in it, and what is left of it after compression.

The photograph is NASA's portrait of the astronaut Eileen Collins (public domain, from
scikit-image's wheel). THE SIGN IS RENDERED: no photograph with both comes with a package, so a
board is drawn beside her at full resolution, in perspective, under uneven light, and sensor noise
goes over all of it. Only then is the scene degraded, as the papers do it: bicubic to a quarter,
JPEG.

The letters have sizes at which something is lost and something left: much larger ones are read
anyway, much smaller ones whatever is done. One picture proves nothing: a line moved by a few px
moves the JPEG grid against its letters, and any arm reads a word or three more or fewer. What
enhancement does on average is in the README.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from integrations.protocols import RgbArray
from preproc.degrade import bicubic_down, jpeg
from preproc.drawing import homography

LINES = (
    ("SPACE MUSEUM", 56),
    ("Main Entrance", 50),
    ("Tickets upstairs", 46),
    ("Guided tours daily", 44),
    ("Shuttle and rockets", 42),
    ("Cinema, planetarium", 40),
    ("Open from nine to five", 38),
)
"""The board's lines with their font size in px of the scene, from easy to hard."""

REDUCTION = 4
QUALITY = 40

_WIDTH = 960
_BOARD = (510, 510)
_CORNERS = ((470, 16), (976, -14), (984, 530), (462, 496))
_SUPERSAMPLING = 3
_SEED = 2021


def words() -> list[str]:
    """The words on the sign, in reading order."""
    return [word for line, _ in LINES for word in line.split()]


def original() -> RgbArray:
    """The scene at full resolution, (512, 960, 3) uint8 RGB; the same at every call."""
    portrait = data.astronaut()  # type: ignore[no-untyped-call]
    height, width, _ = portrait.shape
    # Behind the board, whose right side is out of the picture.
    wide = np.pad(portrait, ((0, 0), (0, _WIDTH - width), (0, 0)), mode="symmetric")
    scene = Image.fromarray(wide)
    board = _in_perspective(_board(), (_WIDTH, height))
    scene.paste(board, mask=board.getchannel("A"))
    noise = np.random.default_rng(_SEED).normal(0, 3, wide.shape)
    return np.clip(np.rint(np.asarray(scene) + noise), 0, 255).astype(np.uint8)


def degraded(scene: RgbArray) -> RgbArray:
    """The scene as a poor camera or a thrifty website would hand it over: a quarter, JPEG."""
    return jpeg(bicubic_down(scene, REDUCTION), QUALITY)


def _board() -> Image.Image:
    """The sign, flat, ``_SUPERSAMPLING`` times too large so that perspective costs no edges."""
    width, height = (side * _SUPERSAMPLING for side in _BOARD)
    light = np.add.outer(np.linspace(1.06, 0.8, height), np.linspace(0.06, -0.08, width))
    colour = np.array([34, 62, 110]) * light[..., None]
    board = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(board)
    top = 0.06 * height
    for line, size in LINES:
        font = ImageFont.load_default(size * _SUPERSAMPLING)
        draw.text((0.06 * width, top), line, fill=(232, 230, 222), font=font)
        top += 1.5 * size * _SUPERSAMPLING
    board.putalpha(255)
    return board


def _in_perspective(board: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The board as the camera sees it, on a transparent scene of ``size`` (width, height)."""
    width, height = board.size
    large = tuple(side * _SUPERSAMPLING for side in size)
    corners = np.array(_CORNERS) * _SUPERSAMPLING
    flat = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    seen = board.transform(
        (large[0], large[1]),
        Image.Transform.PERSPECTIVE,
        homography(corners, flat).tolist(),
        Image.Resampling.BICUBIC,
    )
    return seen.resize(size, Image.Resampling.BICUBIC)
