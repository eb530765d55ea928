"""Alpha: resized apart from the colours, as black ink is; colours it hides are replaced first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from preproc.box import Box
from preproc.resize import BICUBIC_REACH, imresize
from preproc.samples import from_float, to_float


def resized_plane(
    plane: Tensor, size: tuple[int, int] | torch.Size, part: Box | None = None
) -> Tensor:
    """Bicubic enlargement of a plane, clamped to the values near by so that edges get no halo.

    Args:
        plane: (N, 1, H, W), uint8, uint16 or float in [0, 1].
        size: (height, width) of the result in px: those of ``plane``, or of the part, times one
            whole number.
        part: what the result shows, if not all.

    Returns:
        (N, 1, height, width) of the same dtype.
    """
    height, width = plane.shape[-2:]
    part = part or Box(0, 0, width, height)
    scale = size[0] // part.height
    if scale == 1:
        own = plane[..., *part.slices()]
        return own.clamp(0, 1) if own.is_floating_point() else own
    around = part.grown(BICUBIC_REACH, height, width)
    values = to_float(plane[..., *around.slices()])
    highest, lowest = (
        F.max_pool2d(v, 2 * BICUBIC_REACH + 1, 1, BICUBIC_REACH)[..., None, :, None]
        for v in (values, -values)
    )
    resized = imresize(values, size=(scale * around.height, scale * around.width))
    # What is constant so stays exactly constant, too.
    resized.view(*values.shape[:-1], scale, around.width, scale).clamp_(-lowest, highest)
    return from_float(resized[..., *part.within(around, scale)], plane.dtype)


def fill_hidden(color: Tensor, alpha: Tensor) -> Tensor:
    """Replace the colours of fully transparent px by visible ones near by.

    Networks and resizing look at neighbours, so that hidden colours would show at the edges.

    Args:
        color: (N, C, H, W), uint8, uint16 or float in [0, 1].
        alpha: (N, 1, H, W) of the same dtype.

    Returns:
        As ``color``; pictures of which all px are visible, or none, as they are.
    """
    visible = to_float(alpha) > 0
    visible |= ~visible.any((1, 2, 3), keepdim=True)
    if visible.all():
        return color
    samples = to_float(color)
    filled = _pull(samples, visible.float())
    # Chosen in float, which is exact, since torch 2.9 cannot choose among uint16.
    return from_float(samples.where(visible, filled), color.dtype)


def _pull(color: Tensor, weight: Tensor) -> Tensor:
    """Fill in where ``weight`` is 0, by push-pull (Gortler et al., "The Lumigraph", 1996).

    Means over 2x2 px of what is known are filled in themselves, and fill in what is not.
    """
    if weight.amin() > 0 or weight.shape[-2:] == (1, 1):
        return color
    total = F.avg_pool2d(weight, 2, ceil_mode=True)
    mean = F.avg_pool2d(color * weight, 2, ceil_mode=True) / total.clamp(min=1e-6)
    coarse = _pull(mean, (total > 0).float())
    return color.where(weight > 0, F.interpolate(coarse, color.shape[-2:], mode="nearest"))
