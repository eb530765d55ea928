"""Scores of a detector's runs: AP, gains with bootstrap intervals, and the gap they close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from eval_tasks.evaluators.coco import CocoScores
from eval_tasks.evaluators.intervals import Interval, draw, interval
from eval_tasks.evaluators.wider import HEIGHTS, Curve, Matches, Tally
from eval_tasks.pictures.wider_truth import SUBSETS, Floats, Truth


@dataclass(frozen=True)
class Score:
    """What came out of a run.

    Attributes:
        name: name of the run.
        tallies: by subset.
        curves: by subset.
        heights: AP by class of face height, hard; see `HEIGHTS`.
        height_faces: how many faces are in each class.
        detections: how many there are.
        coco: COCO's scores, if they were computed.
        seconds: an image to treat and to search, if known.
    """

    name: str
    tallies: Mapping[str, Tally]
    curves: Mapping[str, Curve]
    heights: tuple[float | None, ...]
    height_faces: tuple[int, ...]
    detections: int
    coco: CocoScores | None = None
    seconds: tuple[float, float] | None = None

    def ap(self, subset: str) -> float | None:
        """AP by the official rules; None if the subset has no faces in these images."""
        return self.curves[subset].ap

    def images(self, subset: str) -> int:
        """How many images have faces that count."""
        return int(np.count_nonzero(self.tallies[subset].faces))

    @cached_property
    def samples(self) -> dict[str, Floats]:
        """AP by subset of samples of the images: the same ones for every run, so they pair."""
        images = len(self.tallies[SUBSETS[0]].faces)
        draws = draw(images)
        return {subset: tally.resampled(draws) for subset, tally in self.tallies.items()}


def score(
    name: str,
    truth: Mapping[str, Truth],
    detections: Mapping[str, Floats],
    *,
    coco: CocoScores | None = None,
    seconds: tuple[float, float] | None = None,
) -> Score:
    """Score a run; see `Matches` for arguments and errors."""
    matches = Matches(truth, detections)
    tallies = {subset: matches.subset(subset) for subset in SUBSETS}
    classes = [tally.curve() for tally in matches.heights()]
    return Score(
        name,
        tallies,
        {subset: tally.curve() for subset, tally in tallies.items()},
        tuple(curve.ap for curve in classes),
        tuple(curve.faces for curve in classes),
        sum(len(d) for n, d in detections.items() if n in truth),
        coco,
        seconds,
    )


def gain(better: Score, base: Score, subset: str) -> Interval | None:
    """AP of a run less that of another on the same images; None without faces."""
    ours, theirs = better.ap(subset), base.ap(subset)
    if ours is None or theirs is None:
        return None
    samples = better.samples[subset] - base.samples[subset]
    return interval(ours - theirs, samples, base.images(subset))


def gap_closed(better: Score, reduced: Score, original: Score) -> Interval | None:
    """Share of the way from the reduced to the original pictures on hard.

    None where the original is no better than the reduced, so that there is no way to go.
    """
    ours, low, high = (run.ap("hard") for run in (better, reduced, original))
    if ours is None or low is None or high is None or high <= low:
        return None
    sample, lows, highs = (run.samples["hard"] for run in (better, reduced, original))
    gaps = np.where(highs > lows, highs - lows, np.nan)
    return interval((ours - low) / (high - low), (sample - lows) / gaps, reduced.images("hard"))


def height_names() -> list[str]:
    """Names of the classes of face height."""
    names = [f"{low:g}-{high:g} px" for low, high in pairwise(HEIGHTS)]
    return [f"under {HEIGHTS[1]:g} px", *names[1:-1], f"from {HEIGHTS[-2]:g} px"]
