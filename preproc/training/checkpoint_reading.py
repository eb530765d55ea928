"""Reading checkpoints of trainings, which may be damaged or none, and run no code."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from preproc.errors import cause_of

# What `torch.load` raises for files that are damaged or none of its own.
_UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    UnpicklingError,
    RuntimeError,
)


class UnreadableError(Exception):
    """A file is missing, damaged or no checkpoint of a training; its text is the cause."""


def read_checkpoint(file: Path, **parts: type) -> dict[str, Any]:
    """All that a checkpoint holds, on the CPU.

    Args:
        file: the checkpoint, as Lightning saves it.
        parts: the kinds of those of its parts that are needed.

    Raises:
        UnreadableError: it cannot be read, or lacks a part.
    """
    try:
        # weights_only keeps a foreign file from running code.
        saved = torch.load(file, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise UnreadableError(cause_of(error)) from error
    if not isinstance(saved, dict):
        raise UnreadableError(f"it holds a {type(saved).__name__}")
    for name, kind in parts.items():
        if not isinstance(saved.get(name), kind):
            raise UnreadableError(f"it has no {name}")
    return saved
