"""One stage of a run, trained by Lightning, from where it stands to the results it leaves."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from preproc.errors import RecipeError
from preproc.execution.devices import choose_device, choose_dtype
from preproc.training.averaging import Average
from preproc.training.callbacks import (
    Deadline,
    MeasureEvery,
    SamplePictures,
    StageBar,
)
from preproc.training.data.patches import Patches, ValidationSet, make_loader, sentences_of_workers
from preproc.training.initial_weights.network import make_network
from preproc.training.module import Restoration
from preproc.training.recipe import CACHE, Stage
from preproc.training.stages.folder import CHECKPOINT
from preproc.training.stages.results import leave_results
from preproc.training.stages.resuming import origin_of, steps_in
from preproc.training.stages.stopping import SaveAtEnd, interruptible
from preproc.training.stages.whole_checkpoints import WholeCheckpoints

_PRECISIONS = {
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
    torch.float32: "32-true",
}


@dataclass(frozen=True)
class Session:
    """What all stages of a run share.

    Attributes:
        data: folder that the recipe's paths are relative to.
        deadline: after which it stops, of the monotonic clock in s; None for never.
        hardware: devices, machines and precision, as Lightning takes them.
        compiled: whether to compile the networks' repeated blocks.
    """

    data: Path
    deadline: float | None
    hardware: Mapping[str, Any]
    compiled: bool


def run_stage(stage: Stage, folder: Path, init_from: str, session: Session) -> bool:
    """Train one stage; whether it reached its end, and there is time for another."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT
    begun = checkpoint.exists()
    if begun:  # the checkpoint has all weights, but not those to keep
        init_from = (origin_of(folder) or "") if stage.keep else ""
    network = make_network(stage, init_from)
    kept = deepcopy(network.state_dict()) if stage.keep else {}
    module = Restoration(stage, network, init_from=init_from, compiled=session.compiled)
    start = steps_in(checkpoint, stage) if begun else 0
    pl.seed_everything(stage.seed + start, verbose=False)
    cache = folder.parent / CACHE
    held: DataLoader[Any] | None = None
    if stage.validation.path:
        held = DataLoader(ValidationSet(stage, session.data, cache), batch_size=1)
    trainer = _trainer(stage, folder, f"log-{start:07d}", session)
    # Move it now: the averaging callback keeps its copy where the network is when it is set up.
    module.to(trainer.strategy.root_device)
    patches = Patches(stage, session.data, cache, start, trainer.global_rank)
    loader = make_loader(patches, stage.data)
    _fit(trainer, module, loader, held, checkpoint if begun else None)
    done = module.progress() >= stage.schedule.length
    if trainer.is_global_zero:
        leave_results(folder, module, kept, trainer.strategy.root_device, finished=done)
    # Rank 0 decides, after writing the weights that the next stage starts from.
    late = session.deadline is not None and time.monotonic() >= session.deadline
    return done and not trainer.strategy.broadcast(late)


def _fit(
    trainer: pl.Trainer,
    module: Restoration,
    patches: DataLoader[Any],
    held: DataLoader[Any] | None,
    checkpoint: Path | None,
) -> None:
    """Train, from a checkpoint on where there is one."""
    with warnings.catch_warnings(), interruptible(trainer), sentences_of_workers():
        # Expected here: the stream is endless and seeded by its start, so resuming inside an epoch
        # is sound; and the number of workers and having no curve are the recipe's choice.
        warnings.filterwarnings(
            "ignore",
            ".*resum.*|.*many workers.*|.*no `val_dataloader`.*|.*exists and is not empty.*|"
            ".*ckpt_path.*|.*LeafSpec.*",
        )
        trainer.fit(
            module,
            patches,
            held,
            ckpt_path=checkpoint,
            weights_only=True,
        )


def _trainer(stage: Stage, folder: Path, log: str, session: Session) -> pl.Trainer:
    validated = bool(stage.validation.path)
    try:
        return pl.Trainer(
            accelerator=choose_device().type,
            **session.hardware,
            plugins=[WholeCheckpoints()],
            default_root_dir=folder,
            logger=[
                CSVLogger(folder, name="", version=log),
                TensorBoardLogger(folder, name="", version=log),
            ],
            callbacks=_callbacks(stage, folder, session.deadline),
            max_epochs=-1,
            gradient_clip_val=stage.optimizer.clip or None,
            val_check_interval=MeasureEvery.NEVER if validated else None,
            check_val_every_n_epoch=None,
            limit_val_batches=None if validated else 0,
            num_sanity_val_steps=0,
            log_every_n_steps=50,
            enable_model_summary=False,
            # Each process validates all pictures: with shares, each would log other qualities
            # first, and Lightning reduces what they log in the order in which they do.
            use_distributed_sampler=False,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise RecipeError(f"Lightning takes no such devices or precision: {error}") from error


def _callbacks(stage: Stage, folder: Path, deadline: float | None) -> list[pl.Callback]:
    callbacks: list[pl.Callback] = [
        SaveAtEnd(folder / CHECKPOINT),
        Average(stage.ema),
        SamplePictures(folder / "samples"),
        ModelCheckpoint(
            folder,
            filename=Path(CHECKPOINT).stem,
            save_top_k=1,
            train_time_interval=timedelta(minutes=10),
            enable_version_counter=False,
        ),
        StageBar(stage),
    ]
    if stage.validation.path:
        callbacks.append(MeasureEvery(stage.validation.every))
    if deadline is not None:
        # With a limit of zero Lightning would not begin at all, and leave no checkpoint.
        left = max(deadline - time.monotonic(), 1e-3)
        callbacks.append(Deadline(timedelta(seconds=left), verbose=False))
    return callbacks


def usual_precision() -> str:
    """The mixed precision that the device is fast in, as Lightning names it."""
    return _PRECISIONS[choose_dtype(choose_device(), safe=(torch.bfloat16, torch.float16))]
