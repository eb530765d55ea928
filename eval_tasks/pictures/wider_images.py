"""The images of WIDER FACE val: where they are, and which are evaluated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from eval_tasks.pictures.parts import spread
from eval_tasks.pictures.wider_truth import FACES_FILE
from preproc.errors import ImageError


def ground_truth_in(data: Path) -> Path:
    """The folder somewhere below another that holds the benchmark's labels.

    Raises:
        ImageError: there is none.
    """
    found = sorted(data.rglob(FACES_FILE))
    if not found:
        raise ImageError(
            f"There is no {FACES_FILE} under {data}; put the benchmark's eval_tools/ground_truth, "
            "which holds it, there."
        )
    return found[0].parent


def images_in(data: Path, names: Iterable[str]) -> dict[str, Path]:
    """The files that are there, by the names ``event/image`` of the ground truth.

    Raises:
        ImageError: there is none.
    """
    folder = data / "WIDER_val" / "images"
    paths = {name: folder / f"{name}.jpg" for name in names}
    found = {name: path for name, path in paths.items() if path.is_file()}
    if not found:
        raise ImageError(
            f"There are no images of WIDER FACE val in {folder}; --data is the folder above "
            "WIDER_val."
        )
    return found


def chosen(
    labelled: Iterable[str], there: Iterable[str], every: int, limit: int | None
) -> list[str]:
    """The images that are evaluated.

    Args:
        labelled: names of all in the ground truth.
        there: names of those that can be evaluated, in the order of the result.
        every: one in so many of each event counts, in the order of their names and not in that of
            the ground truth.
        limit: at most so many of these, spread over all; None for all.

    Raises:
        ImageError: that takes none.
    """
    events: dict[str, list[str]] = {}
    for name in sorted(labelled):
        events.setdefault(name.partition("/")[0], []).append(name)
    wanted = {name for event in events.values() for name in event[::every]}
    names = [name for name in there if name in wanted]
    if not names:
        raise ImageError(f"--every {every} takes none of the images that are there; lower it.")
    return spread(names, limit)
