"""The words that the recogniser is tuned on: texts, and pictures degraded like photographs."""

from __future__ import annotations

import re
import string
import sysconfig
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.picture_files import pixels
from preproc.samples import Pixels
from preproc.training.data.text import Ground, word_picture

REDUCTION = 4
"""Px of a rendered word per px of what the recogniser is tuned on."""


def vocabulary() -> list[str]:
    """Words of 2 to 12 letters from the sources of Python's own library, which is always there."""
    counts: Counter[str] = Counter()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text("utf-8", errors="ignore").lower()
        counts.update(re.findall(r"\b[a-z]{2,12}\b", text))
    return sorted(word for word, count in counts.items() if count > 1)


def random_text(rng: Generator, words: Sequence[str]) -> str:
    """A word in any case, or, three times of ten, digits or letters at random."""
    kind = rng.random()
    if kind < 0.15:
        return "".join(rng.choice(list(string.digits), int(rng.integers(1, 7))))
    if kind < 0.3:
        letters = list(string.ascii_letters + string.digits)
        return "".join(rng.choice(letters, int(rng.integers(2, 9))))
    word, case = str(rng.choice(words)), rng.random()
    return word.upper() if case < 0.4 else word.title() if case < 0.65 else word


def photograph(paths: Sequence[Path], rng: Generator, size: int) -> Pixels:
    """A square of ``size`` px of one of the pictures, enlarged if it is too small."""
    picture = Image.fromarray(pixels(paths[int(rng.integers(len(paths)))]))
    scale = max(1.0, size / min(picture.size))
    width, height = (max(size, round(side * scale)) for side in picture.size)
    left, top = int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1))
    box = left / scale, top / scale, (left + size) / scale, (top + size) / scale
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box))


def rendered(
    seed: int, number: int, words: Sequence[str], ground: Ground | None
) -> tuple[str, Pixels]:
    """The text and the degraded picture, 8 to 32 px high, of one word; the same for all arms."""
    rng = np.random.default_rng((seed, number))
    height = int(np.exp(rng.uniform(np.log(8), np.log(32))))
    text = random_text(rng, words)
    quality = int(rng.integers(20, 91)) if rng.random() < 0.85 else None
    picture = word_picture(rng, text, REDUCTION * height, ground)
    return text, Degradation(REDUCTION, quality).apply(picture)
