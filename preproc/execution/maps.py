"""Where the feature maps of a whole image lie: in the host's memory, or in files.

Either way a map is a tensor. One in a file is memory-mapped, so the system can write parts of it to
the disk and use their memory for something else.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from preproc.errors import OutputError

MakeMap: TypeAlias = Callable[[Sequence[int], torch.dtype], Tensor]
"""Makes a map of a shape (N, C, H, W) and a dtype, in channels_last, with any values."""


def in_memory(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A map in the host's memory."""
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last, device="cpu")


def in_files(folder: Path, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A map in an unnamed temporary file, which is deleted together with the map.

    Args:
        folder: where the file is, on a disk (a tmpfs would be memory, too).
        shape: (N, C, H, W).
        dtype: of the map.

    Raises:
        OutputError: the folder cannot be written to, or its disk has no room for the map.
    """
    batch, channels, height, width = shape
    size = math.prod(shape) * dtype.itemsize
    try:
        # Whoever clears the disk may take an empty folder along.
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            _fill(file.fileno(), size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise OutputError(
            f"Cannot keep {size / 1e9:.1f} GB of feature maps in {folder} "
            f"({error.strerror or error}); choose another folder."
        ) from error
    flat = torch.frombuffer(mapped, dtype=dtype)
    return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _fill(file: int, size: int) -> None:
    """Give a file its size and its place on the disk.

    A file that only says how large it is would end the process by a signal when it is written to
    and the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        zeros = bytes(2**20)
        while size > 0:
            size -= os.write(file, zeros[:size])  # of which it may take a part
