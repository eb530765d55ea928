"""How a run is stopped, by Ctrl-C or a scheduler, so that it can go on from where it was."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from preproc.training.averaging import Average

_log = logging.getLogger(__name__)


@contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """End an interrupted run with a sentence, and with the exit code that shells have for it.

    Lightning ends with 1 after Ctrl-C, and with 0 when it is asked to terminate, because its
    exception for that is a `SystemExit` without a code. Where the loading workers were asked, too,
    torch's error that they are gone comes before it.
    """
    try:
        yield
    except (SystemExit, RuntimeError) as stop:
        if _was_terminated(trainer, stop):
            number = signal.SIGTERM
        elif isinstance(stop, SystemExit) and isinstance(stop.__context__, KeyboardInterrupt):
            number = signal.SIGINT
        else:
            raise
        _log.warning("Training was stopped; the same command with --resume goes on with it.")
        raise SystemExit(128 + number) from stop


class SaveAtEnd(pl.Callback):
    """Writes the checkpoint to resume from, whether training ended, was stopped or failed.

    Comes before the averaging callback, which replaces the trained weights when training ends.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._began = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on the weights are the run's; before, a checkpoint may not be restored yet."""
        self._began = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after a clean stop.

        From here on the network holds the average, so a later interrupt must not save again.
        """
        trainer.save_checkpoint(self._file)
        self._began = False

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save before Ctrl-C or SIGTERM goes on; after an error the last good checkpoint stays."""
        stopped = isinstance(exception, KeyboardInterrupt) or _was_terminated(trainer, exception)
        if not self._began or not stopped:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Average):
                callback.put_back(trainer, pl_module)
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            # Others that were not interrupted wait for gradients and never come to the barrier;
            # Lightning ends them when this is saved.
            trainer.strategy.barrier = lambda *_, **__: None  # type: ignore[method-assign]
        trainer.save_checkpoint(self._file)


def _was_terminated(trainer: pl.Trainer, exception: BaseException) -> bool:
    """Whether an exception was caused by SIGTERM.

    Schedulers ask all processes of a job. Torch then raises an error as soon as a loading worker
    has ended, before Lightning has come to the end of the step.
    """
    asked = bool(trainer.received_sigterm)
    return isinstance(exception, SIGTERMException) or (asked and type(exception) is RuntimeError)
