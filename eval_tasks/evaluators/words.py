"""Bag-of-words scores of whole pages: what was read right, wherever on the page it was read.

Engines cut text into lines and words in their own ways, so that boxes cannot be paired without
rules that favour one of them. A bag of words needs none (Pletschacher, Clausner and Antonacopoulos,
"Europeana Newspapers OCR Workflow Evaluation", HIP 2015).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval_tasks.evaluators.intervals import Interval, draw, interval


@dataclass(frozen=True)
class Score:
    """What was read on some pages.

    Attributes:
        name: of the arm.
        known: words on each page, (N,).
        read: words read on each, (N,).
        right: words read of those known on each, every one as often as it is there, (N,).
        seconds: a page to treat and to read.
    """

    name: str
    known: NDArray[np.int64]
    read: NDArray[np.int64]
    right: NDArray[np.int64]
    seconds: tuple[float, float]

    @property
    def recall(self) -> float:
        """Share of the known words that were read."""
        return float(self.right.sum() / self.known.sum())

    @property
    def precision(self) -> float | None:
        """Share of the words read that are known; None if nothing was read."""
        return float(self.right.sum() / self.read.sum()) if self.read.any() else None


def words(texts: Iterable[str]) -> Counter[str]:
    """Words as they are compared: letters and digits only, letter case aside."""
    bare = ("".join(filter(str.isalnum, w)).casefold() for text in texts for w in text.split())
    return Counter(word for word in bare if word)


def score(
    name: str,
    known: Mapping[str, Counter[str]],
    read: Mapping[str, Counter[str]],
    seconds: Sequence[tuple[float, float]],
) -> Score:
    """Compare what an arm read with what there is, page by page.

    Args:
        name: of the arm.
        known: the words of each page.
        read: what was read on each; the same pages.
        seconds: of each page, to treat and to read.
    """
    treating, reading = np.mean(np.array(seconds), axis=0).tolist()
    return Score(
        name,
        np.array([bag.total() for bag in known.values()]),
        np.array([read[page].total() for page in known]),
        np.array([(bag & read[page]).total() for page, bag in known.items()]),
        (treating, reading),
    )


def gain(better: Score, base: Score) -> Interval:
    """Recall of an arm less that of another on the same pages."""
    draws = draw(len(base.known))
    more = better.right - base.right
    known = draws @ base.known
    samples = np.where(known > 0, (draws @ more) / np.maximum(known, 1), np.nan)
    return interval(better.recall - base.recall, samples, int(np.count_nonzero(base.known)))
