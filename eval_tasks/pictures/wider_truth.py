"""WIDER FACE's ground truth: the labelled faces of each image, from the benchmark's .mat files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preproc.errors import ImageError
from preproc.extras import importing

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Cells: TypeAlias = NDArray[Any]
"""What scipy makes of a .mat file's cells: an array of objects, (N, 1)."""

SUBSETS = ("easy", "medium", "hard")
"""The benchmark's settings; each counts the faces of the one before, and smaller ones too."""

FACES_FILE = "wider_face_val.mat"
"""The .mat file that lists all faces; beside it lies one for each subset."""


@dataclass(frozen=True)
class Truth:
    """The labelled faces of an image.

    Attributes:
        boxes: (G, 4) x, y, width, height in px.
        counts: for each subset, (G,) whether a face counts; the others are to be ignored.
    """

    boxes: Floats
    counts: Mapping[str, Flags]


def read_truth(folder: Path) -> dict[str, Truth]:
    """Read the official ground truth.

    Args:
        folder: holds ``wider_face_val.mat`` and ``wider_{easy,medium,hard}_val.mat``.

    Returns:
        The faces by image, as ``event/image`` without the file name's ending, in official order.

    Raises:
        ImageError: a file is missing, damaged, or the files do not belong together.
        MissingLibraryError: scipy, which reads .mat files, is not installed.
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
