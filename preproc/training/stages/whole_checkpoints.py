"""Checkpoints written atomically, and only while all values are finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from preproc.errors import RecipeError
from preproc.files import replacing

_TRAINED = ("state_dict", "current_model_state", "optimizer_states")
"""The parts that must be finite; callbacks may hold a best score of infinity."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one of its name, and only then puts it in its place.

    Lightning's own is written to the folder for temporary files and moved, which is a copy where
    that is another disk: a process that is killed then leaves neither. And it would keep weights
    that no step can mend any more in place of the last good ones.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401, ARG002 - Lightning's
    ) -> None:
        """Save, or leave what is there as it is.

        Raises:
            RecipeError: weights, average or the optimizer's state are no longer finite.
            OutputError: it cannot be written.
        """
        trained = [checkpoint.get(part) for part in _TRAINED]
        if not all(bool(tensor.isfinite().all()) for tensor in _tensors(trained)):
            raise RecipeError(
                f"Weights or the optimizer's state are not finite at step "
                f"{checkpoint['global_step']}; {path} was not overwritten. Start from it with a "
                "lower optimizer.lr in a new folder (--init-from), or set optimizer.clip."
            )
        with replacing(Path(path)) as file:
            torch.save(checkpoint, file)


def _tensors(state: object) -> Iterator[Tensor]:
    """All tensors of floating point in nested dictionaries and lists."""
    if isinstance(state, Tensor):
        if state.is_floating_point():
            yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, Sequence) and not isinstance(state, str | bytes):
        for value in state:
            yield from _tensors(value)
