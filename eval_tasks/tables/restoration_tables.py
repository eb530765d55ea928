"""Figures of restoration as tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from eval_tasks.evaluators.restoration import Row
from eval_tasks.tables import console
from preproc.metrics import Protocol


def show(measured: Sequence[Row], printed: Sequence[Row], protocol: Protocol) -> None:
    """Print one table a quality: what was measured here, then what the paper prints."""
    for quality in dict.fromkeys(row.quality for row in measured):
        here, papers = ([r for r in rows if r.quality == quality] for rows in (measured, printed))
        title = (
            f"Y PSNR (dB) / SSIM by the {protocol.name} protocol, input reduced x{here[0].scale} "
            f"and saved as JPEG {quality}"
        )
        doubts = {f"({r.dataset}) {r.method}: {r.note}" for r in papers if r.note and r.psnr}
        console.show(
            console.heading(title),
            _table(here, papers, protocol),
            *(Text(f"not to be trusted {doubt}", "dim") for doubt in sorted(doubts)),
        )


def _table(here: list[Row], papers: list[Row], protocol: Protocol) -> Table:
    table = Table()
    sizes = {row.dataset: row.images for row in here}
    for heading in ("source", "method"):
        table.add_column(heading)
    table.add_column("M params", justify="right")
    for dataset, images in sizes.items():
        table.add_column(f"{dataset} (N={images})", justify="right")
    table.add_column("s here", justify="right")
    for rows, digits in ((here, (3, 4)), (papers, protocol.digits)):
        for method in dict.fromkeys(row.method for row in rows):
            its = {row.dataset: row for row in rows if row.method == method}
            first = next(iter(its.values()))
            table.add_row(
                first.source,
                method,
                "" if first.parameters is None else f"{first.parameters:.4g}",
                *(_cell(its.get(dataset), digits) for dataset in sizes),
                f"{sum(r.seconds or 0 for r in its.values()):.2f}" if rows is here else "",
                style="" if rows is here else "dim",
            )
        table.add_section()
    return table


def _cell(row: Row | None, digits: tuple[int, int]) -> str:
    """``PSNR/SSIM``, in brackets if not to be trusted; the reason if one is missing."""
    if row is None:
        return ""
    if row.psnr is None or row.ssim is None:
        return row.note + ("" if row.ssim is None else f", SSIM {row.ssim:.{digits[1]}f}")
    figures = f"{row.psnr:.{digits[0]}f}/{row.ssim:.{digits[1]}f}"
    return f"({figures})" if row.note else figures
