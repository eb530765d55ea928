"""The curve of a run: held-out PSNR against minutes of training."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preproc.files import write_bytes


@dataclass(frozen=True)
class Point:
    """One measurement of a run.

    Attributes:
        minutes: training time since its stage, or the first one, began.
        step: optimizer steps since then.
        psnr: held-out PSNR on Y in dB, by the name in the log (``psnr_q10``, ...).
    """

    minutes: float
    step: int
    psnr: dict[str, float]


def read_curve(records: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The measurements of a run, its stages laid end to end.

    Args:
        records: of the stages, in order (`preproc.training.stages.folder.read_record`).
    """
    points: list[Point] = []
    minutes, step = 0.0, 0
    for record in records:
        for point in record.get("curve", ()):
            # JSON has no infinity, so a record holds it as text.
            psnr = {name: float(value) for name, value in point["psnr"].items()}
            points.append(Point(minutes + point["minutes"], step + point["step"], psnr))
        minutes, step = minutes + record["minutes"], step + record["steps"]
    return points


def write_curve(points: list[Point], file: Path, title: str) -> None:
    """Draw the curve as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, needed here only

    figure = Figure(figsize=(6, 3.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name in sorted({n for p in points for n in p.psnr}):
        known = [(p.minutes, p.psnr[name]) for p in points if name in p.psnr]
        axes.plot(*zip(*known, strict=True), marker="o", ms=3, label=name.replace("psnr_q", "QF "))
    axes.set(xlabel="minutes of training", ylabel="PSNR-Y, dB (held out)", title=title)
    axes.grid(alpha=0.3)
    if points:
        axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_bytes(file, picture.getvalue())
