"""Parts of a picture that may reach beyond it, where it goes on as its mirror image."""

from __future__ import annotations

import torch
from torch import Tensor


def pad(x: Tensor, height: int, width: int) -> Tensor:
    """Extend (..., H, W) below and to the right by reflection, however small it is."""
    return window_of(window_of(x, -2, 0, max(height, x.shape[-2])), -1, 0, max(width, x.shape[-1]))


def window_of(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Px [start, stop) of an axis: a view, or, beyond the picture, a copy filled by reflection."""
    extent = x.shape[axis]
    if start >= 0 and stop <= extent:
        return x.narrow(axis, start, stop - start)
    return x.index_select(axis, _reflected(start, stop, extent).to(x.device))


def _reflected(start: int, stop: int, extent: int) -> Tensor:
    """Which of ``extent`` px stand at [start, stop) when the row goes on as its mirror image."""
    period = max(2 * (extent - 1), 1)
    index = torch.arange(start, stop, device="cpu").remainder(period)
    return torch.minimum(index, period - index)
