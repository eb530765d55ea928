"""Files that are whole or not there: written under another name, and renamed at the end."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from typing import IO
from uuid import uuid4

from preproc.errors import DiskFullError, OutputError
from preproc.paths import real

DRAFTS = ".preproc-*.part"
"""Names of files that are being written."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def replacing(path: Path, *, overwrite: bool = True, same: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to under a temporary name, renamed to ``path`` when the block succeeds.

    If the block or the renaming fails, it is deleted.

    Args:
        path: where the file goes; missing folders are made, links are followed.
        overwrite: whether a file already there may be replaced, by one with its permissions.
        same: whether a file already there has the same content. It then stays if it cannot be
            replaced, as on Windows while another process reads it.

    Raises:
        DiskFullError: there is no room left.
        OutputError: the file exists, or cannot be written.
    """
    with _sentences(path):
        place = real(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(place.parent)
        try:
            with draft.open("xb+") as file:
                with suppress(OSError):  # there is none yet, or no permissions on such a disk
                    draft.chmod(S_IMODE(place.stat().st_mode))
                yield file
                file.flush()
                os.fsync(file.fileno())  # late errors of full or remote disks must come before
            if not overwrite and place.exists():
                raise OutputError(f"{path} exists already and was not replaced.")
            try:
                draft.replace(place)
            except PermissionError:
                if not (same and place.exists()):
                    raise
                draft.unlink()
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def write_bytes(path: Path, data: bytes, *, overwrite: bool = True) -> None:
    """Write a file, which appears whole or not at all; errors as `replacing`."""
    with replacing(path, overwrite=overwrite) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, which appears whole or not at all; errors as `replacing`."""
    write_bytes(path, text.encode())


def require_writable(folder: Path) -> None:
    """Make a folder, and make sure that files can be written there, before any work is done.

    Raises:
        OutputError: it cannot be made or written to.
    """
    with _sentences(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = _draft(folder)
        probe.touch(exist_ok=False)
        probe.unlink()


def _draft(folder: Path) -> Path:
    """A name for a hidden file; in the same folder, because renaming is atomic there."""
    return folder / DRAFTS.replace("*", uuid4().hex[:12])


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn the system's errors on writing ``path`` into sentences."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFullError(
                f"There is no room left on the disk to write {path}; free some space, then try "
                "again."
            ) from error
        cause = error.strerror or str(error)
        if isinstance(error, FileExistsError | NotADirectoryError):
            cause = "a file stands where a folder is needed"
        raise OutputError(f"Cannot write {path}: {cause}; check its folder.") from error
