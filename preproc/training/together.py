"""Several processes of one training, which have to do the same at the same step.

Each has a clock of its own. Where one ends or measures a step before another, both wait for each
other without end; and where their learning rates differ, so do their weights.
"""

from __future__ import annotations

from typing import TypeVar

import lightning.pytorch as pl

ASKED_EVERY = 50
"""Steps; asking makes a GPU wait."""

T = TypeVar("T")


def agree(trainer: pl.Trainer, own: T, meanwhile: T) -> T:
    """What the first process has of something that depends on the time.

    Args:
        trainer: of this process, at the same step as those of all others.
        own: what this process has, which is what it gets when it is the only one.
        meanwhile: what it gets at steps at which the first is not asked.
    """
    if trainer.world_size == 1:
        return own
    if trainer.global_step % ASKED_EVERY:
        return meanwhile
    return trainer.strategy.broadcast(own)
