"""Runs a recipe: every stage to its end, or as far as the time given allows."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    SaveAtEnd,
    StageBar,
    was_terminated,
)
from preproc.training.curve import read_curve, write_curve
from preproc.training.data import Patches, ValidationSet, make_loader
from preproc.training.module import Restoration
from preproc.training.recipe import Stage, load_recipe
from preproc.training.stage_folder import (
    CHECKPOINT,
    CURVE,
    RECORD,
    WEIGHTS,
    has_ended,
    read_record,
    steps_in,
    write_record,
)
from preproc.training.starting_network import make_network
from preproc.training.together import leave
from preproc.weights import save_state

_MAX_WAITING = 0.1  # share of the time that loading may hold training up unremarked

_PRECISIONS = {
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
    torch.float32: "32-true",
}
_log = logging.getLogger(__name__)


def run(
    recipe: str | Path,
    *,
    output: Path,
    data: Path = Path(),
    minutes: float | None = None,
    init_from: str | None = None,
    resume: bool = False,
    devices: int | str = "auto",
    nodes: int = 1,
    precision: str | None = None,
    compiled: bool = False,
    overrides: Sequence[str] = (),
) -> Path:
    """Train, and leave weights, checkpoint, record, curve and sample pictures below ``output``.

    Args:
        recipe: TOML file, or the name of one that comes with the package.
        output: folder of the run; each stage gets a folder in it.
        data: folder that the recipe's paths are relative to.
        minutes: wall time after which the run stops cleanly; ``resume`` goes on from there.
        init_from: weights for the first stage (safetensors, checkpoint, or a shipped model's name)
            in place of the recipe's.
        resume: whether to go on with what ``output`` holds; otherwise it must hold no run. A stage
            that has ended is trained on if the recipe is longer now, unless the next has begun from
            its weights.
        devices: how many, as Lightning takes it.
        nodes: machines.
        precision: as Lightning takes it; by default the mixed one that the device is fast in, or
            ``32-true`` where it is fast in none.
        compiled: whether to use ``torch.compile``.
        overrides: ``table.key=value`` lines that change the recipe.

    Returns:
        The weights of the last stage reached: averaged, float32, safetensors.

    Raises:
        ModelError: the recipe names no model that there is, or values that its options do not take.
        RecipeError: the recipe, its data or its initial weights do not hold together, or Lightning
            knows no such devices or precision.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    stages = load_recipe(recipe, overrides)
    hardware = {"devices": devices, "num_nodes": nodes, "precision": precision or _precision()}
    weights = output / stages[0].name / WEIGHTS
    start = init_from
    for stage in stages:  # now, and not after the hours of the stages before
        Restoration(stage, make_network(stage))
    begun = [(output / stage.name / CHECKPOINT).exists() for stage in stages]
    for stage, next_has_begun in zip(stages, [*begun[1:], False], strict=True):
        folder = output / stage.name
        finished = has_ended(folder, 0 if next_has_begun else stage.schedule.length)
        if not resume and any(folder.glob("log-*")):
            raise RecipeError(
                f"{folder} holds a run already; resume it, or choose another output folder."
            )
        weights = folder / WEIGHTS
        if not finished and not _run_stage(
            stage, folder, data, deadline, start or stage.init_from, hardware, compiled
        ):
            break
        start = str(weights)
    leave()
    return weights


def _run_stage(
    stage: Stage,
    folder: Path,
    data: Path,
    deadline: float | None,
    init_from: str,
    hardware: Mapping[str, Any],
    compiled: bool,
) -> bool:
    """Train one stage; whether it reached its end, and there is time for another."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists() and (folder / RECORD).exists():
        init_from = read_record(folder)["init_from"]
    module = Restoration(
        stage, make_network(stage, "" if checkpoint.exists() else init_from), compiled=compiled
    )
    start = steps_in(checkpoint, stage) if checkpoint.exists() else 0
    pl.seed_everything(stage.seed + start, verbose=False)
    validated = bool(stage.validation.path)
    if validated and not (data / stage.validation.path).is_dir():
        raise RecipeError(
            f"The recipe measures its curve on {data / stage.validation.path}, which is missing; "
            'give --data, or --set validation.path="" to train without a curve.'
        )
    cache = folder.parent / "cache"
    trainer = _trainer(stage, folder, f"log-{start:07d}", deadline, hardware)
    # Where it will be trained, because the average is kept where the network is before.
    module.to(trainer.strategy.root_device)
    patches = make_loader(Patches(stage, data, cache, start, trainer.global_rank), stage.data)
    held = DataLoader(ValidationSet(stage, data, cache), batch_size=1) if validated else None
    with warnings.catch_warnings(), _interruptible(trainer):
        # Our stream is endless and seeded by its start, so a resume inside an epoch is sound; and
        # how many workers there are is the recipe's business.
        warnings.filterwarnings(
            "ignore",
            ".*resum.*|.*many workers.*|.*exists and is not empty.*|.*ckpt_path.*|.*LeafSpec.*",
        )
        trainer.fit(
            module,
            patches,
            held,
            ckpt_path=checkpoint if checkpoint.exists() else None,
            weights_only=True,
        )
    done = module.progress() >= stage.schedule.length
    if trainer.is_global_zero:
        _tell_waiting(module, stage)
        save_state(folder / WEIGHTS, module.network.state_dict(), dtype=torch.float32)
        write_record(folder, stage, module, finished=done, init_from=init_from)
        _log.info("%s: %d steps, %.1f minutes", stage.name, module.global_step, module.clock)
        if validated:
            write_curve(read_curve([folder]), folder / CURVE, f"{stage.model}, {stage.name}")
    # The first process decides, and not before it has written what the next stage starts from.
    late = deadline is not None and time.monotonic() >= deadline
    return done and not trainer.strategy.broadcast(late)


def _trainer(
    stage: Stage, folder: Path, log: str, deadline: float | None, hardware: Mapping[str, Any]
) -> pl.Trainer:
    validated = bool(stage.validation.path)
    try:
        return pl.Trainer(
            accelerator=choose_device().type,
            **hardware,
            default_root_dir=folder,
            logger=[
                CSVLogger(folder, name="", version=log),
                TensorBoardLogger(folder, name="", version=log),
            ],
            callbacks=_callbacks(stage, folder, deadline),
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


@contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """End an interrupted run with a sentence, and with the exit code that shells have for it.

    Lightning ends with 1 after Ctrl-C, and with 0 when it is asked to terminate, because its
    exception for that is a `SystemExit` without a code. Where the loading workers were asked, too,
    torch's error that they are gone comes before it.
    """
    try:
        yield
    except (SystemExit, RuntimeError) as stop:
        if was_terminated(trainer, stop):
            number = signal.SIGTERM
        elif isinstance(stop, SystemExit) and isinstance(stop.__context__, KeyboardInterrupt):
            number = signal.SIGINT
        else:
            raise
        _log.warning("Training was stopped; the same command with --resume goes on with it.")
        raise SystemExit(128 + number) from stop


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
        # With no time at all Lightning would not stop before it began, and so not at all.
        left = max(deadline - time.monotonic(), 1e-3)
        callbacks.append(Deadline(timedelta(seconds=left), verbose=False))
    return callbacks


def _precision() -> str:
    """The mixed precision that the device is fast in, as Lightning names it."""
    return _PRECISIONS[choose_dtype(choose_device(), safe=(torch.bfloat16, torch.float16))]


def _tell_waiting(module: Restoration, stage: Stage) -> None:
    """Say so when loading did not keep up."""
    share = module.waited / max(module.clock + module.waited, 1e-9)
    if share > _MAX_WAITING:
        _log.warning(
            "Steps waited for their data %.0f %% of the time; raise data.workers (now %d).",
            100 * share,
            stage.data.workers,
        )
