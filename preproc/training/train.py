"""Runs a recipe: every stage to its end, or as far as the time given allows."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
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
from torch import Tensor, nn
from torch.utils.data import DataLoader

from preproc.errors import RecipeError
from preproc.execution.devices import choose_device, choose_dtype
from preproc.files import real
from preproc.training.averaging import Average
from preproc.training.callbacks import (
    Deadline,
    MeasureEvery,
    SamplePictures,
    StageBar,
)
from preproc.training.curve import write_curve
from preproc.training.data import Patches, ValidationSet, make_loader, sentences_of_workers
from preproc.training.initial import load_into
from preproc.training.module import Restoration
from preproc.training.recipe import CACHE, Stage, load_recipe
from preproc.training.sources import make_sources
from preproc.training.stage_folder import (
    CHECKPOINT,
    CURVE,
    WEIGHTS,
    has_begun,
    has_ended,
    origin_of,
    steps_in,
    write_record,
)
from preproc.training.starting_network import make_network
from preproc.training.stopping import SaveAtEnd, interruptible
from preproc.training.whole_checkpoints import WholeCheckpoints
from preproc.weights import save_state

_LONGEST = 60 * 24 * 365  # a year in minutes; more could overflow clocks and timedelta
_MAX_WAITING = 0.1  # warn when waiting for data takes more than this share of the time

_PRECISIONS = {
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
    torch.float32: "32-true",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Session:
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


def run(
    recipe: str | Path,
    *,
    output: Path,
    data: Path = Path(),
    minutes: float | None = None,
    init_from: str | Path | None = None,
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
            in place of the recipe's; where that has begun, they must be those it began with.
        resume: whether to go on with what ``output`` holds; otherwise it must hold no run. A stage
            that has ended is trained on if the recipe is longer now, unless the next has begun from
            its weights.
        devices: how many, as Lightning takes it.
        nodes: machines.
        precision: as Lightning takes it; by default the mixed one that the device is fast in, or
            ``32-true`` where it is fast in none.
        compiled: whether to compile the networks' repeated blocks.
        overrides: ``table.key=value`` lines that change the recipe.

    Returns:
        The weights of the last stage reached: averaged, float32, safetensors.

    Raises:
        ModelError: the recipe names no model that there is, or values that its options do not take.
        RecipeError: the recipe, its data or its initial weights do not hold together, Lightning
            knows no such devices or precision, or ``minutes`` is no such number.
    """
    if minutes is not None and not 0 <= minutes <= _LONGEST:
        raise RecipeError(
            f"A run's minutes must be 0 to {_LONGEST:g}, but are {minutes:g}; leave them out to "
            "train to the end."
        )
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    stages = load_recipe(recipe, overrides)
    hardware = {"devices": devices, "num_nodes": nodes, "precision": precision or _precision()}
    session = _Session(data, deadline, hardware, compiled)
    if not resume:
        _require_new(stages, output)
    ended = _have_ended(stages, output)
    start = str(init_from or "")
    _require_sound(stages, ended, output, data, start)
    if start:
        _require_origin(output / stages[0].name, start)
    for stage, finished in zip(stages, ended, strict=True):
        folder = output / stage.name
        weights = folder / WEIGHTS
        if not finished and not _run_stage(stage, folder, start or stage.init_from, session):
            break
        start = str(weights)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # Lightning leaves this to the end of the interpreter, which gloo's threads can then abort.
        torch.distributed.destroy_process_group()
    return weights


def _require_new(stages: Sequence[Stage], output: Path) -> None:
    for stage in stages:
        folder = output / stage.name
        # What failed before its first steps has left an empty log, and nothing to lose.
        if has_begun(folder) or any(folder.glob("log-*/metrics.csv")):
            raise RecipeError(
                f"{folder} holds a run already; resume it, or choose another output folder."
            )


def _have_ended(stages: Sequence[Stage], output: Path) -> list[bool]:
    """Which stages need no more training."""
    folders = [output / stage.name for stage in stages]
    next_begun = [*map(has_begun, folders[1:]), False]
    return [
        has_ended(folder, stage, superseded=begun)
        for folder, stage, begun in zip(folders, stages, next_begun, strict=True)
    ]


def _require_sound(
    stages: Sequence[Stage], ended: Sequence[bool], output: Path, data: Path, start: str
) -> None:
    """Find what is wrong with any stage now, and not after the hours of the stages before."""
    before: nn.Module | None = None
    for stage, finished in zip(stages, ended, strict=True):
        folder = output / stage.name
        network = make_network(stage)
        Restoration(stage, network)
        begun = has_begun(folder)
        if stage.keep and before is None and not (begun or start or stage.init_from):
            raise RecipeError(
                f"{stage.name}: keep is a share of the initial weights, but the stage starts with "
                "none; give init_from, or --init-from."
            )
        if begun and not finished and not (folder / CHECKPOINT).exists():
            raise RecipeError(
                f"{folder} cannot be resumed: {CHECKPOINT} is missing; use another folder, "
                f"with --init-from to start from weights such as its {WEIGHTS}."
            )
        if not finished:
            _require_validation(stage, data)
        if before is not None and not begun:
            load_into(network, before.state_dict())
            make_sources(stage, data, output / CACHE)
        before = network


def _require_origin(folder: Path, init_from: str) -> None:
    origin = origin_of(folder)
    if origin is not None and real(Path(init_from)) != real(Path(origin)):
        raise RecipeError(
            f"{folder} was begun from {origin or 'untrained weights'}, not from {init_from}; leave "
            "--init-from out to go on with it, or give another output folder."
        )


def _run_stage(stage: Stage, folder: Path, init_from: str, session: _Session) -> bool:
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
        _leave_results(folder, module, kept, finished=done)
    # Rank 0 decides, after writing the weights that the next stage starts from.
    late = session.deadline is not None and time.monotonic() >= session.deadline
    return done and not trainer.strategy.broadcast(late)


def _require_validation(stage: Stage, data: Path) -> None:
    if stage.validation.path and not (data / stage.validation.path).is_dir():
        raise RecipeError(
            f"The recipe measures its curve on {data / stage.validation.path}, which is missing; "
            "give --data, or --set 'validation.path=\"\"' to train without a curve."
        )


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


def _leave_results(
    folder: Path, module: Restoration, kept: Mapping[str, Tensor], *, finished: bool
) -> None:
    """Write weights, with their share of those kept, record and curve, and say how far it came."""
    stage = module.stage
    _tell_waiting(module, stage)
    state = module.network.state_dict()
    if kept:
        state = {
            key: value.cpu().lerp(kept[key], stage.keep) if value.is_floating_point() else value
            for key, value in state.items()
        }
    save_state(folder / WEIGHTS, state, dtype=torch.float32)
    write_record(folder, module, finished=finished)
    _log.info("%s: %d steps, %.1f minutes", stage.name, module.global_step, module.clock)
    if stage.validation.path:
        write_curve(module.curve, folder / CURVE, f"{stage.model}, {stage.name}")


def _trainer(stage: Stage, folder: Path, log: str, session: _Session) -> pl.Trainer:
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
