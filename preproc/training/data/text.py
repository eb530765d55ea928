"""Rendered text: pictures of words in many sizes, fonts, colours, grounds and perspectives."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from copy import deepcopy

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from preproc.drawing import any_colour, contrasting_colour, homography, random_font
from preproc.samples import Pixels

Ground = Callable[[Generator, int], Pixels]

_WORDS = (  # noqa: SIM905 - a list of 150 strings reads worse
    "the of and to in is open closed exit street station market hotel road bank parking centre "
    "city police school north south east west sale free coffee tea water food pizza taxi bus train "
    "stop danger warning private public entrance office library museum garden park bridge river "
    "house room floor level lift stairs toilet men women push pull please no smoking keep clear "
    "speed limit one way turn left right slow caution fire hose call now new best price quality "
    "since welcome university hospital pharmacy church royal kings college service customer point"
).split()
_PUNCTUATION = "&-'.,:!?/()+%#@"


def text_picture(rng: Generator, size: int = 384, ground: Ground | None = None) -> Pixels:
    """A square of lines of text.

    Args:
        rng: the source of all randomness.
        size: side in px.
        ground: makes a uint8 (size, size, 3) background; plain colours and gradients without it.

    Returns:
        uint8 (size, size, 3), RGB.
    """
    back = Image.fromarray(_ground(rng, size, ground))
    top = 0
    filled = 0.85 if rng.random() < 0.7 else 0.2  # of the lines; some pages are nearly empty
    while top < size:
        height = int(np.exp(rng.uniform(np.log(14), np.log(140))))
        if rng.random() < filled:
            _line(rng, back, top, height)
        top += int(height * rng.uniform(1.0, 1.5))
    if rng.random() < 0.5:
        back = _tilted(rng, back)
    if rng.random() < 0.2:
        back = back.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    return _noisy(rng, np.asarray(back))


def word_picture(rng: Generator, text: str, height: int, ground: Ground | None = None) -> Pixels:
    """One word that fills its picture, as a text detector cuts it out.

    Args:
        rng: the source of all randomness.
        text: the word.
        height: of the picture in px; the word takes about 60 to 90 % of it.
        ground: as for `text_picture`.

    Returns:
        uint8 (height, W, 3), RGB, a little wider than the word.
    """
    same = deepcopy(rng)  # for the font once more; a variant of it would forget its weight
    _, top, _, bottom = random_font(rng, height).getbbox(text)
    tall = rng.uniform(0.6, 0.9) * height
    font = random_font(same, int(height * tall / max(1, bottom - top)))
    left, top, right, bottom = font.getbbox(text)
    width = int(right - left + height * rng.uniform(0.05, 0.5))
    back = Image.fromarray(_ground(rng, max(width, height), ground)).crop((0, 0, width, height))
    paper = np.asarray(back).reshape(-1, 3).mean(0)
    ink = contrasting_colour(rng, paper)
    x, y = rng.uniform(0, width - right + left), rng.uniform(0, max(1, height - bottom + top))
    ImageDraw.Draw(back).text((x - left, y - top), text, fill=ink, font=font)
    if rng.random() < 0.3:
        angle = min(4.0, math.degrees(height / 4 / width))  # long words would leave the picture
        around = (int(paper[0]), int(paper[1]), int(paper[2]))
        resampling = Image.Resampling.BICUBIC
        back = back.rotate(rng.uniform(-angle, angle), resampling, fillcolor=around)
    if rng.random() < 0.5:
        back = back.filter(ImageFilter.GaussianBlur(rng.uniform(0.002, 0.023) * height))
    return _noisy(rng, np.asarray(back))


def _noisy(rng: Generator, picture: Pixels) -> Pixels:
    """With probability 0.3, the picture with noise of 1 to 6 levels."""
    if rng.random() >= 0.3:
        return picture
    noise = rng.normal(0, rng.uniform(1, 6), picture.shape)
    noisy: Pixels = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    return noisy


def _line(rng: Generator, picture: Image.Image, top: int, height: int) -> None:
    """Write one line of words at a height in px, in a colour that stands off the ground."""
    text = " ".join(_word(rng) for _ in range(int(rng.integers(1, 6))))
    font = random_font(rng, height * 3 // 4)
    draw = ImageDraw.Draw(picture)
    width = picture.width
    left = int(rng.uniform(-0.1, 0.5) * width)
    strip = picture.crop((0, top, width, min(top + height, picture.height)))
    under = np.asarray(strip).reshape(-1, 3).mean(0) if strip.height else np.zeros(3)
    colour = contrasting_colour(rng, under)
    edge = int(rng.integers(1, 3)) if rng.random() < 0.15 and height > 24 else 0
    if rng.random() < 0.15:
        offset = max(1, height // 20)
        draw.text((left + offset, top + offset), text, fill=any_colour(rng), font=font)
    draw.text(
        (left, top), text, fill=colour, font=font, stroke_width=edge, stroke_fill=any_colour(rng)
    )


def _word(rng: Generator) -> str:
    kind = rng.random()
    if kind < 0.55:
        word = str(rng.choice(_WORDS))
    elif kind < 0.75:
        word = "".join(rng.choice(list(string.digits), int(rng.integers(1, 7))))
    else:
        letters = list(string.ascii_letters + string.digits)
        word = "".join(rng.choice(letters, int(rng.integers(2, 10))))
    if rng.random() < 0.1:
        word += str(rng.choice(list(_PUNCTUATION)))
    case = rng.random()
    return word.upper() if case < 0.35 else word.title() if case < 0.6 else word


def _ground(rng: Generator, size: int, ground: Ground | None) -> Pixels:
    if ground is not None and rng.random() < 0.5:
        photo = ground(rng, size)
        if rng.random() < 0.5:
            blurred = Image.fromarray(photo).filter(ImageFilter.GaussianBlur(rng.uniform(2, 12)))
            photo = np.asarray(blurred)
        return photo
    one, other = (np.array(any_colour(rng), np.float32) for _ in range(2))
    if rng.random() < 0.5:
        other = one
    if rng.random() < 0.35:  # paper, or a screen that is off
        one = other = np.full(3, 255 if rng.random() < 0.7 else 0, np.float32)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    across = ramp[None, :, None] if rng.random() < 0.5 else ramp[:, None, None]
    plain = np.broadcast_to(one + (other - one) * across, (size, size, 3))
    picture: Pixels = np.rint(plain).astype(np.uint8)
    return picture


def _tilted(rng: Generator, picture: Image.Image) -> Image.Image:
    """The picture seen from a random side: each corner moves inwards by up to an eighth."""
    size = picture.width
    corners = np.array([(0, 0), (0, size), (size, size), (size, 0)], float)
    seen = corners + rng.uniform(0, size / 8, (4, 2)) * np.sign(size / 2 - corners)
    return picture.transform(
        picture.size,
        Image.Transform.PERSPECTIVE,
        homography(corners, seen).tolist(),
        Image.Resampling.BICUBIC,
    )
