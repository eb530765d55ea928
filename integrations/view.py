"""The picture as an engine gets to see it, and the way back to source pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from integrations.protocols import ArrayEnhancer, RgbArray
from preproc.errors import ImageError, ModelError
from preproc.images import decode
from preproc.samples import from_float, to_float


@dataclass(frozen=True)
class View:
    """An RGB picture that is ``scale`` times as large as its source.

    Attributes:
        rgb: (scale*H, scale*W, 3) uint8.
        scale: px of this view per source px; 1 for the source itself.
    """

    rgb: RgbArray
    scale: int


def look(image: object, enhancer: ArrayEnhancer | None) -> View:
    """Decode a picture of any kind once, and enhance it.

    Raises:
        ImageError: the input is no image, or a batch of several.
        ModelError: the enhancer's answer is not ``scale`` times as large as its input.
    """
    rgb = _rgb(image)
    if enhancer is None:
        return View(rgb, 1)
    scale = enhancer.scale
    height, width, _ = rgb.shape
    enhanced = enhancer(rgb)
    if enhanced.shape != (scale * height, scale * width, 3) or enhanced.dtype != rgb.dtype:
        raise ModelError(
            f"The enhancer says it has scale {scale}, but made {enhanced.shape} of "
            f"{enhanced.dtype} from {rgb.shape} of {rgb.dtype}; boxes could not be mapped back."
        )
    return View(enhanced, scale)


def _rgb(image: object) -> RgbArray:
    """One picture of any kind as 8-bit RGB; alpha is left out, grey is given three times."""
    color = decode(image).color
    if len(color) != 1:
        raise ImageError(f"This takes one picture at a time, but got a batch of {len(color)}.")
    samples = color if color.dtype == torch.uint8 else from_float(to_float(color), torch.uint8)
    # Copied, since engines need the usual memory layout, and may write where they read.
    return np.array(samples[0].expand(3, -1, -1).permute(1, 2, 0).numpy(), order="C")
