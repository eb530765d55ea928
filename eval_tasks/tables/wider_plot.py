"""Precision over recall as a picture: easy, medium and hard side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from eval_tasks.evaluators.wider import Curve
from eval_tasks.pictures.wider_truth import SUBSETS
from preproc.extras import from_extra, importing
from preproc.files import write_bytes

_STYLES = ("-", "--", "-.", ":")


def plot_curves(path: Path, curves: Sequence[tuple[str, Mapping[str, Curve]]], title: str) -> None:
    """Draw the curves of all runs, a panel a subset, the runs named with their AP.

    Args:
        path: a picture file of any format Matplotlib writes; replaced if it is there.
        curves: name of a run, and its curve by subset.
        title: what is above all panels.

    Raises:
        MissingLibraryError: Matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    with importing("Drawing the curves", from_extra("eval")):
        from matplotlib.figure import Figure  # noqa: PLC0415 - only the picture needs it
    figure = Figure(figsize=(15, 5.2), layout="constrained")
    figure.suptitle(title)
    for axes, subset in zip(figure.subplots(1, len(SUBSETS)), SUBSETS, strict=True):
        faces = 0
        for number, (name, its) in enumerate(curves):
            curve = its[subset]
            faces = curve.faces
            known = curve.precision > 0  # nothing is said where nothing was found yet
            label = name if curve.ap is None else f"{name}: {curve.ap:.3f}"
            style = _STYLES[number // 10 % len(_STYLES)]
            axes.plot(curve.recall[known], curve.precision[known], style, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.set_title(f"{subset} ({faces:,} faces)")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", fontsize="small", title="AP")
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.removeprefix("."), dpi=110)
    write_bytes(path, picture.getvalue())
