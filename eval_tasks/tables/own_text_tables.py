"""What the script on text in your own pictures shows and keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from eval_tasks.evaluators.intervals import Interval
from eval_tasks.evaluators.words import Score, gain
from eval_tasks.tables import console


def _gains(scores: Sequence[Score], one: Score) -> list[Interval | None]:
    """What an arm gains over the input and over plain bicubic, which come first."""
    return [gain(one, base) if base is not one else None for base in scores[:2]]


def report(title: str, scores: Sequence[Score], about: Mapping[str, str]) -> dict[str, object]:
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
                "gain_over": {
                    base.name: asdict(gained)
                    for base, gained in zip(scores, _gains(scores, one), strict=False)
                    if gained
                },
                "seconds_a_picture": one.seconds,
            }
            for one in scores
        ],
    }


def show(title: str, scores: Sequence[Score], about: Mapping[str, str]) -> None:
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
        gains = [f"{gain:+.1%}" if gain else "" for gain in _gains(scores, one)]
        table.add_row(
            one.name,
            f"{one.right.sum()}",
            f"{100 * one.recall:.1f}",
            "-" if one.precision is None else f"{100 * one.precision:.1f}",
            *gains,
            *(f"{seconds:.2f}" for seconds in one.seconds),
        )
    console.show(console.heading(title), table, about=about)
