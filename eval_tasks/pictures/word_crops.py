"""ICDAR2013's word crops as they are published: a folder of pictures and a file of labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.pictures.picture_files import digest, pixels
from preproc.errors import ImageError

GROUND_TRUTH = "Challenge2_Test_Task3_GT.txt"
CROPS = "Challenge2_Test_Task3_Images"

_LINE = re.compile(r'\s*(?P<file>[^,"]+?)\s*,\s*"(?P<text>(?:[^"\\]|\\.)*)"\s*')
_ESCAPED = re.compile(r"\\(.)")


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


def read_ground_truth(path: Path) -> dict[str, str]:
    r"""Read a file of lines such as ``word_1.png, "Tiredness"``.

    A byte order mark and blank lines are skipped; texts may hold commas, and quotes and backslashes
    that a backslash escapes.

    Raises:
        ImageError: the file cannot be read, holds no words, names a crop twice, or has a line of
            another form.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"Cannot read the ground truth {path}: {error}.") from error
    words: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ImageError(
                f'{path}, line {number}, is not of the form word_1.png, "text": {line.strip()!r}.'
            )
        if match["file"] in words:
            raise ImageError(f"{path}, line {number}, names {match['file']} a second time.")
        words[match["file"]] = _ESCAPED.sub(r"\1", match["text"])
    if not words:
        raise ImageError(f"{path} holds no words.")
    return words
