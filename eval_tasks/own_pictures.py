"""Pictures of the user's own: a folder of any files, in any subfolders, as photographs are kept."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL.ImageOps import exif_transpose

from eval_tasks import arguments
from preproc.degrade import Pixels
from preproc.errors import ImageError
from preproc.opening import open_picture
from preproc.plan import picture_extensions


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a script's parser the options for what to take, and how to make it worse."""
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="pictures, in any subfolders")
    add("--every", type=arguments.count, default=1, metavar="K", help="take every K-th picture")
    add("--reduce", type=int, choices=(1, 2, 3, 4), default=4, help="reduction (default: 4)")
    add("--jpeg", type=arguments.quality, metavar="Q", help="save the reduced ones as JPEG")


def find_pictures(folder: Path, every: int = 1) -> dict[str, Path]:
    """Every so many-th picture of a folder, by its path below it without the ending.

    Raises:
        ImageError: there is no such folder, no picture in it, or two that would share a name.
    """
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder}; --images names one with pictures.")
    extensions = picture_extensions()
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in extensions)[::every]
    if not paths:
        raise ImageError(f"There are no pictures in {folder}.")
    images = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
    if len(images) < len(paths):
        twice = next(path for path in paths if path not in images.values())
        raise ImageError(
            f"{twice} has a namesake with another ending, so their results would have one name; "
            "rename or move one of them."
        )
    return images


def pixels(path: Path, *, upright: bool = True) -> Pixels:
    """A picture file as uint8 RGB (H, W, 3).

    Args:
        path: the file.
        upright: whether to turn it as its EXIF data says.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            picture = open_picture(file, str(path))
            return np.array((exif_transpose(picture) if upright else picture).convert("RGB"))
    except OSError as error:
        raise ImageError(f"Cannot read {path}: {error.strerror}.") from error
