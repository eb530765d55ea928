"""What the detector is shown: the arms of the trial, and the crops it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torchvision.transforms import v2

from eval_tasks.pictures.degradations import Degradation
from preproc import EnhanceTransform

REDUCTION = 4
"""Original px per px of the reduced picture; the arms enlarge by the same."""

MIN_FACE = 8
"""Faces with a shorter side in original px are left out of training, mostly those cut by crops."""


class ArmName(StrEnum):
    """What is done to a picture before the detector sees it."""

    REDUCED = "reduced"
    BICUBIC = "bicubic"
    ENHANCED = "enhanced"
    ORIGINAL = "original"


@dataclass(frozen=True)
class Arm:
    """A way to show pictures to the detector.

    Attributes:
        name: for tables.
        prepare: what is done before pictures are cut and flipped at random.
        degradation: what befalls originals first.
        scale: px shown per px of the reduced picture.
    """

    name: ArmName
    prepare: v2.Transform
    degradation: Degradation
    scale: int = REDUCTION


class Enlarge(v2.Transform):  # type: ignore[misc]  # torchvision is not typed
    """Enlarges pictures by bicubic interpolation, and boxes with them."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The size of the result; called by torchvision."""
        return {"size": [REDUCTION * side for side in v2.query_size(flat_inputs)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401
        """Enlarge a part of a sample; called by torchvision."""
        mode = v2.InterpolationMode.BICUBIC
        return v2.functional.resize(inpt, interpolation=mode, **params)


def arms_of(
    names: Sequence[ArmName], quality: int | None, enhance: EnhanceTransform | None
) -> list[Arm]:
    """The arms of these names; ``enhance`` is what the enhanced one does."""
    reduced, whole = Degradation(REDUCTION, quality), Degradation()
    arms = {
        ArmName.REDUCED: Arm(ArmName.REDUCED, v2.Identity(), reduced, scale=1),
        ArmName.BICUBIC: Arm(ArmName.BICUBIC, Enlarge(), reduced),
        ArmName.ENHANCED: Arm(ArmName.ENHANCED, enhance, reduced),
        ArmName.ORIGINAL: Arm(ArmName.ORIGINAL, v2.Identity(), whole),
    }
    return [arms[name] for name in dict.fromkeys(names)]


def crops(arm: Arm, side: int) -> v2.Transform:
    """Random cuts that the detector sees at ``side`` px, flipped half the time, ready for it."""
    side, least = side * arm.scale // REDUCTION, MIN_FACE * arm.scale / REDUCTION
    return v2.Compose(
        [
            v2.RandomCrop(side, pad_if_needed=True),
            v2.RandomHorizontalFlip(),
            v2.ConvertBoundingBoxFormat("XYXY"),
            v2.SanitizeBoundingBoxes(min_size=least),
            v2.ToDtype(torch.float32, scale=True),
            v2.ToPureTensor(),
        ]
    )
