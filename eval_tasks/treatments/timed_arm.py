"""An arm as an enhancer for the adapters, with a clock."""

from __future__ import annotations

import time
from typing import overload

from eval_tasks.treatments.arms import Arm
from integrations.protocols import RgbArray
from preproc.errors import PreprocError


class TimedArm:
    """Treats pictures as an arm does.

    Attributes:
        scale: output px per input px, along each side.
        seconds: wall time of all pictures so far; whoever reads it may set it back to 0.

    Args:
        arm: how pictures are treated.

    Raises:
        PreprocError: its scale is not a whole number, so that boxes could not be mapped back.
    """

    def __init__(self, arm: Arm) -> None:
        if arm.scale != round(arm.scale):
            raise PreprocError(f"{arm.name} enlarges x{arm.scale}, but boxes need a whole factor.")
        self.scale = round(arm.scale)
        self.seconds = 0.0
        self._apply = arm.apply

    @overload
    def __call__(self, img: RgbArray, /) -> RgbArray: ...

    @overload
    def __call__(self, img: list[RgbArray], /) -> list[RgbArray]: ...

    def __call__(self, img: RgbArray | list[RgbArray], /) -> RgbArray | list[RgbArray]:
        """One picture, or each of several, treated."""
        start = time.perf_counter()
        result = [self._apply(i) for i in img] if isinstance(img, list) else self._apply(img)
        self.seconds += time.perf_counter() - start
        return result
