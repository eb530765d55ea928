"""WIDER FACE's files: ground truth from its .mat files, detections in its text format."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval_tasks.evaluators.wider import SUBSETS, Flags, Floats, Truth
from preproc.errors import ImageError
from preproc.extras import importing
from preproc.files import replacing

Cells: TypeAlias = NDArray[Any]
"""What scipy makes of a .mat file's cells: an array of objects, (N, 1)."""

FACES_FILE = "wider_face_val.mat"
"""The .mat file that lists all faces; beside it lies one for each subset."""


def read_truth(folder: Path) -> dict[str, Truth]:
    """Read the official ground truth.

    Args:
        folder: holds ``wider_face_val.mat`` and ``wider_{easy,medium,hard}_val.mat``.

    Returns:
        The faces by image, as ``event/image`` without the file name's ending, in official order.

    Raises:
        ImageError: a file is missing, damaged, or the files do not belong together.
        PreprocError: scipy, which reads .mat files, is not installed.
    """
    events, files, faces = _lists(folder / FACES_FILE, "event_list", "file_list", "face_bbx_list")
    subsets = {name: _lists(folder / f"wider_{name}_val.mat", "gt_list")[0] for name in SUBSETS}
    try:
        return _truth(events, files, faces, subsets)
    except ImageError:
        raise
    except (IndexError, TypeError, ValueError) as error:
        raise ImageError(
            f"The .mat files in {folder} do not belong together: they list other events or images "
            "than each other, or other things than faces. Copy all of them from the benchmark's "
            "eval_tools/ground_truth."
        ) from error


def _truth(
    events: Cells, files: Cells, faces: Cells, subsets: Mapping[str, Cells]
) -> dict[str, Truth]:
    truth = {}
    for e, event in enumerate(events[:, 0]):
        for i, image in enumerate(files[e, 0][:, 0]):
            boxes = np.asarray(faces[e, 0][i, 0], np.float64)
            boxes = boxes.reshape(len(boxes) if boxes.size else 0, 4)
            name = f"{event[0]}/{image[0]}"
            counts = {
                subset: _flags(lists[e, 0][i, 0], len(boxes), f"{name} ({subset})")
                for subset, lists in subsets.items()
            }
            truth[name] = Truth(boxes, counts)
    return truth


def _lists(path: Path, *names: str) -> list[Cells]:
    """Variables of a .mat file."""
    with importing("Reading .mat files", "pip install scipy"):
        from scipy.io import loadmat  # noqa: PLC0415 - only the ground truth needs it
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(
            f"There is no {path}; the benchmark's eval_tools/ground_truth folder holds it."
        ) from error
    except OSError as error:
        raise ImageError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        variables = loadmat(io.BytesIO(content))
        return [variables[name] for name in names]
    except KeyError as error:
        raise ImageError(
            f"{path} is not a ground truth of WIDER FACE: it holds no {error}. Copy it from the "
            "benchmark's eval_tools/ground_truth."
        ) from error
    except Exception as error:  # whatever scipy raises on other bytes, or half a file
        raise ImageError(
            f"{path} is truncated or damaged ({str(error).rstrip('.')}); copy it from the "
            "benchmark's eval_tools/ground_truth."
        ) from error


def _flags(numbers: ArrayLike, size: int, what: str) -> Flags:
    """Which of ``size`` faces are named by numbers that count from 1."""
    chosen = np.asarray(numbers, np.int64).ravel() - 1
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < size:
        raise ImageError(f"The ground truth of {what} names faces that do not exist.")
    flags = np.zeros(size, bool)
    flags[chosen] = True
    return flags


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
    with replacing(path) as file:
        file.write(text.encode(errors="surrogateescape"))
