"""Linear blending of the network's output with plain bicubic enlargement.

A network trained for the least mean error smooths details that it is unsure of, and a detector may
need them. Plain bicubic keeps them, compression artifacts included. A weighted mean of the two can
serve a detector better than either.
"""

from __future__ import annotations

from torch import Tensor

from preproc.execution.tiling import spans
from preproc.resize import BICUBIC_REACH, imresize
from preproc.samples import from_float, to_float

_BAND_PIXELS = 2**15  # of the picture at a time, so that its enlargement in float is never whole


def blend(enhanced: Tensor, picture: Tensor, strength: float) -> Tensor:
    """Mix an enhanced picture with the plain one, in its own memory.

    Args:
        enhanced: (N, C, s*H, s*W), uint8, uint16 or float in [0, 1]; overwritten.
        picture: (N, C, H, W) of the same dtype. It is enlarged by bicubic in the MATLAB
            convention, or taken as it is where s is 1.
        strength: weight of the enhanced one, in [0, 1].

    Returns:
        ``enhanced``.
    """
    count, _, height, width = picture.shape
    scale = enhanced.shape[-1] // width
    rows = max(1, _BAND_PIXELS // (count * width))
    for band in spans(height, rows, BICUBIC_REACH):
        plain = imresize(to_float(picture[..., band.window, :]), scale)
        place = enhanced[..., band.place(scale), :]
        mixed = plain[..., band.core(scale), :].lerp(to_float(place), strength)
        place.copy_(from_float(mixed, place.dtype))
    return enhanced
