"""Picture files: as arrays, and told apart by their content."""

from __future__ import annotations

from pathlib import Path

from preproc.degrade import mod_crop
from preproc.errors import ImageError
from preproc.manifest import sha256_of
from preproc.pictures.images import decode
from preproc.pictures.opening import open_picture
from preproc.pictures.rgb import visible_rgb
from preproc.samples import Pixels


def pixels(path: Path, *, upright: bool = True, multiple: int = 1) -> Pixels:
    """A picture file as uint8 RGB (H, W, 3).

    Args:
        path: the file.
        upright: whether to turn it as its EXIF data says.
        multiple: both sides are cut to a multiple of this, at the bottom and right, so that
            reduction is exact.

    Raises:
        ImageError: it cannot be read, or is too small; the file is named.
    """
    try:
        with path.open("rb") as file:
            picture = open_picture(file, str(path)).image
    except OSError as error:
        raise ImageError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        return mod_crop(visible_rgb(decode(picture, upright=upright)), multiple)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def digest(path: Path) -> str:
    """Ten digits that tell a file's content from any other.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        return sha256_of(path)[:10]
    except OSError as error:
        raise ImageError(f"Cannot read {path}: {error.strerror}.") from error
