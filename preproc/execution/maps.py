"""Where the feature maps of a whole image lie: in the host's memory, or in files.

A map is a tensor either way. One in a file takes memory only for what is being worked on, as far as
the system wants it for something else.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from preproc.errors import OutputError

Shape: TypeAlias = tuple[int, int, int, int]
Room: TypeAlias = Callable[[Shape, torch.dtype], Tensor]
"""Makes a map of a shape (N, C, H, W) and a dtype, in channels_last, with any values."""


def in_memory(shape: Shape, dtype: torch.dtype) -> Tensor:
    """A map in the host's memory."""
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last, device="cpu")


@dataclass(frozen=True)
class InFiles:
    """Makes maps in files, which have no name and are gone when their map is.

    Attributes:
        folder: where the files are, which is to be on a disk and not itself in memory.
    """

    folder: Path

    def __call__(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        """A map in a file.

        Raises:
            OutputError: the folder cannot be written to, or its disk has no room for the map.
        """
        batch, channels, height, width = shape
        size = math.prod(shape) * dtype.itemsize
        try:
            # Whoever clears the disk may take an empty folder along.
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                _fill(file.fileno(), size)
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise OutputError(
                f"Cannot keep {size / 1e9:.1f} GB of feature maps in {self.folder} "
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
