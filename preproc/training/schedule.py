"""The learning rate as a function of the stage's progress."""

from __future__ import annotations

import math
from itertools import pairwise

from preproc.training.recipe import Schedule


def learning_rate(schedule: Schedule, peak: float, at: float) -> float:
    """The rate at a point of the stage.

    Cosine annealing with restarts is Loshchilov and Hutter's SGDR with equal or given periods; each
    period falls from ``peak`` to the floor.

    Args:
        schedule: the recipe's.
        peak: highest rate.
        at: steps or minutes since the stage began, as the schedule counts.
    """
    warm = min(1.0, at / schedule.warmup) if schedule.warmup > 0 else 1.0
    if schedule.kind == "constant":
        return warm * peak
    if schedule.kind == "step":
        return warm * peak * schedule.gamma ** sum(at >= m for m in schedule.milestones)
    restarts = sorted(r for r in schedule.restarts if r < schedule.length)  # others never come
    bounds = (0.0, *restarts, schedule.length)
    for start, end in pairwise(bounds):
        if at < end:
            fallen = (1 + math.cos(math.pi * (at - start) / (end - start))) / 2
            return warm * (schedule.floor + (peak - schedule.floor) * fallen)
    return schedule.floor
