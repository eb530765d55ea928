"""ICDAR2013's word crops as they are published: a folder of pictures and a file of labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eval_tasks.evaluators.icdar2013 import read_ground_truth
from eval_tasks.pictures.picture_files import digest, pixels

GROUND_TRUTH = "Challenge2_Test_Task3_GT.txt"
CROPS = "Challenge2_Test_Task3_Images"


@dataclass(frozen=True)
class Crop:
    """A word on disk, its label, its height in px, and a digest of its content."""

    file: str
    path: Path
    label: str
    height: int
    digest: str


def find_crops(folder: Path, every: int = 1, limit: int | None = None) -> list[Crop]:
    """The words of a folder that holds `GROUND_TRUTH` and `CROPS`, in the order of the labels.

    Args:
        folder: where to look.
        every: K, to take every K-th.
        limit: N, to take the first N of these; None takes all.

    Raises:
        ImageError: labels or a crop are missing or cannot be read.
    """
    labels = read_ground_truth(folder / GROUND_TRUTH)
    crops = []
    for file, label in list(labels.items())[::every][:limit]:
        path = folder / CROPS / file
        crops.append(Crop(file, path, label, len(pixels(path)), digest(path)))
    return crops
