"""Word accuracy on ICDAR2013 Focused Scene Text, task 2.3: what counts as read right.

Strings in, numbers out. Papers count different words by different rules, so every figure goes with
its subset's N and its rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf

Words = Mapping[str, str]
"""Text by the file name of its crop, such as ``word_1.png``."""

_PLAIN = re.compile(r"[0-9A-Za-z]+")
_FOREIGN = re.compile(r"[^0-9a-z]")

HEIGHTS = (0, 24, 32, 48, 64, 96, inf)
"""Edges in px of the bins by height of the source crop."""


def alphanumeric(text: str) -> str:
    """What the 36-character rule compares: digits and letters a-z, in lower case."""
    return _FOREIGN.sub("", text.lower())


RULES: dict[str, Callable[[str, str], bool]] = {
    "36 characters": lambda label, read: alphanumeric(label) == alphanumeric(read),
    "exact": lambda label, read: label == read,
}
"""Whether a word was read right, by the name of the rule.

The 36-character rule is that of clovaai's ``test.py`` ("What Is Wrong With Scene Text Recognition
Model Comparisons?", 2019): everything else is taken out of both sides, so that a label of symbols
only is read right when no letter or digit is read.
"""

SUBSETS: dict[str, Callable[[str], bool]] = {
    "all": lambda label: True,  # noqa: ARG005 - every label counts
    "alphanumeric": lambda label: _PLAIN.fullmatch(label) is not None,
    "alphanumeric, 3 or more": lambda label: _PLAIN.fullmatch(label) is not None and len(label) > 2,
}
"""Which labels count: 1095, 1015 and 857 of the whole test set."""

MAIN_RULE, MAIN_SUBSET = next(iter(RULES)), next(iter(SUBSETS))
"""The rule and the labels of the figures that reports lead with."""


@dataclass(frozen=True)
class PaperRow:
    """A printed result."""

    source: str
    method: str
    subset: str
    n: int
    correct: int
    accuracy: float
    seconds: float


PAPER_ROWS = [
    PaperRow("CAJNN, Table II", method, "all", 1095, correct, accuracy, seconds)
    for method, correct, accuracy, seconds in (
        ("baseline", 934, 85.30, 31.22),
        ("ours + baseline", 939, 85.75, 41.56),
        ("ours + downsample + baseline", 937, 85.57, 31.22),
    )
]
"""Words that are not degraded, read by TPS-ResNet-BiLSTM-Attn; all labels count, unfiltered.

The paper prints percentages only; the counts follow from them, since neither 1015 nor 857 words
give all three. The network reads digits and letters a-z, so that the 80 labels with anything else
could never be matched: that is not the 36-character rule, which takes symbols out of both sides.
Seconds are the paper's, for all words.
"""


def read_right(labels: Words, read: Words, rule: str) -> dict[str, bool]:
    """Which words were read right by one of the `RULES`.

    Args:
        labels: the words to judge.
        read: what was read, of these at least.
        rule: its name.
    """
    same = RULES[rule]
    return {file: same(label, read[file]) for file, label in labels.items()}


def by_height(right: Mapping[str, bool], heights: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Correct words and all words by the height of their crops, in the bins of `HEIGHTS`.

    Args:
        right: whether each word was read right.
        heights: of the source crops, in px.

    Returns:
        (correct, N) by names such as ``24-31 px``; empty bins too.
    """
    bins = {}
    for low, high in pairwise(HEIGHTS):
        inside = [right[file] for file in right if low <= heights[file] < high]
        name = f"{low}-{high - 1} px" if high < inf else f"{low} px up"
        bins[name] = (sum(inside), len(inside))
    return bins
