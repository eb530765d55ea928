"""The files that a stage of training leaves in its folder, and the record among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from preproc.errors import RecipeError

CHECKPOINT = "last.ckpt"
WEIGHTS = "ema.safetensors"
RECORD = "run.json"
CURVE = "curve.png"


def has_begun(folder: Path) -> bool:
    """Whether a stage has left anything that it, or the next, could go on from."""
    return any((folder / name).exists() for name in (CHECKPOINT, WEIGHTS, RECORD))


def read_record(folder: Path) -> dict[str, Any]:
    """What made the weights in a folder, as `preproc.training.stages.results` wrote it.

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
