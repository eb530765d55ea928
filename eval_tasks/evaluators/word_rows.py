"""Rows of the report on words: every arm, subset and rule, paired with the arms it must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval_tasks.evaluators.icdar2013 import (
    MAIN_RULE,
    RULES,
    SUBSETS,
    Words,
    by_height,
    read_right,
)
from eval_tasks.evaluators.paired import Comparison, compare
from eval_tasks.treatments.plain_arms import BICUBIC, INPUT

CLEAN = "none"
"""Name of no degradation."""


@dataclass(frozen=True)
class Run:
    """All words read one way.

    Attributes:
        recogniser: with version and device.
        degradation: what was done to the source crops; `CLEAN` for nothing.
        arm: what was done to the degraded crops.
        weights: SHA-256 of the arm's weights, or ``""``.
        device: where the arm ran.
        read: what was read, of the same words in all runs.
        arm_ms: mean wall time of the arm in ms a word.
        read_ms: mean wall time of the recogniser in ms a word.
    """

    recogniser: str
    degradation: str
    arm: str
    weights: str
    device: str
    read: Words
    arm_ms: float
    read_ms: float


@dataclass(frozen=True)
class Row:
    """A run judged on one subset by one rule; None where there is nothing to compare with.

    Attributes:
        recogniser: as in the run; so are ``degradation``, ``arm``, ``weights``, ``device`` and the
            times.
        subset: which labels count.
        rule: when a word was read right.
        n: words that count.
        correct: words read right.
        accuracy: percent.
        fixed: words right that are wrong in the arm `INPUT` under the same degradation.
        broken: words wrong that are right there.
        p: McNemar's exact test of the two.
        fixed_over_bicubic: the same against the arm `BICUBIC`; so are the next two.
        recovered: the share of the degradation's damage to `INPUT` that is undone; 1 is all of it.
    """

    recogniser: str
    degradation: str
    arm: str
    weights: str
    device: str
    subset: str
    rule: str
    n: int
    correct: int
    accuracy: float
    fixed: int | None
    broken: int | None
    p: float | None
    fixed_over_bicubic: int | None
    broken_over_bicubic: int | None
    p_over_bicubic: float | None
    recovered: float | None
    arm_ms: float
    read_ms: float


@dataclass(frozen=True)
class HeightRow:
    """Words read right in one bin of source heights, all labels, 36-character rule."""

    degradation: str
    arm: str
    height: str
    n: int
    correct: int


def make_rows(labels: Words, runs: Sequence[Run]) -> list[Row]:
    """Judge runs of one recogniser on every subset by every rule.

    Args:
        labels: the words that were read.
        runs: the ways they were read; the arm `INPUT` of the degradation `CLEAN` among them gives
            what there is to win back.
    """
    rows = []
    for subset, counts in SUBSETS.items():
        kept = {file: label for file, label in labels.items() if counts(label)}
        for rule in RULES:
            right = {(run.degradation, run.arm): read_right(kept, run.read, rule) for run in runs}
            rows += [_row(run, subset, rule, right) for run in runs]
    return rows


def make_height_rows(
    labels: Words, heights: Mapping[str, int], runs: Sequence[Run]
) -> list[HeightRow]:
    """Count each run's words by the height in px of their source crops."""
    return [
        HeightRow(run.degradation, run.arm, height, n, correct)
        for run in runs
        for height, (correct, n) in by_height(
            read_right(labels, run.read, MAIN_RULE), heights
        ).items()
    ]


_Right = Mapping[tuple[str, str], Mapping[str, bool]]


def _row(run: Run, subset: str, rule: str, right: _Right) -> Row:
    own = right[run.degradation, run.arm]
    correct, n = sum(own.values()), len(own)
    fixed, broken, p = _against(INPUT, run, right)
    fixed_over_bicubic, broken_over_bicubic, p_over_bicubic = _against(BICUBIC, run, right)
    return Row(
        recogniser=run.recogniser,
        degradation=run.degradation,
        arm=run.arm,
        weights=run.weights,
        device=run.device,
        subset=subset,
        rule=rule,
        n=n,
        correct=correct,
        accuracy=100 * correct / n if n else 0.0,
        fixed=fixed,
        broken=broken,
        p=p,
        fixed_over_bicubic=fixed_over_bicubic,
        broken_over_bicubic=broken_over_bicubic,
        p_over_bicubic=p_over_bicubic,
        recovered=_recovered(run, correct, right),
        arm_ms=run.arm_ms,
        read_ms=run.read_ms,
    )


def _against(arm: str, run: Run, right: _Right) -> Comparison | tuple[None, None, None]:
    """Fixed, broken and p against an arm under the same degradation."""
    other = right.get((run.degradation, arm))
    if other is None or run.arm == arm:
        return None, None, None
    return compare(other, right[run.degradation, run.arm])


def _recovered(run: Run, correct: int, right: _Right) -> float | None:
    if run.degradation == CLEAN or run.arm == INPUT:
        return None
    clean, degraded = right.get((CLEAN, INPUT)), right.get((run.degradation, INPUT))
    if clean is None or degraded is None:
        return None
    cost = sum(clean.values()) - sum(degraded.values())
    return (correct - sum(degraded.values())) / cost if cost > 0 else None
