"""Whether one of two ways to read the same words is better, or chance explains the difference."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import NamedTuple


class Comparison(NamedTuple):
    """The same words read in two ways.

    Attributes:
        fixed: read right only the second way.
        broken: read right only the first way.
        p: of McNemar's exact test (`mcnemar`).
    """

    fixed: int
    broken: int
    p: float


def compare(before: Mapping[str, bool], after: Mapping[str, bool]) -> Comparison:
    """Pair two ways to read the same words; both say of each word whether it was read right."""
    fixed = sum(right and not before[file] for file, right in after.items())
    broken = sum(before[file] and not right for file, right in after.items())
    return Comparison(fixed, broken, mcnemar(fixed, broken))


def mcnemar(fixed: int, broken: int) -> float:
    """The exact two-sided test of McNemar (1947) for paired outcomes.

    Only words that exactly one of the ways reads right count. Under the null hypothesis, that
    neither is better, each of these is fixed or broken with a probability of 1/2.

    Returns:
        The p-value, the probability of a split at least as uneven; 1 where the ways never differ.
    """
    differing = fixed + broken
    tail = sum(comb(differing, k) for k in range(min(fixed, broken) + 1))
    doubled: float = 2 * tail / 2**differing
    return min(1.0, doubled)
