"""What the WIDER FACE script shows: tables, and sentences on gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from eval_tasks.evaluators.intervals import Interval
from eval_tasks.evaluators.wider_rows import (
    GAP_GOAL,
    ORIGINAL,
    PAPER,
    PAPER_ROWS,
    REDUCED,
    REDUCTION,
    gains_of,
    gap_of,
)
from eval_tasks.evaluators.wider_scores import Score, height_names
from eval_tasks.pictures.wider_truth import SUBSETS
from eval_tasks.tables import console
from eval_tasks.treatments.plain_arms import BICUBIC
from integrations.mtcnn import WINDOW
from preproc.extras import from_extra
from preproc.reports import Value


def show(title: str, scores: Sequence[Score], about: Mapping[str, Value]) -> None:
    """Print the tables, then what was gained and lost in sentences."""
    parts: list[Table | Text | str] = [console.heading(title), _ap_table(scores)]
    if any(gains_of(scores, one) for one in scores):
        parts.append(console.heading("Gain in AP, with the range of 95 % of samples of the images"))
        parts.append(_gain_table(scores))
    parts += [console.heading("AP by height of the face, hard"), _height_table(scores)]
    if scores[0].coco:
        parts += [console.heading("COCO's AP by pycocotools, hard"), _coco_table(scores)]
    else:
        parts.append(f"No second opinion: pycocotools is missing; {from_extra('eval')}.")
    console.show(*parts, *verdicts(scores), about=about)


def verdicts(scores: Sequence[Score]) -> list[str]:
    """Sentences on what each run gains over the plain ones, and on the gap it closes."""
    sentences = []
    for one in scores:
        for base, gains in gains_of(scores, one).items():
            if one.name != BICUBIC and any(gains.values()):
                sentences.append(_gain_sentence(one.name, base, gains))
        gap = gap_of(scores, one)
        if gap:
            sentences.append(
                f"{one.name} closes {gap:.0%} of the gap from {REDUCED} to {ORIGINAL} on hard, "
                f"with its 95 % interval; CAJNN's paper {GAP_GOAL:.0%}, by another detector."
            )
    if any(" returned" in one.name for one in scores):
        sentences.append(
            f"Pictures at the reduced size are searched from {WINDOW:g} px there, "
            f"{WINDOW * REDUCTION:g} px of the original: MTCNN's window cannot see smaller faces, "
            "enhanced or not."
        )
    return sentences


def _gain_sentence(name: str, base: str, gains: Mapping[str, Interval | None]) -> str:
    known = {subset: g for subset, g in gains.items() if g}
    lost = [f"{subset} ({g.value:+.3f})" for subset, g in known.items() if g.value <= 0]
    if lost:
        return f"{name} gains nothing over {base} on {' and '.join(lost)}."
    unsure = [f"{subset} ({g.value:+.3f})" for subset, g in known.items() if not g.sure]
    doubt = f", though on {' and '.join(unsure)} by no more than chance may give" if unsure else ""
    return f"{name} gains on all subsets over {base}{doubt}."


def _ap_table(scores: Sequence[Score]) -> Table:
    """Table III: easy, medium, hard, what was measured here and then what the paper prints."""
    table = Table("source", "arm")
    for subset in SUBSETS:
        table.add_column(f"{subset} ({scores[0].curves[subset].faces:,} faces)", justify="right")
    for heading in ("gap closed, hard", "s/image: arm", "detector"):
        table.add_column(heading, justify="right")
    for one in scores:
        gap = gap_of(scores, one)
        table.add_row(
            "here",
            one.name,
            *(ap_cell(one.ap(subset)) for subset in SUBSETS),
            f"{gap.value:.0%}" if gap else "",
            *(f"{s:.2f}" for s in one.seconds or ()),
        )
    table.add_section()
    for name, ap in PAPER_ROWS.items():
        share = f"{GAP_GOAL:.0%}" if "CAJNN" in name else ""
        table.add_row(
            f"{PAPER} (3,226 images)", name, *map(ap_cell, ap.values()), share, style="dim"
        )
    return table


def _gain_table(scores: Sequence[Score]) -> Table:
    table = Table("arm", "over")
    for subset in SUBSETS:
        table.add_column(subset, justify="right")
    for one in scores:
        for base, gains in gains_of(scores, one).items():
            cells = (f"{gain:+.3f}" if gain else "-" for gain in gains.values())
            table.add_row(one.name, base, *cells)
    return table


def _height_table(scores: Sequence[Score]) -> Table:
    table = Table("arm")
    for name, faces in zip(height_names(), scores[0].height_faces, strict=True):
        table.add_column(f"{name} ({faces:,})", justify="right")
    for one in scores:
        table.add_row(one.name, *map(ap_cell, one.heights))
    return table


def _coco_table(scores: Sequence[Score]) -> Table:
    table = Table("arm")
    for heading in ("AP", "AP50", "AP75"):
        table.add_column(heading, justify="right")
    for one in scores:
        if one.coco:
            table.add_row(one.name, *map(ap_cell, (one.coco.ap, one.coco.ap50, one.coco.ap75)))
    return table


def ap_cell(value: float | None) -> str:
    """An average precision to three digits; a dash for none."""
    return "-" if value is None else f"{value:.3f}"
