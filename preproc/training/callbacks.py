"""What happens around training: progress, measurements, pictures."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Timer, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from PIL import Image
from torch import Tensor

from preproc.degrade import bicubic_up
from preproc.pictures.saving import save
from preproc.training.module import Restoration
from preproc.training.recipe import Stage
from preproc.training.together import agree

_PICTURES = 4
_SIDE = 384  # HR px of a sample picture


class Deadline(Timer):
    """Stops training after a time, counted from now and not from where a resumed run began."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the time that earlier runs took."""


class StageBar(TQDMProgressBar):
    """Tells which stage is trained, and how far in its schedule it is.

    Args:
        stage: the recipe.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(refresh_rate=20)
        self._stage = stage

    def init_train_tqdm(self) -> Tqdm:
        """A line without a bar, because all of a stage is one epoch without end."""
        return self._line("{desc}[{elapsed}, {rate_noinv_fmt}{postfix}]")

    def init_validation_tqdm(self) -> Tqdm:
        """A bar below it while pictures are measured."""
        return self._line(self.BAR_FORMAT, "measuring", leave=False)

    def _line(self, form: str, title: str = "", *, leave: bool = True) -> Tqdm:
        # Lightning's own would be on stdout, whose reader wants the weights' path and may go away.
        return Tqdm(
            desc=title,
            disable=self.is_disabled,
            leave=leave,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0,
            bar_format=form,
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: object) -> None:
        """Name the stage and the device, not the epoch."""
        super().on_train_epoch_start(trainer, *args)
        device = trainer.strategy.root_device
        self.train_progress_bar.set_description(f"{self._stage.name} on {device}")

    def on_exception(self, *_: object) -> None:
        """Leave the line, so that what went wrong is said on one of its own."""
        for bar in (self._val_progress_bar, self._train_progress_bar):
            if bar is not None:
                bar.close()

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The schedule's steps or minutes, then the loss and the last PSNR."""
        assert isinstance(pl_module, Restoration)
        schedule = self._stage.schedule
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the log's
        return {schedule.unit: f"{pl_module.progress():.4g}/{schedule.length:.4g}", **metrics}


class MeasureEvery(pl.Callback):
    """Measures after every so many minutes of wall time.

    Lightning can do so by itself, but there each process goes by its own clock, and processes that
    do not measure after the same step deadlock.

    Args:
        minutes: between the end of a measurement and the next.
    """

    NEVER = sys.maxsize
    """For ``Trainer(val_check_interval=...)``, which this takes the place of."""

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self._last = time.monotonic()

    def on_train_batch_end(  # noqa: D102 - Lightning's
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's
        batch: Any,  # noqa: ANN401 - Lightning's
        batch_idx: int,
    ) -> None:
        due = agree(trainer, time.monotonic() - self._last >= self._seconds, meanwhile=False)
        # Lightning measures where the count of batches is a multiple of this.
        trainer.val_check_batch = trainer.fit_loop.total_batch_idx + 1 if due else self.NEVER

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count anew."""
        self._last = time.monotonic()


class SamplePictures(pl.Callback):
    """Writes a strip of LR (bicubic), output and HR for the first pictures of each measurement."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_validation_batch_end(  # noqa: D102 - Lightning's
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's
        batch: tuple[Tensor, Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx >= _PICTURES or trainer.sanity_checking or not trainer.is_global_zero:
            return
        lr, hr = (part[0].permute(1, 2, 0).cpu().numpy() for part in batch[:2])
        up = bicubic_up(np.ascontiguousarray(lr), hr.shape[0] // lr.shape[0])
        strip = np.concatenate([p[:_SIDE, :_SIDE] for p in (up, outputs.numpy(), hr)], axis=1)
        name = f"{trainer.global_step:07d}-{batch_idx}-q{int(batch[2])}.png"
        save(Image.fromarray(strip), self._folder / name, overwrite=True)
