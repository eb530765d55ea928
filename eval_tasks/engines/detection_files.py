"""Detections in WIDER FACE's text format, a file for each image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eval_tasks.pictures.wider_truth import Floats
from preproc.errors import ImageError
from preproc.files import write_bytes


def detections_path(folder: Path, name: str) -> Path:
    """Where the detections of an image ``event/image`` lie."""
    return folder / f"{name}.txt"


def read_detections(folder: Path, names: Iterable[str]) -> dict[str, Floats]:
    """Read the detections of images, ``event/image``; those without a file are left out.

    Raises:
        ImageError: there is no such folder, or none of the files, or one is damaged.
    """
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder} with detections.")
    paths = {name: detections_path(folder, name) for name in names}
    found = {name: read_file(path) for name, path in paths.items() if path.is_file()}
    if paths and not found:
        raise ImageError(
            f"{folder} holds no detections of these {len(paths)} images; they would be files such "
            f"as {next(iter(paths.values()))}."
        )
    return found


def read_file(path: Path) -> Floats:
    """Detections of one image, (N, 5) x, y, width, height, score.

    Line 1 is the image's name, line 2 how many there are, then each is a line.

    Raises:
        ImageError: it is damaged.
    """
    # Not splitlines, for which a line also ends at signs that names may hold.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[1:]
    rows = [line.split() for line in lines if line.strip()]
    try:
        (count,), *values = rows
        detections = np.array(values, np.float64).reshape(-1, 5)
        if len(detections) != int(count):
            raise ValueError(f"{count} detections are announced, but {len(detections)} follow")
    except ValueError as error:
        raise ImageError(
            f"{path} is not in WIDER FACE's format (name, number of faces, then x y width height "
            f"score of each, on a line each): {error}."
        ) from error
    return detections


def write_file(path: Path, image: str, detections: Floats) -> None:
    """Write detections of the file ``image``, (N, 5), with their fractions; whole or not at all.

    Its name is written as it is on disk, in UTF-8 or not; line breaks in it become spaces.

    Raises:
        OutputError: it cannot be written.
    """
    rows = (" ".join([*(f"{side:.3f}" for side in row[:4]), f"{row[4]:.9g}"]) for row in detections)
    name = image.replace("\r", " ").replace("\n", " ")
    text = "\n".join([name, str(len(detections)), *rows, ""])
    write_bytes(path, text.encode(errors="surrogateescape"))
