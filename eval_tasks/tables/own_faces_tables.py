"""What the script on faces in your own pictures shows and keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from eval_tasks.evaluators.intervals import Interval
from eval_tasks.evaluators.wider_scores import Score, gain, height_names
from eval_tasks.pictures.wider_truth import SUBSETS
from eval_tasks.tables import console
from eval_tasks.tables.wider_tables import ap_cell

EVERY = SUBSETS[-1]
"""Of the benchmark's subsets: there is one kind of faces here, so all are the same."""


def _gains(scores: Sequence[Score], one: Score) -> list[Interval | None]:
    """What an arm gains over the input and over plain bicubic, which come first."""
    return [gain(one, base, EVERY) if base is not one else None for base in scores[:2]]


def report(title: str, scores: Sequence[Score], about: Mapping[str, str]) -> dict[str, object]:
    """What is kept as JSON."""
    return {
        "title": title,
        **about,
        "rows": [
            {
                "name": one.name,
                "ap": one.ap(EVERY),
                "gain_over": {
                    base.name: asdict(gained)
                    for base, gained in zip(scores, _gains(scores, one), strict=False)
                    if gained
                },
                "ap_by_height": dict(zip(height_names(), one.heights, strict=True)),
                "detections": one.detections,
                "seconds_an_image": one.seconds,
            }
            for one in scores
        ],
    }


def show(title: str, scores: Sequence[Score], about: Mapping[str, str]) -> None:
    """Print the average precision of each arm, and what it gains."""
    table = Table("arm", "AP", *(f"gain over {base.name} (95 %)" for base in scores[:2]))
    for name, faces in zip(height_names(), scores[0].height_faces, strict=True):
        table.add_column(f"{name} ({faces:,})", justify="right")
    for one in scores:
        gains = [f"{gain:+.3f}" if gain else "" for gain in _gains(scores, one)]
        table.add_row(one.name, ap_cell(one.ap(EVERY)), *gains, *map(ap_cell, one.heights))
    console.show(console.heading(title), table, about=about)
