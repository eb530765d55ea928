"""The curve of a run: loss and held-out PSNR against minutes of training."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


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
        for at, steps, psnr in _measurements(folder):
            points.append(Point(minutes + at, step + steps, psnr))
        if points:
            minutes, step = points[-1].minutes, points[-1].step
    return points


def write_curve(points: list[Point], file: Path, title: str) -> None:
    """Draw the curve as a PNG."""
    import matplotlib  # noqa: PLC0415 - slow to import, needed here only

    matplotlib.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6, 3.2), dpi=110, layout="constrained")
    for name in sorted({n for p in points for n in p.psnr}):
        known = [(p.minutes, p.psnr[name]) for p in points if name in p.psnr]
        axes.plot(*zip(*known, strict=True), marker="o", ms=3, label=name.replace("psnr_q", "QF "))
    axes.set(xlabel="minutes of training", ylabel="PSNR-Y, dB (held out)", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file)
    plt.close(figure)


def _measurements(folder: Path) -> list[tuple[float, int, dict[str, float]]]:
    """Minutes, steps and PSNRs of one stage, over all the runs that resumed each other."""
    found = []
    minutes = 0.0
    for log in sorted(folder.glob("log-*/metrics.csv")):
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                minutes = float(row.get("minutes") or minutes)
                psnr = {k: float(v) for k, v in row.items() if k.startswith("psnr_q") and v}
                if psnr:
                    found.append((minutes, int(row["step"]) + 1, psnr))
    return found
