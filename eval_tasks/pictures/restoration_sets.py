"""The sets that restoration is measured on: where they are, and their pictures degraded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from eval_tasks.pictures.picture_files import pixels
from preproc.batch.inputs import picture_extensions
from preproc.degrade import bicubic_down, jpeg
from preproc.errors import ImageError
from preproc.samples import Pixels

CHOOSING_SET = "Kodak24"
"""The set that chooses between weights; the others are only measured."""

SET_SIZES = {
    "Kodak24": 24,
    "Set5": 5,
    "Set14": 14,
    "BSD100": 100,
    "Urban100": 100,
    "Manga109": 109,
}
"""How many images each published set has.

Figures for a part of a set must not stand beside figures for the whole.
"""

_HOMES = {CHOOSING_SET: "sr_val", "Set5": "sr_test", "Set14": "sr_test", "BSD100": "sr_test"}


class Pair(NamedTuple):
    """What is restored, and what it should become, uint8 RGB, ``scale`` times as large."""

    name: str
    degraded: Pixels
    reference: Pixels


def shipping_sets(data: Path) -> dict[str, list[Path]]:
    """The images of the sets that shipped weights are measured on, by the set's name.

    Args:
        data: holds ``sr_val/Kodak24`` and ``sr_test/Set5``, ``Set14`` and ``BSD100``.

    Raises:
        ImageError: a set is missing, empty or not whole, so that what is measured could not stand
            beside what was measured on all of it.
    """
    sets = {name: images_in(data / home / name) for name, home in _HOMES.items()}
    for name, paths in sets.items():
        if len(paths) != SET_SIZES[name]:
            raise ImageError(
                f"{name} has {SET_SIZES[name]} images, but {data / _HOMES[name] / name} holds "
                f"{len(paths)}; figures are only compared over the whole set, so give just that."
            )
    return sets


def images_in(folder: Path) -> list[Path]:
    """The images right below a folder, by name.

    Raises:
        ImageError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder}, which is to hold pictures.")
    known = picture_extensions()
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in known and p.is_file())
    if not paths:
        raise ImageError(f"There are no images in {folder}.")
    return paths


def pair(path: Path, scale: int, quality: int) -> Pair:
    """A file's picture, reduced and saved as JPEG, and as it is; named by the file's path.

    Raises:
        ImageError: it cannot be read, or is too small to be reduced.
    """
    reference = pixels(path, multiple=scale)
    return Pair(str(path), jpeg(bicubic_down(reference, scale), quality), reference)
