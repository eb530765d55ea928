"""Whether, and from where, a run may go on with what a stage has left in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from preproc.errors import RecipeError
from preproc.training.checkpoint_reading import UnreadableError, read_checkpoint
from preproc.training.recipe import Stage
from preproc.training.stages.folder import CHECKPOINT, RECORD, read_record


def has_ended(folder: Path, stage: Stage, *, superseded: bool) -> bool:
    """Whether a stage came to its end, and that is no earlier than the one that is wanted now.

    Args:
        folder: of the stage.
        stage: as it is wanted.
        superseded: the next stage has begun from its weights, so any end will do.

    Raises:
        RecipeError: it ended by another recipe.
    """
    if not (folder / RECORD).exists():
        return False
    record = read_record(folder)
    if not record["finished"] or superseded:
        return bool(record["finished"])
    _require_same(folder, record["stage"], stage)
    return bool(record["stage"]["schedule"]["length"] >= stage.schedule.length)


def steps_in(checkpoint: Path, stage: Stage) -> int:
    """The steps that a checkpoint of the stage has behind it.

    Raises:
        RecipeError: the checkpoint is damaged, or of a run by another recipe.
    """
    saved = _read_checkpoint(checkpoint)
    _require_same(checkpoint.parent, saved["stage"], stage)
    return int(saved["global_step"])


def origin_of(folder: Path) -> str | None:
    """The initial weights that a stage was given; empty for none.

    Returns:
        None if unknown: the stage has not begun, or only its weights were kept.

    Raises:
        RecipeError: its record or its checkpoint is damaged.
    """
    known = read_record(folder) if (folder / RECORD).exists() else {}
    if (folder / CHECKPOINT).exists():  # of a run that was stopped it is all there is
        known |= _read_checkpoint(folder / CHECKPOINT)
    return known.get("init_from")


def _read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    try:
        return read_checkpoint(checkpoint, global_step=int, stage=dict)
    except UnreadableError as error:
        raise RecipeError(
            f"{checkpoint} is damaged ({error}); delete its folder to begin the stage anew."
        ) from error


def _require_same(folder: Path, before: Mapping[str, Any], stage: Stage) -> None:
    changed = sorted(_differences(_lasting(before), _lasting(stage.as_table())))
    if changed:
        raise RecipeError(
            f"{folder} was begun with another {', '.join(changed)}; a resumed run keeps its "
            "recipe. Give the same recipe, or another output folder and --init-from."
        )


def _lasting(stage: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change when a stage is resumed, with tuples as lists, as JSON has them."""
    table = json.loads(json.dumps(stage))
    table.pop("validation", None)
    for part, key in (("data", "workers"), ("schedule", "length")):
        table.get(part, {}).pop(key, None)
    return dict(table)


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in one.keys() | other.keys():
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{path}{key}.")
        elif a != b:
            yield f"{path}{key}"
