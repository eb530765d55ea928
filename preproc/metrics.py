"""PSNR and SSIM on the Y channel, under the protocols of both papers.

The papers' figures come from different definitions of Y, border and SSIM window, and differ by more
than many methods do; a figure means nothing without its `Protocol`. All arithmetic is float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from preproc.errors import ImageError
from preproc.samples import Pixels, require_rgb

Plane = NDArray[np.float64]

_PEAK = 255.0
_WINDOW = 11
_SIGMA = 1.5
_C1 = (0.01 * _PEAK) ** 2
_C2 = (0.03 * _PEAK) ** 2


@dataclass(frozen=True)
class Protocol:
    """How a paper turns two RGB images into PSNR and SSIM.

    Attributes:
        name: as users write it.
        luma: weights of R, G and B (each 0 to 255) in Y.
        offset: added to Y; cancels in PSNR, not in SSIM.
        border: px left out on each side, per unit of scale.
        window: ``valid`` leaves out the SSIM windows that do not fit into the image, ``symmetric``
            mirrors the image at its edges to fit them all.
        digits: decimals printed in the paper, of PSNR and of SSIM.
    """

    name: str
    luma: tuple[float, float, float]
    offset: float
    border: int
    window: Literal["valid", "symmetric"]
    digits: tuple[int, int]


CAJNN_PROTOCOL = Protocol(
    name="cajnn",
    luma=(65.481 / 255, 128.553 / 255, 24.966 / 255),
    offset=16.0,
    border=0,
    window="valid",
    digits=(2, 4),
)
"""CAJNN, Table I: MATLAB's ``rgb2ycbcr`` not rounded, no border; matches all its bicubic rows."""

CISRNET_PROTOCOL = Protocol(
    name="cisrnet",
    luma=(65.738 / 256, 129.057 / 256, 25.064 / 256),
    offset=0.0,
    border=1,
    window="symmetric",
    digits=(3, 3),
)
"""CISRNet, Table 1: ``calc_psnr`` and ``calc_ssim`` of its public code."""

PROTOCOLS = {p.name: p for p in (CAJNN_PROTOCOL, CISRNET_PROTOCOL)}


def y_channel(img: Pixels, protocol: Protocol = CAJNN_PROTOCOL) -> Plane:
    """Y of an RGB image, (H, W, 3) uint8 to (H, W) float64 of about 0 to 255, not rounded.

    Raises:
        ImageError: another kind, dtype or shape.
    """
    require_rgb(img)
    return np.asarray(img @ np.array(protocol.luma) + protocol.offset, dtype=np.float64)


def psnr(
    restored: Pixels, reference: Pixels, protocol: Protocol = CAJNN_PROTOCOL, scale: int = 4
) -> float:
    """Peak signal-to-noise ratio of Y in dB, infinite for identical images.

    Args:
        restored: uint8 RGB (H, W, 3).
        reference: the same shape.
        protocol: which paper's definition.
        scale: HR px per LR px of the task; only the border depends on it.

    Raises:
        ImageError: other kinds or dtypes, unequal shapes, or nothing left inside the border.
    """
    x, y = _planes(restored, reference, protocol, scale)
    error = float(np.mean((x - y) ** 2))
    return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def ssim(
    restored: Pixels, reference: Pixels, protocol: Protocol = CAJNN_PROTOCOL, scale: int = 4
) -> float:
    """Structural similarity of Y (Wang et al., 2004), 1 for identical images.

    Gaussian window of 11 px with sigma 1.5, K1 = 0.01, K2 = 0.03; arguments as for `psnr`.

    Raises:
        ImageError: as `psnr`, or less than 11 px a side where the protocol wants whole windows.
    """
    x, y = _planes(restored, reference, protocol, scale)
    if protocol.window == "valid" and min(x.shape) < _WINDOW:
        raise ImageError(
            f"SSIM by the {protocol.name} protocol needs at least {_WINDOW} px a side, but the "
            f"image has {x.shape[1]}x{x.shape[0]}."
        )

    def smooth(plane: Plane) -> Plane:
        if protocol.window == "symmetric":
            plane = np.pad(plane, _WINDOW // 2, mode="symmetric")
        return _gaussian_rows(_gaussian_rows(plane).T).T

    mean_x, mean_y = smooth(x), smooth(y)
    product = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    variances = smooth(x**2 + y**2) - squares
    covariance = smooth(x * y) - product
    likeness = (2 * product + _C1) * (2 * covariance + _C2)
    return float(np.mean(likeness / ((squares + _C1) * (variances + _C2))))


def _planes(
    restored: Pixels, reference: Pixels, protocol: Protocol, scale: int
) -> tuple[Plane, Plane]:
    x, y = y_channel(restored, protocol), y_channel(reference, protocol)
    if restored.shape != reference.shape:
        raise ImageError(
            f"Cannot compare a restored image of shape {restored.shape} with a reference of "
            f"shape {reference.shape}."
        )
    border = protocol.border * scale
    height, width = x.shape
    if min(height, width) <= 2 * border:
        raise ImageError(
            f"An image of {width}x{height} px has nothing left inside a border of {border} px."
        )
    inside = (slice(border, height - border), slice(border, width - border))
    return x[inside], y[inside]


def _gaussian_rows(plane: Plane) -> Plane:
    """Weighted mean of every 11 neighbouring rows: (H, W) to (H - 10, W)."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    rows = plane.shape[0] - _WINDOW + 1
    result: Plane = weights[_WINDOW // 2] * plane[_WINDOW // 2 :][:rows]
    for i in range(_WINDOW // 2):  # the window is even, so its two sides share a product
        result += weights[i] * (plane[i:][:rows] + plane[_WINDOW - 1 - i :][:rows])
    return result
