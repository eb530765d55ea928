"""Samples as pictures store them (uint8, uint16, float) and as networks compute them (float32)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preproc.errors import ImageError

Pixels = NDArray[np.uint8]
"""A picture as an array (H, W, 3), RGB."""

PEAK = {torch.uint8: 255.0, torch.uint16: 65535.0}
"""The value that means white, for the integer dtypes."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights of Pillow's "L"


def require_rgb(img: object) -> None:
    """Make sure that something is `Pixels`, and not empty.

    Raises:
        ImageError: it is of another kind, dtype or shape.
    """
    if not isinstance(img, np.ndarray):
        got = f"a {type(img).__name__}"
    elif img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3 or 0 in img.shape:
        got = f"{img.dtype} of shape {img.shape}"
    else:
        return
    raise ImageError(
        f"Expected a uint8 RGB array (height, width, 3) of at least one px, but got {got}."
    )


def to_float(x: Tensor) -> Tensor:
    """Stored samples of any shape as float32 in [0, 1]."""
    return x.float() if x.is_floating_point() else x.to(torch.float32) / PEAK[x.dtype]


def from_float(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Float samples clamped to [0, 1], and rounded (never truncated) where ``dtype`` is integer."""
    x = x.clamp(0, 1)
    return x.to(dtype) if dtype.is_floating_point else (x * PEAK[dtype]).round().to(dtype)


def is_grey(rgb: Tensor) -> bool:
    """Whether (3, H, W) are three equal planes, which are grey however they are stored."""
    return len(rgb) == 3 and torch.equal(rgb[:2], rgb[1:])


def luma(rgb: Tensor) -> Tensor:
    """Grey of a float tensor (..., 3, H, W) as (..., 1, H, W): BT.601, so that grey stays grey."""
    weights = rgb.new_tensor(_LUMA).view(3, 1, 1)
    return (rgb * weights).sum(-3, keepdim=True)
