"""A picture as programs see it that know 8-bit RGB alone: engines, metrics and training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from preproc.pictures.picture import Picture
from preproc.samples import Pixels, from_float, to_float


def visible_rgb(picture: Picture) -> Pixels:
    """What is seen of a picture, as uint8 RGB (H, W, 3); of a batch, of the first.

    Grey is given three times. Transparent px lie on white, or on black where the visible colours
    are light.
    """
    color = picture.color
    if picture.alpha is not None:
        color = _on_ground(to_float(color), to_float(picture.alpha))
    samples = color if color.dtype == torch.uint8 else from_float(to_float(color), torch.uint8)
    # Copied, since engines need the usual memory layout, and may write where they read.
    return np.array(samples[0].expand(3, -1, -1).permute(1, 2, 0).numpy(), order="C")


def _on_ground(color: Tensor, alpha: Tensor) -> Tensor:
    """Lay transparent pixels on white, or on black where the visible colours are light.

    Text is often drawn on a transparent ground and would vanish otherwise. Both are float
    (1, C, H, W) in [0, 1].
    """
    if not alpha.any():
        return torch.ones_like(color)
    light = (color * alpha).sum() / (alpha.sum() * color.shape[1])
    ground = 0.0 if light > 0.5 else 1.0
    return color * alpha + ground * (1 - alpha)
