"""Runs a recipe: every stage to its end, or as far as the time given allows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from preproc.errors import RecipeError
from preproc.training.checks import require_new, require_origin, require_sound
from preproc.training.recipe import Stage
from preproc.training.recipe_file import load_recipe
from preproc.training.stages.folder import WEIGHTS, has_begun
from preproc.training.stages.resuming import has_ended
from preproc.training.stages.run import Session, run_stage, usual_precision

_log = logging.getLogger(__name__)

_LONGEST = 60 * 24 * 365  # a year in minutes; more could overflow clocks and timedelta


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
        init_from: weights for the first stage, in place of the recipe's, which
            `preproc.training.recipe.Stage` describes; where that stage has begun, they must be
            those it began with.
        resume: whether to go on with what ``output`` holds, or begin, and say so, where that is
            nothing; otherwise it must hold no run. A stage that has ended is trained on if the
            recipe is longer now, unless the next has begun from its weights.
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
        WeightsError: initial weights are missing, damaged, or for another network.
        MissingLibraryError: the recipe's loss or text needs a library that is not installed.
        OutputError: ``output`` cannot be written to, or its disk has no room.
    """
    if minutes is not None and not 0 <= minutes <= _LONGEST:
        raise RecipeError(
            f"A run's minutes must be 0 to {_LONGEST:g}, but are {minutes:g}; leave them out to "
            "train to the end."
        )
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    stages = load_recipe(recipe, overrides)
    hardware = {"devices": devices, "num_nodes": nodes, "precision": precision or usual_precision()}
    session = Session(data, deadline, hardware, compiled)
    if not resume:
        require_new(stages, output)
    ended = _have_ended(stages, output)
    start = str(init_from or "")
    require_sound(stages, ended, output, data, start)
    if start:
        require_origin(output / stages[0].name, start)
    if resume and not any(has_begun(output / stage.name) for stage in stages):
        _log.warning("%s holds nothing to go on with yet; the run begins.", output)
    for stage, finished in zip(stages, ended, strict=True):
        folder = output / stage.name
        weights = folder / WEIGHTS
        if not finished and not run_stage(stage, folder, start or stage.init_from, session):
            break
        start = str(weights)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # Lightning leaves this to the end of the interpreter, which gloo's threads can then abort.
        torch.distributed.destroy_process_group()
    return weights


def _have_ended(stages: Sequence[Stage], output: Path) -> list[bool]:
    """Which stages need no more training."""
    folders = [output / stage.name for stage in stages]
    next_begun = [*map(has_begun, folders[1:]), False]
    return [
        has_ended(folder, stage, superseded=begun)
        for folder, stage, begun in zip(folders, stages, next_begun, strict=True)
    ]
