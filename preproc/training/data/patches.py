"""Training pairs: an HR patch and the LR patch it became, drawn without end.

The patch is cut from a picture of `preproc.training.data.sources`, degraded and turned. JPEG sees
a margin whose corner is a multiple of 16 px of the whole LR picture, and the patch is cut from its
middle at any offset, so that every phase of the 8-px grid occurs as it does in a real file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from preproc.degrade import MCU, jpeg
from preproc.errors import PreprocError
from preproc.samples import Pixels
from preproc.training.data.degradation import Degradation
from preproc.training.data.folder import Folder
from preproc.training.data.sources import make_sources
from preproc.training.recipe import Data, Stage


def cut_patch(
    hr: Pixels, lr: Pixels, patch: int, degradation: Degradation, rng: Generator
) -> tuple[Pixels, Pixels, Pixels]:
    """Cut a random patch and degrade it as part of its picture.

    Args:
        hr: uint8 (scale*h, scale*w, 3).
        lr: uint8 (h, w, 3), at least ``patch`` px each way.
        patch: side of the LR patch in px.
        degradation: of the LR picture.
        rng: the source of all randomness.

    Returns:
        Degraded LR and clean LR (patch, patch, 3), and HR (scale*patch, scale*patch, 3), turned
        alike by one of the 8 symmetries of the square.
    """
    scale = len(hr) // len(lr)
    y, x = (int(rng.integers(side - patch + 1)) for side in lr.shape[:2])
    # One whole MCU to spare on each side: decoders smooth chroma across MCU borders.
    top, left = (max(0, (at // MCU - 1) * MCU) for at in (y, x))
    bottom, right = ((math.ceil((at + patch) / MCU) + 1) * MCU for at in (y, x))
    margin = degradation.apply(np.ascontiguousarray(lr[top:bottom, left:right]), rng)
    degraded = margin[y - top : y - top + patch, x - left : x - left + patch]
    clean = lr[y : y + patch, x : x + patch]
    sharp = hr[scale * y : scale * (y + patch), scale * x : scale * (x + patch)]
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

    def turned(pixels: Pixels) -> Pixels:
        return np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)

    return turned(degraded), turned(clean), turned(sharp)


class Patches(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """An endless stream of (degraded LR, clean LR, HR) uint8 tensors, each (3, side, side).

    Workers, devices and resumed runs draw from streams of their own.

    Args:
        stage: the recipe.
        data: folder that the sources' paths are relative to.
        cache: folder for decoded pictures.
        start: where the run resumes, in steps; another start is another stream.
        rank: number of the process among the devices.
    """

    def __init__(
        self, stage: Stage, data: Path, cache: Path, start: int = 0, rank: int = 0
    ) -> None:
        super().__init__()
        self._stage, self._start, self._rank = stage, start, rank
        self._sources = make_sources(stage, data, cache)
        weights = np.array([s.weight for s in stage.data.source], float)
        self._chances = weights / weights.sum()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        info = get_worker_info()
        worker = info.id if info else 0
        stage = self._stage
        name = crc32(stage.name.encode())  # else all stages would begin with the same patches
        rng = np.random.default_rng((stage.seed, name, self._start, self._rank, worker))
        while True:
            source = self._sources[int(rng.choice(len(self._sources), p=self._chances))]
            hr, lr = source.draw(rng)
            cut = cut_patch(hr, lr, stage.data.patch, stage.degrade, rng)
            degraded, clean, sharp = (_tensor(pixels) for pixels in cut)
            yield degraded, clean, sharp


class ValidationSet(Dataset[tuple[Tensor, Tensor, int]]):
    """Whole pictures at given JPEG qualities: uint8 LR (3, h, w), HR (3, s*h, s*w) and the quality.

    Args:
        stage: the recipe, with its table ``validation``.
        data: folder that its path is relative to.
        cache: folder for decoded pictures.
    """

    def __init__(self, stage: Stage, data: Path, cache: Path) -> None:
        super().__init__()
        wanted = stage.validation
        self._pictures = Folder(data / wanted.path, stage.scale, 1, 1, cache)
        # Decode now, so that a damaged picture shows before training, not an hour in.
        cache.mkdir(parents=True, exist_ok=True)
        readable = list(islice(self._pictures.readable(), wanted.limit or None))
        self._items = [(i, q) for q in wanted.quality for i in readable]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor, int]:
        """One picture at one quality."""
        index, quality = self._items[at]
        hr, lr = self._pictures.pair(index)
        return _tensor(jpeg(np.array(lr), quality)), _tensor(np.array(hr)), quality


def make_loader(patches: Patches, data: Data) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
    """Batches of patches, pinned for the GPU when there is one."""
    return DataLoader(
        patches,
        batch_size=data.batch,
        num_workers=data.workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=data.workers > 0,
        prefetch_factor=4 if data.workers else None,
    )


@contextmanager
def sentences_of_workers() -> Iterator[None]:
    """Take errors of loading workers out of the tracebacks that torch wraps them in."""
    try:
        yield
    except PreprocError as error:
        kind = type(error)
        _, wrapped, sentence = str(error).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")
        if not wrapped:
            raise
        raise kind(sentence.strip()) from error


def _tensor(pixels: Pixels) -> Tensor:
    # A copy always: a turned patch of one px counts as contiguous with its strides below zero.
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
