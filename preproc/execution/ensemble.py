"""Geometric self-ensemble (x8): the mean over the eight flips and transposes of the input."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product, starmap

import torch
from torch import Tensor

from preproc.execution.memory import explain_out_of_memory
from preproc.progress import scaled

_FULL = "The main memory has no room for a mean; choose a smaller tile=."


def geometric_self_ensemble(
    apply: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, mask: Tensor | None = None
) -> Tensor:
    """``apply(x, mask)`` averaged over all eight symmetries of the square, at eight times the cost.

    Each variant of the input (mirrored along W, along H, transposed, and their combinations) goes
    through ``apply`` and is turned back; the float outputs are averaged before anything is clamped
    or rounded. "Enhanced Deep Residual Networks for Single Image Super-Resolution" (2017), 3.4.

    Args:
        apply: maps (N, C, H, W) to (N, C, s*H, s*W) for any H and W.
        x: a batch (N, C, H, W).
        mask: (N, 1, H, W) or None, which is turned with the input.

    Returns:
        (N, C, s*H, s*W); the same, turned, for a turned batch.

    Raises:
        DeviceMemoryError: the device that the outputs lie on has no memory for turning and summing
            them.
    """

    def turned_back(mirror_w: bool, mirror_h: bool, transpose: bool) -> Tensor:
        """``apply`` on the input turned in one way, with the result turned back."""
        axes = [axis for axis, wanted in ((-1, mirror_w), (-2, mirror_h)) if wanted]
        turned_mask = None if mask is None else _turned(mask, axes, transpose)
        with scaled(1 / 8):
            y = apply(_turned(x, axes, transpose), turned_mask)
        return torch.flip(y.mT if transpose else y, axes)

    with explain_out_of_memory(_FULL):
        # Unlike a loop or reduce, sum holds on to nothing but the total during the next call.
        results = starmap(turned_back, product((False, True), repeat=3))
        return sum(results, start=torch.zeros((), device="cpu")) / 8


def _turned(x: Tensor, axes: list[int], transpose: bool) -> Tensor:
    mirrored = torch.flip(x, axes)
    return mirrored.mT.contiguous() if transpose else mirrored
