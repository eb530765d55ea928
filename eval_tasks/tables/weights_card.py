"""The card of weights: what they measure, and how they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_tasks.evaluators.restoration import Row
from eval_tasks.tables import markdown
from preproc.manifest import WeightsEntry
from preproc.training.stages.folder import WEIGHTS


def card_text(
    entry: WeightsEntry,
    records: Sequence[dict[str, Any]],
    rows: Sequence[Row],
    notes: str,
    curve: Path | None,
) -> str:
    """The text of a card.

    Args:
        entry: the weights' place in the manifest.
        records: those of the run's stages, in order.
        rows: what was measured, of other methods too.
        notes: text (markdown) on what the weights are and are not good for.
        curve: the picture of the training curve, which stands beside the card, if there is one.
    """
    versions = ", ".join(f"{k} {v}" for k, v in records[-1]["versions"].items())
    lines = [
        f"# {entry}",
        "",
        f"{entry.parameters:,} parameters, half precision, {entry.bytes / 1e6:.1f} MB. "
        f"Licence of the weights: {entry.licence}.",
        "",
        *([notes.strip(), ""] if notes.strip() else []),
        "## Results",
        "",
        f"Mean PSNR in dB / SSIM on Y by the {entry.protocol} protocol, in float32. QF is the JPEG "
        "quality; the input is reduced by MATLAB's bicubic and saved as JPEG 4:2:0. Kodak24 is for "
        "choosing between runs; the other sets were only measured.",
        "",
        *_table(rows),
        "",
        "## Training",
        "",
        f"Recipe `{entry.recipe}`, {entry.steps:,} steps in {_minutes(entry.train_time / 60)}; "
        f"{versions}.",
        "",
        *(_stage_line(record) for record in records),
        "",
        "Data: " + "; ".join(f"{s.name} ({s.licence})" for s in entry.data) + ".",
        "",
        f"Perceptual loss: {entry.perceptual_loss or 'none'}.",
        "",
    ]
    if curve:
        lines += [f"![PSNR against minutes]({curve.name})", ""]
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> list[str]:
    sizes = {row.dataset: row.images for row in rows}
    figures = {
        (row.quality, row.method, row.dataset): f"{row.psnr:.2f} / {row.ssim:.4f}" for row in rows
    }
    return markdown.table(
        ("QF", "method", *(f"{name} (N={n})" for name, n in sizes.items())),
        [
            (f"{quality}", method, *(figures[quality, method, name] for name in sizes))
            for quality in sorted({row.quality for row in rows})
            for method in dict.fromkeys(row.method for row in rows)
        ],
    )


def _stage_line(record: dict[str, Any]) -> str:
    stage = record["stage"]
    origin = Path(record["init_from"])
    # A run's weights are named by their stage, a shipped or foreign file by itself.
    name = origin.parent.name if origin.name == WEIGHTS else origin.stem
    started = f", starting from {name}" if record["init_from"] else ""
    optimizer = stage["optimizer"]["kind"].capitalize()
    return (
        f"- {stage['name']}: {record['steps']:,} steps of {stage['data']['batch']} patches of "
        f"{stage['data']['patch']} LR px in {_minutes(record['minutes'])} on {record['device']} "
        f"({_count(record['threads'], 'thread')}), {optimizer} from "
        f"{stage['optimizer']['lr']:g}{started}."
    )


def _minutes(minutes: float) -> str:
    """A time, to a tenth where it is short, so that the stages' add up to the run's."""
    return _count(
        f"{minutes:.0f}" if minutes >= 10 else f"{minutes:.1f}".removesuffix(".0"), "minute"
    )


def _count(number: object, noun: str) -> str:
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"
