"""Pictures that training patches are cut from, with their reduced versions.

Each picture is decoded and reduced once, into a cache on disk that every worker maps.
"""

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
from preproc.files import real, replacing
from preproc.pictures.images import decode
from preproc.pictures.opening import DAMAGE, open_picture
from preproc.pictures.rgb import visible_rgb
from preproc.samples import Pixels
from preproc.training.recipe import Source, Stage
from preproc.training.text import text_picture

Pair = tuple[Pixels, Pixels]
"""A whole picture: uint8 HR (scale*h, scale*w, 3) and its reduction (h, w, 3)."""

_log = logging.getLogger(__name__)

_UNREADABLE = (*DAMAGE, Image.DecompressionBombError)
_TEXT_SIDE = 384  # HR px, or a larger patch's; several lines of text, and cheap to render


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
        stem = self._cache / hashlib.sha256(key.encode()).hexdigest()[:24]
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


class Text:
    """Rendered text, each picture used ``reuse`` times before the next is drawn.

    Args:
        scale: HR px per LR px.
        reuse: draws from one picture.
        ground: photographs to write on, or None for plain grounds.
        kernel: of the reduction.
        smallest: side that LR pictures must have at least, in px.
    """

    def __init__(
        self,
        scale: int,
        reuse: int,
        ground: Folder | None,
        kernel: str = USUAL_KERNEL,
        smallest: int = 1,
    ) -> None:
        self._scale, self._reuse, self._photos, self._kernel = scale, reuse, ground, kernel
        self._side = max(_TEXT_SIDE, scale * smallest)
        self._left = 0
        self._pair: Pair | None = None

    def draw(self, rng: Generator) -> Pair:
        """The current picture, or a new one when it has been used up."""
        if self._pair is None or self._left == 0:
            ground = self._photo if self._photos else None
            hr = mod_crop(text_picture(rng, self._side, ground), self._scale)
            self._pair, self._left = (hr, reduce(hr, self._scale, self._kernel)), self._reuse
        self._left -= 1
        return self._pair

    def _photo(self, rng: Generator, size: int) -> Pixels:
        assert self._photos is not None
        hr, _ = self._photos.draw(rng)
        picture = hr
        while min(picture.shape[:2]) < size:
            picture = np.concatenate((picture, picture[::-1]))
            picture = np.concatenate((picture, picture[:, ::-1]), axis=1)
        y, x = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
        return np.array(picture[y : y + size, x : x + size])


def make_sources(stage: Stage, data: Path, cache: Path) -> list[Folder | Text]:
    """The sources of a recipe.

    Raises:
        RecipeError: there is none, or one has no picture.
    """
    if not stage.data.source or not any(s.weight for s in stage.data.source):
        raise RecipeError(f"{stage.name}: a recipe needs at least one [[data.source]].")
    cache.mkdir(parents=True, exist_ok=True)

    scale, patch = stage.scale, stage.data.patch

    def folder(s: Source, kernel: str = USUAL_KERNEL) -> Folder:
        return Folder(data / s.path, scale, s.shrink, patch, cache, kernel)

    return [
        folder(s, s.kernel)
        if s.kind == "folder"
        else Text(scale, stage.data.reuse, folder(s) if s.path else None, s.kernel, patch)
        for s in stage.data.source
    ]


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
