"""The curve of a run: loss and held-out PSNR against minutes of training."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from preproc.pictures.saving import save


@dataclass(frozen=True)
class Point:
    """One measurement of a run.

    Attributes:
        minutes: training time since the first stage began.
        step: optimizer steps since then.
        psnr: held-out PSNR on Y in dB, by the name of the column (``psnr_q10``, ...).
    """

    minutes: float
    step: int
    psnr: dict[str, float]


def read_curve(stages: list[Path]) -> list[Point]:
    """The measurements of a run, its stages laid end to end.

    Args:
        stages: folders of the stages, in order.
    """
    points: list[Point] = []
    minutes, step = 0.0, 0
    for folder in stages:
        measured, end = _measurements(folder)
        points += [Point(minutes + p.minutes, step + p.step, p.psnr) for p in measured]
        minutes, step = minutes + end.minutes, step + end.step
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
    save(picture.getvalue(), file, overwrite=True)


def _measurements(folder: Path) -> tuple[list[Point], Point]:
    """What one stage measured, over all the runs that resumed each other, and where it ended."""
    found: list[Point] = []
    end = Point(0.0, 0, {})
    for log in sorted(folder.glob("log-*/metrics.csv")):
        # A run begins with the last checkpoint of the one before, whose further steps are lost.
        begin = int(log.parent.name.removeprefix("log-"))
        found = [point for point in found if point.step <= begin]
        known = end if end.step <= begin or not found else found[-1]
        minutes = known.minutes
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                if not row.get("step"):
                    continue  # the last line of a run that was killed
                minutes = float(row.get("minutes") or minutes)
                psnr = {k: float(v) for k, v in row.items() if k.startswith("psnr_q") and v}
                end = Point(minutes, int(row["step"]) + 1, psnr)
                if psnr:
                    found.append(end)
    return found, end
