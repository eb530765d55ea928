"""What the script on faces in your own pictures shows and keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from rich.table import Table

from eval_tasks.evaluators.wider_scores import Score, gain, height_names
from eval_tasks.pictures.wider_truth import SUBSETS
from eval_tasks.tables import console, own_gains
from eval_tasks.tables.wider_tables import ap_cell
from preproc.reports import Value

EVERY = SUBSETS[-1]
"""Of the benchmark's subsets: there is one kind of faces here, so all are the same."""


_gain = partial(gain, subset=EVERY)


def report(title: str, scores: Sequence[Score], about: Mapping[str, Value]) -> dict[str, object]:
    """What is kept as JSON."""
    return {
        "title": title,
        **about,
        "rows": [
            {
                "name": one.name,
                "ap": one.ap(EVERY),
                "gain_over": own_gains.kept(own_gains.gains_of(scores, one, _gain)),
                "ap_by_height": dict(zip(height_names(), one.heights, strict=True)),
                "detections": one.detections,
                "seconds_an_image": one.seconds,
            }
            for one in scores
        ],
    }


def show(title: str, scores: Sequence[Score], about: Mapping[str, Value]) -> None:
    """Print the average precision of each arm, and what it gains."""
    table = Table("arm", "AP", *(f"gain over {base.name} (95 %)" for base in scores[:2]))
    for name, faces in zip(height_names(), scores[0].height_faces, strict=True):
        table.add_column(f"{name} ({faces:,})", justify="right")
    for one in scores:
        gains = own_gains.cells(own_gains.gains_of(scores, one, _gain), "+.3f")
        table.add_row(one.name, ap_cell(one.ap(EVERY)), *gains, *map(ap_cell, one.heights))
    console.show(console.heading(title), table, about=about)
