"""Decisions that depend on a clock, made alike by all processes of a distributed run.

Each process has a clock of its own. If one ends or measures a step before another, they deadlock;
and if their learning rates differ, so do their weights.
"""

from __future__ import annotations

from typing import TypeVar

import lightning.pytorch as pl

ASKED_EVERY = 50
"""Steps between broadcasts, each of which makes a GPU wait."""

T = TypeVar("T")


def agree(trainer: pl.Trainer, own: T, meanwhile: T) -> T:
    """The value of the process of rank 0, broadcast every `ASKED_EVERY` steps.

    Args:
        trainer: of this process, at the same step as those of all others.
        own: the value of this process; returned as it is where there is only one.
        meanwhile: what is returned at the steps between broadcasts.
    """
    if trainer.world_size == 1:
        return own
    if trainer.global_step % ASKED_EVERY:
        return meanwhile
    return trainer.strategy.broadcast(own)
