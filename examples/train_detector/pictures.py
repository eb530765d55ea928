"""WIDER FACE's pictures: those trained on, those held out, and each as an arm shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from eval_tasks.pictures.parts import spread
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.wider_images import ground_truth_in, images_in
from eval_tasks.pictures.wider_truth import Truth, read_truth
from examples.train_detector.arms import REDUCTION, Arm
from preproc.errors import ImageError

SUBSET = "hard"
"""The benchmark's faces that are trained on and count: 9 px high or more."""

Target: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """A picture of the data set.

    Attributes:
        path: of its file.
        truth: all its faces, in px of the original.
    """

    path: Path
    truth: Truth


def samples_of(data: Path, limit: int | None) -> tuple[list[Sample], list[Sample]]:
    """The pictures to train on and those held out, of different events.

    Args:
        data: holds ``WIDER_val/images`` and, anywhere below it, the ground truth.
        limit: how many pictures to take of both parts together, spread over their events.

    Raises:
        ImageError: the pictures or the ground truth are missing, or are of too few events.
    """
    truth = read_truth(ground_truth_in(data))
    found = images_in(data, truth)
    events = [list(names) for _, names in groupby(found, lambda name: name.split("/")[0])]
    parts: tuple[list[Sample], list[Sample]] = [], []
    for number, names in enumerate(events):
        parts[number % 4 == 3].extend(Sample(found[name], truth[name]) for name in names)
    if limit is not None:
        held_out = max(1, limit // 4)
        parts = spread(parts[0], max(1, limit - held_out)), spread(parts[1], held_out)
    if not all(parts):
        raise ImageError(
            f"The pictures under {data} are of fewer than four events, and every fourth is held "
            "out; add some."
        )
    return parts


class Pictures(Dataset[list[tuple[Tensor, Target]]]):
    """Samples as an arm shows them, then as ``augment`` makes of that, ``times`` over."""

    def __init__(
        self, samples: Sequence[Sample], arm: Arm, augment: v2.Transform, times: int = 1
    ) -> None:
        """Keep what to load; nothing is read yet."""
        self._samples, self._arm, self._augment, self._times = samples, arm, augment, times

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> list[tuple[Tensor, Target]]:
        """Float pictures (3, H, W) in [0, 1], and their faces in ``boxes`` and ``labels``."""
        sample, reduction = self._samples[index], self._arm.degradation.reduction
        original = pixels(sample.path, upright=False, multiple=REDUCTION)
        picture = self._arm.degradation.apply(original)
        faces = sample.truth.boxes[sample.truth.counts[SUBSET]] / reduction
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(faces).float().reshape(-1, 4),
            format="XYWH",
            canvas_size=picture.shape[:2],
        )
        target = {"boxes": boxes, "labels": torch.ones(len(faces), dtype=torch.int64)}
        shown = self._arm.prepare(
            tv_tensors.Image(torch.from_numpy(picture).movedim(-1, 0)), target
        )
        return [self._augment(*shown) for _ in range(self._times)]
