"""The tables of the ICDAR2013 script, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.table import Table

from eval_tasks.evaluators.icdar2013 import MAIN_RULE, MAIN_SUBSET, PAPER_ROWS
from eval_tasks.evaluators.word_rows import HeightRow, Row

T = TypeVar("T")

_MAIN = (MAIN_SUBSET, MAIN_RULE)


def results(rows: Sequence[Row]) -> Table:
    """Words read right by every arm, one block a degradation.

    Paired counts, p-values and the share won back are for all labels under the first rule.
    """
    main = [row for row in rows if (row.subset, row.rule) == _MAIN]
    others = _distinct((row.subset, row.rule) for row in rows)
    others.remove(_MAIN)
    cells = {(row.degradation, row.arm, row.subset, row.rule): row for row in rows}
    title = f"Words read right, {main[0].recogniser}" if main else None
    table = Table("degradation", "arm", title=title)
    for columns in (_MAIN, *others):
        n = next(row.n for row in rows if (row.subset, row.rule) == columns)
        table.add_column(f"{columns[0]}\n{columns[1]}\nN={n}", justify="right")
    for heading in (
        "against input\nfixed/broken, p",
        "against bicubic\nfixed/broken, p",
        "won back",
        "arm\nms/word",
        "reading\nms/word",
    ):
        table.add_column(heading, justify="right")
    for degradation in _distinct(row.degradation for row in main):
        for row in (row for row in main if row.degradation == degradation):
            table.add_row(
                degradation,
                row.arm,
                _count(row),
                *(_count(cells[row.degradation, row.arm, *other]) for other in others),
                _pair(row.fixed, row.broken, row.p),
                _pair(row.fixed_over_bicubic, row.broken_over_bicubic, row.p_over_bicubic),
                "" if row.recovered is None else f"{100 * row.recovered:.0f} %",
                f"{row.arm_ms:.1f}",
                f"{row.read_ms:.1f}",
            )
        table.add_section()
    return table


def heights(rows: Sequence[HeightRow]) -> Table:
    """Accuracy in percent by the height of the source crop, with each bin's N."""
    table = Table("degradation", "arm", title="% of words read right by height of the source crop")
    sizes = {row.height: row.n for row in rows}
    for height, n in sizes.items():
        table.add_column(f"{height}\nN={n}", justify="right")
    for degradation in _distinct(row.degradation for row in rows):
        for arm in _distinct(row.arm for row in rows if row.degradation == degradation):
            shown = [r for r in rows if (r.degradation, r.arm) == (degradation, arm)]
            percents = (f"{100 * r.correct / r.n:.1f}" if r.n else "" for r in shown)
            table.add_row(degradation, arm, *percents)
        table.add_section()
    return table


def papers() -> Table:
    """What the paper prints, with another recogniser and words that were not degraded."""
    first = PAPER_ROWS[0]
    title = f"{first.source} ({first.subset} N={first.n}, labels unfiltered, not degraded)"
    table = Table("method", title=title)
    for heading in ("correct", "%", "s"):
        table.add_column(heading, justify="right")
    for row in PAPER_ROWS:
        table.add_row(row.method, f"{row.correct}", f"{row.accuracy:.2f}", f"{row.seconds:.2f}")
    return table


def _count(row: Row) -> str:
    return f"{row.correct} ({row.accuracy:.2f})"


def _pair(fixed: int | None, broken: int | None, p: float | None) -> str:
    return "" if fixed is None or p is None else f"+{fixed} -{broken}, {p:.2g}"


def _distinct(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
