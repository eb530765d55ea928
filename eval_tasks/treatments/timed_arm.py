"""An arm as an enhancer for the adapters, with a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from eval_tasks.treatments.arms import Arm
from integrations.protocols import RegionEnhancer, RgbArray
from preproc.errors import OptionError

T = TypeVar("T")


class TimedArm:
    """Treats pictures as an arm does.

    Attributes:
        scale: output px per input px, along each side.
        seconds: wall time of all pictures so far; whoever reads it may set it back to 0.

    Args:
        arm: how pictures are treated.

    Raises:
        OptionError: its scale is not a whole number, so that boxes could not be mapped back.
    """

    def __init__(self, arm: Arm) -> None:
        if arm.scale != round(arm.scale):
            raise OptionError(f"{arm.name} enlarges x{arm.scale}, but boxes need a whole factor.")
        self.scale = round(arm.scale)
        self.seconds = 0.0
        self._apply = arm.apply

    def __call__(self, img: RgbArray, /) -> RgbArray:
        """A picture, treated."""
        return self._timed(lambda: self._apply(img))

    def _timed(self, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = work()
        self.seconds += time.perf_counter() - start
        return result


class TimedRegionArm(TimedArm):
    """An arm that can treat parts of a picture, seeing what is around them, as `Enhancer` can."""

    def __init__(self, arm: Arm, enhancer: RegionEnhancer) -> None:
        super().__init__(arm)
        self._enhancer = enhancer

    def regions(
        self, img: RgbArray, boxes: Sequence[Sequence[float]], *, margin: int
    ) -> list[RgbArray]:
        """The parts in boxes (left, top, right, bottom), treated."""
        return self._timed(lambda: self._enhancer.regions(img, boxes, margin=margin))


def with_clock(arm: Arm) -> TimedArm:
    """An arm with a clock, which treats parts by themselves only where the arm cannot do better."""
    enhancer: object = arm.apply
    return TimedRegionArm(arm, enhancer) if isinstance(enhancer, RegionEnhancer) else TimedArm(arm)
