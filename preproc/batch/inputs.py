"""Which pictures are meant by files, folders and globs, told by the names of the files."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from PIL import Image

from preproc.paths import real
from preproc.pictures import heif

_NOT_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
"""Formats Pillow recognises but cannot draw without another program or a plug-in."""

_FOREIGN = heif.EXTENSIONS | frozenset(
    {".eps", ".jxl", ".pdf", ".svg"}
    | {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
)
"""Extensions of pictures, the last row cameras' raw data, that Pillow cannot open by itself."""


@dataclass(frozen=True)
class Found:
    """An input.

    Attributes:
        path: where it is.
        relative: its path below the folder or glob that it was found through.
        named: whether it was named itself, too.
        foreign: whether it was only found, not named, and has an extension that Pillow cannot open.
    """

    path: Path
    relative: Path
    named: bool = False
    foreign: bool = False


def picture_extensions() -> frozenset[str]:
    """File name extensions, in lower case with their dot, taken for pictures in folders."""
    heif.plug_in()
    extensions = Image.registered_extensions().items()
    # Pillow opens several JPEGs in one file as JPEG, and finds out then.
    drawn = (Image.OPEN.keys() | {"MPO"}) - _NOT_PICTURES
    return frozenset(e for e, name in extensions if name in drawn)


def foreign_extensions() -> frozenset[str]:
    """Extensions of pictures that Pillow cannot open, as no plug-in is there to help."""
    return _FOREIGN - picture_extensions()


def find(paths: Iterable[str], out: Path, complain: Callable[[Path, str], None]) -> list[Found]:
    """The files that are meant, each once, however many paths lead to it.

    Args:
        paths: files, folders and globs.
        out: the output folder, which is left out of folders and globs that hold it.
        complain: called with a path that leads to no picture, and a sentence that says why.
    """
    # A link to a file is another file.
    first: dict[Path, Found] = {}
    for name in paths:
        try:
            for item in _found_at(name, out, complain):
                place = real(item.path.parent) / item.path.name
                known = first.setdefault(place, item)
                if item.named:
                    first[place] = replace(known, named=True, foreign=False)
        except OSError as error:  # its folder is closed to us, or the name is too long
            complain(Path(name), f"It cannot be read: {error.strerror}.")
    return list(first.values())


def _found_at(name: str, out: Path, complain: Callable[[Path, str], None]) -> Iterator[Found]:
    path = Path(name)
    if path.is_dir():
        hits = list(_walk(path, out, complain))
        if all(hit.foreign for hit in hits):
            complain(path, "The folder holds no picture files (hidden ones are not counted).")
        yield from hits
    elif path.is_file():
        yield Found(path, Path(path.name), named=True)
    elif path.exists():
        complain(path, "It is a pipe or device; save its content to a file first.")
    elif glob.has_magic(name):
        hits = list(_glob(name, out))
        if all(hit.foreign for hit in hits):
            complain(path, "No picture file matches this pattern.")
        yield from hits
    else:
        web = "; download it first" if name.startswith(("http://", "https://")) else ""
        complain(path, f"There is no such file or folder{web}.")


def _walk(folder: Path, out: Path, complain: Callable[[Path, str], None]) -> Iterator[Found]:
    def unreadable(error: OSError) -> None:
        complain(Path(error.filename), f"The folder cannot be read: {error.strerror}.")

    foreign, own = foreign_extensions(), real(out)
    extensions = picture_extensions() | foreign
    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and real(Path(root) / name) != own
        )
        for name in sorted(files):
            path = Path(root) / name
            if name.startswith(".") or path.suffix.lower() not in extensions:
                continue
            # A pipe would be waited for; a link that leads nowhere is read, and complained of.
            if path.is_file() or not path.exists():
                unopened = path.suffix.lower() in foreign
                yield Found(path, path.relative_to(folder), foreign=unopened)


def _glob(pattern: str, out: Path) -> Iterator[Found]:
    # The folders a glob starts from are those before the first wildcard.
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1]))
    foreign, own, start = foreign_extensions(), real(out), real(fixed)
    extensions = picture_extensions() | foreign
    around = own in (start, *start.parents)  # then inputs lie in it, too
    # The shortest first, since a link may lead round to what was found already.
    for path in sorted(set(_matches(pattern)), key=lambda hit: (len(hit.parts), hit)):
        inside = not around and own in real(path).parents
        if path.is_file() and path.suffix.lower() in extensions and not inside:
            unopened = path.suffix.lower() in foreign
            yield Found(path, path.relative_to(fixed), foreign=unopened)


def _matches(pattern: str) -> Iterator[Path]:
    """What a glob means; ``**`` goes into folders, but like a folder's walk not through links."""
    parts = Path(pattern).parts
    if "**" not in parts:
        # Path.glob leaves nothing hidden out, and takes no absolute pattern.
        yield from map(Path, glob.glob(pattern))  # noqa: PTH207
        return
    at = parts.index("**")
    below = os.path.join(*(parts[at + 1 :] or ("*",)))  # noqa: PTH118 - a pattern, no path
    for start in _matches(os.path.join(*parts[:at])) if at else [Path()]:  # noqa: PTH118
        for root, folders, _ in os.walk(start):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from _matches(os.path.join(glob.escape(root), below))  # noqa: PTH118
