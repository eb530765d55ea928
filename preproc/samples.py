"""Samples as pictures store them (uint8, uint16, float) and as networks compute them (float32)."""

from __future__ import annotations

import torch
from torch import Tensor

PEAK = {torch.uint8: 255.0, torch.uint16: 65535.0}
"""The value that means white, for the integer dtypes."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights of Pillow's "L"


def to_float(x: Tensor) -> Tensor:
    """Stored samples of any shape as float32 in [0, 1]."""
    return x.float() if x.is_floating_point() else x.to(torch.float32) / PEAK[x.dtype]


def from_float(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Float samples clamped to [0, 1], and rounded (never truncated) where ``dtype`` is integer."""
    x = x.clamp(0, 1)
    return x.to(dtype) if dtype.is_floating_point else (x * PEAK[dtype]).round().to(dtype)


def luma(rgb: Tensor) -> Tensor:
    """Grey of a float tensor (..., 3, H, W) as (..., 1, H, W): BT.601, so that grey stays grey."""
    weights = rgb.new_tensor(_LUMA).view(3, 1, 1)
    return (rgb * weights).sum(-3, keepdim=True)
