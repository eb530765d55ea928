"""The average of the weights that is validated and exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

_Update = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]


class Average(WeightAveraging):
    """Averages the weights, and validates the average in place of the trained weights.

    Args:
        decay: of `warm_average`.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=warm_average(decay))
        self._is_measured = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap the average in."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_measured = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap the trained weights back in."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_measured = False

    def put_back(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap the trained weights back in if validation was cut short."""
        if self._is_measured:
            self.on_validation_epoch_end(trainer, pl_module)


def warm_average(decay: float) -> _Update:
    """An exponential moving average that forgets where it began.

    A plain one of decay 0.999 still is a third initial weights after 1000 steps, which can be worse
    than the last weights alone. Here the n-th update decays by
    ``min(decay, (1 + n) / (10 + n))``, so that about the last tenth of a short run counts.

    Args:
        decay: in [0, 1), what the average keeps of itself in each step of a long run.

    Returns:
        What `torch.optim.swa_utils.AveragedModel` takes as ``multi_avg_fn``.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        # Computed where the weights are: asking for the number would make a GPU wait.
        done = torch.as_tensor(count, device=weights[0].device)
        share = 1 - ((1 + done) / (10 + done)).clamp(max=decay)
        # All tensors in each call, because a GPU waits for its host to launch one after another.
        old = list(averages)
        change = torch._foreach_sub(list(weights), old)
        torch._foreach_mul_(change, share)
        torch._foreach_add_(old, change)

    return update
