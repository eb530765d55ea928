"""What can be known to be wrong with a run before it trains, and not after a stage's hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from preproc.errors import RecipeError
from preproc.paths import expanded, real
from preproc.training.data.sources import make_sources
from preproc.training.initial_weights.load import load_into
from preproc.training.initial_weights.network import make_network
from preproc.training.module import Restoration
from preproc.training.recipe import CACHE, Stage
from preproc.training.stages.folder import CHECKPOINT, WEIGHTS, has_begun
from preproc.training.stages.resuming import origin_of


def require_new(stages: Sequence[Stage], output: Path) -> None:
    """Refuse a folder where any stage has been trained, since nothing of it may be lost."""
    for stage in stages:
        folder = output / stage.name
        # What failed before its first steps has left an empty log, and nothing to lose.
        if has_begun(folder) or any(folder.glob("log-*/metrics.csv")):
            raise RecipeError(
                f"{folder} holds a run already; resume it, or choose another output folder."
            )


def require_sound(
    stages: Sequence[Stage], ended: Sequence[bool], output: Path, data: Path, start: str
) -> None:
    """Refuse stages that cannot be built, resumed, measured, or begun with what is before them."""
    before: nn.Module | None = None
    for stage, finished in zip(stages, ended, strict=True):
        folder = output / stage.name
        network = make_network(stage, "")
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


def require_origin(folder: Path, init_from: str) -> None:
    """Refuse other initial weights than those that a stage was begun with."""
    origin = origin_of(folder)
    same = origin and real(expanded(init_from)) == real(expanded(origin))
    if origin is not None and not same:
        raise RecipeError(
            f"{folder} was begun from {origin or 'untrained weights'}, not from {init_from}; leave "
            "--init-from out to go on with it, or give another output folder."
        )


def _require_validation(stage: Stage, data: Path) -> None:
    if stage.validation.path and not (data / stage.validation.path).is_dir():
        raise RecipeError(
            f"The recipe measures its curve on {data / stage.validation.path}, which is missing; "
            "give --data, or --set 'validation.path=\"\"' to train without a curve."
        )
