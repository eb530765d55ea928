"""What a stage of training leaves in its folder, and whether a run may go on from there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from preproc.environment import versions
from preproc.errors import RecipeError
from preproc.reports import write_json
from preproc.training.module import Restoration
from preproc.training.recipe import Stage

CHECKPOINT = "last.ckpt"
WEIGHTS = "ema.safetensors"
RECORD = "run.json"
CURVE = "curve.png"

UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    UnpicklingError,
    RuntimeError,
)
"""What `torch.load` raises for files that are damaged or none of its own."""


def write_record(
    folder: Path, module: Restoration, device: torch.device, *, finished: bool
) -> None:
    """Write everything needed to tell, and to repeat, what made the weights beside it.

    Args:
        folder: of the stage.
        module: as it was trained.
        device: where; afterwards Lightning moves the module to the CPU.
        finished: whether the stage came to its end.
    """
    record = {
        "finished": finished,
        "steps": module.global_step,
        "minutes": round(module.clock, 2),
        "minutes_waited_for_data": round(module.waited, 2),
        "curve": [asdict(point) for point in module.curve],
        "init_from": module.init_from,
        "versions": versions("torch", "lightning", "numpy", "pillow"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "stage": module.stage.as_table(),
    }
    write_json(folder / RECORD, record)


def read_record(folder: Path) -> dict[str, Any]:
    """What `write_record` wrote.

    Raises:
        RecipeError: it is damaged.
    """
    file = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(file.read_text("utf-8"))
        # Raises if a key is missing or of the wrong type.
        bool(record["finished"]), float(record["stage"]["schedule"]["length"])
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(
            f"{file} is damaged ({error}); delete it, and --resume makes it anew where "
            f"{CHECKPOINT} lies beside it."
        ) from error
    return record


def has_begun(folder: Path) -> bool:
    """Whether a stage has left anything that it, or the next, could go on from."""
    return any((folder / name).exists() for name in (CHECKPOINT, WEIGHTS, RECORD))


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
        saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        # Raises if a key is missing or of the wrong type.
        int(saved["global_step"]), saved["stage"]["schedule"]
    except UNREADABLE as error:
        raise RecipeError(
            f"{checkpoint} is damaged ({cause_of(error)}); delete its folder to begin the stage "
            "anew."
        ) from error
    return saved


def _require_same(folder: Path, before: Mapping[str, Any], stage: Stage) -> None:
    changed = sorted(_differences(_lasting(before), _lasting(stage.as_table())))
    if changed:
        raise RecipeError(
            f"{folder} was begun with another {', '.join(changed)}; a resumed run keeps its "
            "recipe. Give the same recipe, or another output folder and --init-from."
        )


def cause_of(error: Exception) -> str:
    """What torch says of a file it cannot read, without its advice to run what is in there."""
    return str(error).partition(". ")[0]


def _lasting(stage: Mapping[str, Any]) -> dict[str, Any]:
    """What must not change when a stage is resumed, with tuples as lists, as JSON has them."""
    table = json.loads(json.dumps(stage))
    del table["validation"], table["data"]["workers"], table["schedule"]["length"]
    return dict(table)


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in one.keys() | other.keys():
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{path}{key}.")
        elif a != b:
            yield f"{path}{key}"
