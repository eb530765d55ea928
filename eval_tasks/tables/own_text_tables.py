"""What the script on text in your own pictures shows and keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from eval_tasks.evaluators.words import Score, gain
from eval_tasks.tables import console, own_gains
from preproc.reports import Value


def report(title: str, scores: Sequence[Score], about: Mapping[str, Value]) -> dict[str, object]:
    """What is kept as JSON."""
    return {
        "title": title,
        **about,
        "rows": [
            {
                "name": one.name,
                "known": int(one.known.sum()),
                "right": int(one.right.sum()),
                "read": int(one.read.sum()),
                "recall": one.recall,
                "precision": one.precision,
                "gain_over": own_gains.kept(own_gains.gains_of(scores, one, gain)),
                "seconds_a_picture": one.seconds,
            }
            for one in scores
        ],
    }


def show(title: str, scores: Sequence[Score], about: Mapping[str, Value]) -> None:
    """Print the words each arm reads, and what it gains."""
    table = Table("arm")
    for heading in (
        "words right",
        "% of known",
        "% of read",
        *(f"of known over\n{base.name} (95 %)" for base in scores[:2]),
        "arm\ns/picture",
        "reading\ns/picture",
    ):
        table.add_column(heading, justify="right")
    for one in scores:
        gains = own_gains.cells(own_gains.gains_of(scores, one, gain), "+.1%")
        table.add_row(
            one.name,
            f"{one.right.sum()}",
            f"{100 * one.recall:.1f}",
            "-" if one.precision is None else f"{100 * one.precision:.1f}",
            *gains,
            *(f"{seconds:.2f}" for seconds in one.seconds),
        )
    console.show(console.heading(title), table, about=about)
