"""Bicubic resizing in the MATLAB convention, differentiable, on any device.

The super-resolution field makes its low-resolution images with MATLAB's ``imresize``; other
libraries use another cubic, do not widen the kernel when shrinking, or treat edges otherwise, and
any of these changes the published figures.

An axis is resized by matrix products: the (output, input) matrix of an axis is a band, so it is cut
into blocks along the diagonal, made once a size and kept. The cost is linear in the axis.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from preproc.autocast import without_autocast
from preproc.errors import ImageError, ModelError

BICUBIC_REACH = 2
"""Px of the coarser of two pictures that a px of the other is made of, to each side."""

_CUBIC = -0.5  # Keys (1981); OpenCV uses -0.75
_SUPPORT = 2.0 * BICUBIC_REACH  # full width of the cubic in px
_BLOCK = 64  # px on a block's shorter side: less is hardly faster on a CPU, more is slower


class _Axis(NamedTuple):
    """How one axis changes: from ``extent`` px to ``out`` px by ``scale``."""

    extent: int
    out: int
    scale: float
    antialias: bool


def imresize(
    x: Tensor,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    antialias: bool = True,
) -> Tensor:
    """Resize the last two axes as MATLAB's ``imresize(x, scale, "bicubic")`` does.

    Cubic convolution with a = -0.5, the kernel widened by 1/scale when shrinking, edges mirrored
    (``dcba|abcd|dcba``), pixel centres aligned at half px. Differentiable in ``x``. A process
    forked once torch has computed must call ``torch.set_num_threads(1)`` first, or waits for ever.

    Args:
        x: float tensor (..., H, W) of any range.
        scale: output px per input px, one for both axes or (rows, columns); the output has
            ceil(H*scale) times ceil(W*scale) px.
        size: the output's (height, width) in px, in place of ``scale``.
        antialias: whether to widen the kernel when shrinking.

    Returns:
        (..., H', W') of ``x``'s dtype and device, computed in float32 or better, not clamped: the
        cubic overshoots at edges. Under ``torch.set_float32_matmul_precision("high")`` a GPU
        rounds to 11 bits on the way, up to an eighth of a uint8 level.

    Raises:
        ImageError: ``x`` is not a float tensor with at least one px.
        ModelError: not exactly one of ``scale`` and ``size``, or one that is not positive.
    """
    if not x.is_floating_point() or x.ndim < 2 or 0 in x.shape[-2:]:
        raise ImageError(
            "imresize takes a float tensor (..., H, W) with at least one px, but got "
            f"{x.dtype} of shape {tuple(x.shape)}."
        )
    rows, columns = _axes(x.shape[-2], x.shape[-1], scale, size, antialias)
    work = x if x.dtype in (torch.float32, torch.float64) else x.float()
    with without_autocast(x.device.type):
        # As MATLAB: the axis that shrinks most goes first, which is also the cheaper order.
        if columns.scale < rows.scale:
            work = _resize_rows(_resize_columns(work, columns), rows)
        else:
            work = _resize_columns(_resize_rows(work, rows), columns)
    return work.to(x.dtype)


def _axes(
    height: int,
    width: int,
    scale: float | tuple[float, float] | None,
    size: tuple[int, int] | None,
    antialias: bool,
) -> tuple[_Axis, _Axis]:
    if (scale is None) == (size is None):
        raise ModelError("imresize takes either a scale or a size; give exactly one of them.")
    if size is not None:
        if min(size) < 1:
            raise ModelError(f"imresize cannot make an image of {size[0]}x{size[1]} px.")
        return (
            _Axis(height, size[0], size[0] / height, antialias),
            _Axis(width, size[1], size[1] / width, antialias),
        )
    assert scale is not None
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    if not all(s > 0 and math.isfinite(s) for s in scales):
        raise ModelError(f"imresize needs a positive scale, but got {scale}.")
    # The tiny allowance keeps ceil(100 * 1.1) at 110 in spite of binary fractions.
    rows, columns = (
        _Axis(extent, math.ceil(extent * s - 1e-9), s, antialias)
        for extent, s in zip((height, width), scales, strict=True)
    )
    return rows, columns


def _resize_rows(x: Tensor, axis: _Axis) -> Tensor:
    if axis.scale == 1.0:
        return x
    blocks = _blocks(axis, x.dtype, x.device)
    return torch.cat([matrix @ x[..., reads, :] for reads, matrix in blocks], -2)


def _resize_columns(x: Tensor, axis: _Axis) -> Tensor:
    if axis.scale == 1.0:
        return x
    blocks = _blocks(axis, x.dtype, x.device)
    return torch.cat([x[..., reads] @ matrix.mT for reads, matrix in blocks], -1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the tables outlive this call, and autograd refuses inference tensors
def _blocks(axis: _Axis, dtype: torch.dtype, device: torch.device) -> list[tuple[slice, Tensor]]:
    """The px a block of output px reads, and its matrix (output px, px read), in order."""
    block = math.ceil(_BLOCK * max(1.0, axis.scale))
    blocks = []
    all_index, all_weight = _taps(axis)
    for first in range(0, axis.out, block):
        index, weight = (t[:, first : first + block] for t in (all_index, all_weight))
        start, stop = int(index.min()), int(index.max()) + 1
        matrix = weight.new_zeros(stop - start, index.shape[1])
        matrix.scatter_add_(0, index - start, weight)
        blocks.append((slice(start, stop), matrix.mT.contiguous().to(device, dtype)))
    return blocks


def _taps(axis: _Axis) -> tuple[Tensor, Tensor]:
    """Which px each output px reads, and by which weight: two tensors (taps, output px)."""
    shrink = min(axis.scale, 1.0) if axis.antialias else 1.0
    width = _SUPPORT / shrink
    counted = partial(torch.arange, dtype=torch.float64, device="cpu")
    centre = (counted(axis.out) + 0.5) / axis.scale - 0.5
    first = torch.floor(centre - width / 2) + 1
    position = first + counted(math.ceil(width) + 1).unsqueeze(1)
    weight = _cubic((centre - position) * shrink)
    # Mirror with the edge px repeated; the modulus serves images narrower than the kernel.
    index = position.long().remainder(2 * axis.extent)
    index = torch.where(index < axis.extent, index, 2 * axis.extent - 1 - index)
    return index, weight / weight.sum(0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel (1981, eq. 3 to 8), zero from two px on."""
    d = distance.abs()
    near = ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1
    far = _CUBIC * (((d - 5) * d + 8) * d - 4)
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
