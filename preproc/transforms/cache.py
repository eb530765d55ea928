"""Enhanced pictures on disk, so that a network sees a picture once and not once an epoch."""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import SupportsInt

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from preproc.errors import CacheWarning, DiskFullError, OptionError, OutputError, warn
from preproc.files import DRAFTS, replacing, require_writable
from preproc.paths import absolute_path

_LIMIT = 20 * 2**30
_STALE = 3600.0  # s; a file that is still being written then was left by a killed process
# The folder's size is counted again once a 16th of the free room has been written, or after 1 s or
# 20 times as long as counting takes, whichever is longer.
_SHARE, _SOONEST, _PAUSE = 16, 1.0, 20


class PictureCache:
    """Samples by key, in a folder that any number of processes may share.

    Every entry is a safetensors file with a checksum; it appears whole or not at all, and one that
    was damaged later is taken for absent. Files are not compressed: an enhanced x4 picture takes 16
    times the bytes of its samples, so 1 MP of RGB takes 48 MB.

    A full cache keeps its entries and takes only what still fits: epochs ask for the same pictures
    in turn, so that the oldest entry is the one needed next. Entries of other models or options
    stay until the folder is deleted, which is always safe.

    One that cannot be written to, as on a read-only disk, serves what it has, and says so once.

    Attributes:
        folder: where the entries lie.
        limit: bytes that the folder may hold. Other processes' entries are counted only now and
            then, so that several writing at the same time may exceed it by a few entries.
    """

    def __init__(self, folder: str | Path, *, limit: int = _LIMIT) -> None:
        """Open a folder as a cache; it is made where it is missing.

        Args:
            folder: for this cache alone, since all files in it count.
            limit: bytes, 20 GiB by default.

        Raises:
            OptionError: the folder has no name, or the limit is not a number above 0.
            OutputError: the folder cannot be made, or written to while it has no entries.
        """
        if folder == "":
            raise OptionError(
                "The cache's folder has no name, and the working folder would be filled; give one "
                "for the cache alone."
            )
        if not isinstance(limit, SupportsInt) or not limit > 0:
            raise OptionError(f"A cache's limit must be in bytes and above 0, but is {limit!r}.")
        self.folder, self.limit = absolute_path(folder), limit
        self._said_full, self._budget = False, _Budget(self.folder, limit)
        self._writable = self._is_writable()

    def get(self, key: str) -> Tensor | None:
        """The entry of a key on the CPU, in memory of its own; None where there is none."""
        path = self._path(key)
        try:
            with safe_open(path, "pt") as file:
                # What is mapped from the file would go when the file does.
                samples: Tensor = file.get_tensor("samples").clone()
                whole = (file.metadata() or {}).get("crc32") == _checksum(samples)
        except (FileNotFoundError, PermissionError):  # denied on Windows while it is being replaced
            return None
        except (SafetensorError, OSError):
            whole = False
        if whole:
            return samples
        warn(
            f"The cache's entry {path} is damaged and is made anew; check the disk if this comes "
            "again.",
            CacheWarning,
        )
        return None

    def put(self, key: str, samples: Tensor) -> None:
        """Keep an entry, in place of one of the same key; do nothing where none can be added.

        Args:
            key: from `key_of`.
            samples: of any shape and of a dtype that NumPy has, on any device.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._writable:
            return
        samples = samples.detach().cpu().contiguous()
        data = safetensors.torch.save({"samples": samples}, {"crc32": _checksum(samples)})
        if not self._has_room(len(data)):
            return
        try:
            with replacing(self._path(key), same=True) as file:
                file.write(data)
        except DiskFullError as error:
            raise OutputError(
                f"There is no room left on the disk for the cache {self.folder}; delete it, or "
                "give it a lower limit."
            ) from error
        self._budget.left -= len(data)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _is_writable(self) -> bool:
        try:
            require_writable(self.folder)
        except DiskFullError:
            raise
        except OutputError as error:
            if not any(self.folder.glob("*.safetensors")):
                raise
            warn(
                f"The cache {self.folder} is only read: pictures it lacks are enhanced each time. "
                f"{error}",
                CacheWarning,
            )
            return False
        return True

    def _has_room(self, size: int) -> bool:
        if size > self.limit:
            warn(
                f"A result of {size:,} bytes is larger than the whole cache {self.folder} may be "
                f"({self.limit:,}); it is made each time. Raise the cache's limit.",
                CacheWarning,
            )
            return False
        if self._budget.holds(size):
            return True
        if not self._said_full:
            self._said_full = True
            warn(
                f"The cache {self.folder} is full ({self.limit - self._budget.left:,} of "
                f"{self.limit:,} bytes): pictures it lacks are enhanced each time. Raise its "
                "limit, or delete the folder if it holds what other models or options left.",
                CacheWarning,
            )
        return False


def key_of(samples: Tensor, maker: str) -> str:
    """The key of what ``maker`` makes of a picture: 64 hexadecimal digits.

    Args:
        samples: the picture before, on the CPU; shape, dtype and content count.
        maker: says all that the result depends on besides.
    """
    digest = hashlib.sha256(f"{maker}\n{samples.dtype} {tuple(samples.shape)}\n".encode())
    digest.update(samples.contiguous().numpy().data)
    return digest.hexdigest()


def _checksum(samples: Tensor) -> str:
    return f"{zlib.crc32(samples.numpy().data):08x}"


class _Budget:
    """How much more a folder may hold, which others may fill as well.

    Counting looks at every file, so it is done now and then, and before room is first denied.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.left = 0  # bytes; negative where there are too many
        self._least = 1  # recount when less than this is left
        self._until = 0.0  # recount after this time (monotonic clock)
        self._denied = False  # room was just refused: trust the last count until too old

    def holds(self, size: int) -> bool:
        """Whether so many bytes may come."""
        near = self.left - size < self._least and not self._denied
        if near or time.monotonic() > self._until:
            self._count()
        self._denied = size > self.left
        return not self._denied

    def _count(self) -> None:
        began = time.monotonic()
        self.left = self.limit - _used(self.folder)
        self._least = self.left - self.left // _SHARE
        now = time.monotonic()
        self._until = now + max(_SOONEST, _PAUSE * (now - began))


def _used(folder: Path) -> int:
    """Bytes in a folder, once what killed writers left in it is gone."""
    used = 0
    # Where the folder was deleted, which is always safe, nothing is in it.
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except FileNotFoundError:  # another process finished it or swept it away
                continue
            if fnmatch(entry.name, DRAFTS) and time.time() - status.st_mtime > _STALE:
                with suppress(PermissionError):  # on Windows, while it is still being written
                    Path(entry).unlink(missing_ok=True)
            else:
                used += status.st_size
    return used
