"""Rows of the report on WIDER FACE: every run, with what it gains over the plain ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from eval_tasks.evaluators.intervals import Interval
from eval_tasks.evaluators.wider_scores import Score, gain, gap_closed, height_names
from eval_tasks.pictures.wider_truth import SUBSETS
from eval_tasks.treatments.plain_arms import BICUBIC
from preproc.reports import Value

REDUCTION = 4
"""Px of the original per px of the reduced picture, as in CAJNN's Table III."""

ORIGINAL, REDUCED = "original", f"reduced x{REDUCTION}"
"""Names of the runs on pictures that are not enlarged."""

PAPER = "CAJNN, Table III"
PAPER_ROWS = {
    name: dict(zip(SUBSETS, ap, strict=True))
    for name, *ap in (
        ("original", 0.900, 0.887, 0.792),
        ("reduced x4", 0.824, 0.692, 0.317),
        ("reduced x4, CAJNN x4", 0.893, 0.857, 0.611),
    )
}
"""AP by subset, of a tiny-face detector on all of val."""

_ORIGINAL, _REDUCED, _ENHANCED = (ap["hard"] for ap in PAPER_ROWS.values())
GAP_GOAL = (_ENHANCED - _REDUCED) / (_ORIGINAL - _REDUCED)
"""Share of the gap between reduced and original pictures that CAJNN closes on hard: 62 %."""


def gains_of(scores: Sequence[Score], one: Score) -> dict[str, dict[str, Interval | None]]:
    """What a run gains over the plain ones, where they were measured, by subset."""
    plain = {ORIGINAL: (), REDUCED: (), BICUBIC: (REDUCED,)}.get(one.name, (REDUCED, BICUBIC))
    return {
        base.name: {subset: gain(one, base, subset) for subset in SUBSETS}
        for base in scores
        if base.name in plain
    }


def gap_of(scores: Sequence[Score], one: Score) -> Interval | None:
    """What a run closes of the gap (`gap_closed`); None for a plain one, or if one is missing."""
    named = {s.name: s for s in scores}
    if one.name in (ORIGINAL, REDUCED) or not {ORIGINAL, REDUCED} <= named.keys():
        return None
    return gap_closed(one, named[REDUCED], named[ORIGINAL])


def report(title: str, scores: Sequence[Score], about: Mapping[str, Value]) -> dict[str, object]:
    """All there is to know, for a JSON file."""
    return {
        "title": title,
        **about,
        "faces": {subset: scores[0].curves[subset].faces for subset in SUBSETS},
        "rows": [
            {
                "name": one.name,
                "ap": {subset: one.ap(subset) for subset in SUBSETS},
                "gain_over": {
                    base: {s: asdict(g) if g else None for s, g in gains.items()}
                    for base, gains in gains_of(scores, one).items()
                },
                "gap_closed_on_hard": asdict(gap) if (gap := gap_of(scores, one)) else None,
                "ap_by_height": dict(zip(height_names(), one.heights, strict=True)),
                "coco": asdict(one.coco) if one.coco else None,
                "detections": one.detections,
                "seconds_an_image": one.seconds,
            }
            for one in scores
        ],
        "papers": {PAPER: [{"name": name, "ap": ap} for name, ap in PAPER_ROWS.items()]},
    }


def flat(scores: Sequence[Score], about: Mapping[str, Value]) -> list[dict[str, Value]]:
    """AP by subset, measured here and printed in the paper, for a CSV file.

    Args:
        scores: of runs on the same images.
        about: what the figures measured here depend on.
    """
    here: list[dict[str, Value]] = [
        {"source": "here", "name": s.name, **{subset: s.ap(subset) for subset in SUBSETS}, **about}
        for s in scores
    ]
    unknown: dict[str, Value] = dict.fromkeys(about)
    papers = ({"source": PAPER, "name": name, **ap, **unknown} for name, ap in PAPER_ROWS.items())
    return [*here, *papers]
