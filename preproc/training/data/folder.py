"""The pictures of a folder, each decoded and reduced once, into a cache that every worker maps."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from preproc.batch.inputs import foreign_extensions, picture_extensions
from preproc.degrade import USUAL_KERNEL, bicubic_down, mod_crop, reduce
from preproc.errors import ImageError, PreprocWarning, RecipeError
from preproc.files import replacing
from preproc.paths import real
from preproc.pictures.images import decode
from preproc.pictures.opening import DAMAGE, open_picture
from preproc.pictures.rgb import visible_rgb
from preproc.samples import Pixels

Pair = tuple[Pixels, Pixels]
"""A whole picture: uint8 HR (scale*h, scale*w, 3) and its reduction (h, w, 3)."""

_log = logging.getLogger(__name__)

_UNREADABLE = (*DAMAGE, Image.DecompressionBombError)


class PictureWarning(PreprocWarning):
    """Files of a training set cannot be read and were left out."""


class Folder:
    """Every picture below a folder, upright, decoded and reduced once, then read from the cache.

    Files that cannot be read are left out with a `PictureWarning`: those whose headers show it at
    once, those cut short or damaged further on when they are first drawn. How many pictures there
    are, and how many were left out for what, is logged.

    Args:
        folder: searched recursively, linked folders too, for files whose names say that they are
            pictures.
        scale: HR px per LR px.
        shrink: the pictures are reduced by this first.
        smallest: pictures whose LR side is shorter, in px, are left out.
        cache: folder for the decoded pictures.
        kernel: of the reduction.

    Raises:
        RecipeError: the folder is missing or holds no picture.
    """

    def __init__(
        self,
        folder: Path,
        scale: int,
        shrink: int,
        smallest: int,
        cache: Path,
        kernel: str = USUAL_KERNEL,
    ) -> None:
        self._scale, self._shrink, self._cache, self._kernel = scale, shrink, cache, kernel
        extensions, foreign = picture_extensions(), foreign_extensions()
        left_out: Counter[str] = Counter()
        unreadable: dict[Path, Exception] = {}
        self._paths: list[Path] = []
        for path in sorted(_files_below(folder)):
            if path.suffix.lower() in foreign:
                left_out["of formats that cannot be opened"] += 1
            if path.suffix.lower() not in extensions:
                continue
            try:
                side = _shorter_side(path)
            except _UNREADABLE as error:
                unreadable[path] = error
                left_out["unreadable"] += 1
                continue
            if side // (scale * shrink) < smallest:
                left_out["too small"] += 1
            else:
                self._paths.append(path)
        _warn_of(unreadable)
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        _tell_once(f"{folder}: {len(self._paths)} pictures{'; ' if reasons else ''}{reasons}")
        if not self._paths:
            raise RecipeError(
                f"There is no picture of at least {smallest * scale * shrink} px below {folder}; "
                "check the source's path and --data."
            )

    def draw(self, rng: Generator) -> Pair:
        """One random picture; the arrays are mapped from disk, so cut before you compute.

        Raises:
            RecipeError: none can be read.
        """
        while True:
            index = int(rng.integers(len(self._paths)))
            try:
                return self.pair(index)
            except RecipeError as error:
                if len(self._paths) == 1:
                    raise
                _warn_of({self._paths.pop(index): error})

    def readable(self) -> Iterator[int]:
        """Indices of the readable pictures, each decoded before it is yielded.

        Others are left out with a warning.

        Raises:
            RecipeError: none can.
        """
        found = False
        for index, path in enumerate(self._paths):
            try:
                self.pair(index)
            except RecipeError as error:
                _warn_of({path: error})
            else:
                found = True
                yield index
        if not found:
            raise RecipeError(f"No picture of {self._paths[0].parent} can be read; replace them.")

    def pair(self, index: int) -> Pair:
        """The picture at an index and its reduction.

        Raises:
            RecipeError: it cannot be read.
        """
        path = self._paths[index]
        try:
            stat = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        made = f"{self._scale} {self._shrink} {self._kernel}"
        key = f"{path.resolve()} {stat.st_mtime_ns} {stat.st_size} {made}"
        stem = self._cache / hashlib.sha256(os.fsencode(key)).hexdigest()[:24]
        hr_file, lr_file = stem.with_suffix(".hr.npy"), stem.with_suffix(".lr.npy")

        def cached() -> Pair:
            return np.load(hr_file, mmap_mode="r"), np.load(lr_file, mmap_mode="r")

        with suppress(OSError, ValueError, EOFError):  # not there yet, or damaged
            return cached()
        hr = self._decode(path)
        _save(hr_file, hr)
        _save(lr_file, reduce(hr, self._scale, self._kernel))
        return cached()

    def _decode(self, path: Path) -> Pixels:
        try:
            with path.open("rb") as file:
                picture = visible_rgb(decode(open_picture(file).image))
        except (OSError, ImageError) as error:
            raise _unreadable(path, error) from error
        if self._shrink > 1:
            picture = bicubic_down(mod_crop(picture, self._shrink), self._shrink)
        return mod_crop(picture, self._scale)


def _unreadable(path: Path, error: Exception) -> RecipeError:
    return RecipeError(f"The picture {path} cannot be read ({error}); replace or delete it.")


def _files_below(folder: Path) -> Iterator[Path]:
    """All files, each folder's once, however many links lead to it or round."""
    seen: set[Path] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        if real(Path(root)) in seen:
            folders.clear()
            continue
        seen.add(real(Path(root)))
        yield from (Path(root, name) for name in files)


def _shorter_side(path: Path) -> int:
    """In px, as the header has it."""
    with Image.open(path) as file:
        return min(file.size)


@lru_cache
def _tell_once(line: str) -> None:
    """Log a line, once a process: several sources, and all stages, may share a folder."""
    _log.info(line)


def _warn_of(errors: Mapping[Path, Exception]) -> None:
    """Name the first three files that are left out, and what is wrong with the first.

    The same files are told once a process.
    """
    if errors:
        more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
        first = next(iter(errors.values()))
        warnings.warn(
            f"{len(errors)} picture(s) cannot be read and are left out: "
            f"{', '.join(map(str, [*errors][:3]))}{more} (the first: "
            f"{first.__cause__ or first}); replace or delete them.",
            PictureWarning,
            stacklevel=1,  # always this line: all sources of one folder warn of the same
        )


def _save(path: Path, array: Pixels) -> None:
    """Write whole or not at all: other workers map the file as soon as it has its name."""
    with replacing(path, same=True) as file:
        np.save(file, array)
