"""What the detector is shown: the arms of the trial, and the crops it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torchvision import tv_tensors
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


class CropAtFace(v2.Transform):  # type: ignore[misc]
    """Cuts a square around a face taken at random, which lies anywhere in it.

    Most cuts of a large picture have no face in them. What has none is cut anywhere, and what is
    smaller than the square gets black beside it.
    """

    def __init__(self, side: int) -> None:
        """``side`` is the square's, in px."""
        super().__init__()
        self.side = side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Where the square lies; called by torchvision."""
        size = torch.tensor(v2.query_size(flat_inputs)[::-1])
        (boxes,) = (part for part in flat_inputs if isinstance(part, tv_tensors.BoundingBoxes))
        chosen, share, anywhere = torch.rand(3, 2).unbind()
        corner = anywhere * (size - self.side)
        if len(boxes):
            x, y, width, height = boxes[int(chosen[0] * len(boxes))].tolist()
            centre = torch.tensor([x + width / 2, y + height / 2])
            corner = centre - share * self.side
        left, top = corner.minimum(size - self.side).clamp(min=0).int().tolist()
        return {"top": top, "left": left, "height": self.side, "width": self.side}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401
        """Cut a part of a sample; called by torchvision."""
        return v2.functional.crop(inpt, **params)


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
            CropAtFace(side),
            v2.RandomHorizontalFlip(),
            v2.ConvertBoundingBoxFormat("XYXY"),
            v2.SanitizeBoundingBoxes(min_size=least),
            v2.ToDtype(torch.float32, scale=True),
            v2.ToPureTensor(),
        ]
    )
