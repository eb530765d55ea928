"""Bicubic resizing in the MATLAB convention, differentiable, on any device.

The super-resolution field makes its low-resolution images with MATLAB's ``imresize``; other
libraries use another cubic, do not widen the kernel when shrinking, or treat edges otherwise, and
any of these changes the published figures.

An axis is resized by matrix products: the (output, input) matrix of an axis is a band, so it is cut
into blocks along the diagonal, made once a size and kept. The cost is linear in the axis.
"""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Real
from operator import index
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preproc.autocast import without_autocast
from preproc.errors import ImageError, OptionError

BICUBIC_REACH = 2
"""How far bicubic reads to each side, in px of the coarser of the two pictures."""

_CUBIC = -0.5  # Keys (1981); OpenCV uses -0.75
_SUPPORT = 2.0 * BICUBIC_REACH  # full width of the cubic in px
_LARGEST_SCALE = 10_000  # a kernel that is widened by more needs too much memory
_BLOCK = 64  # px on a block's shorter side: less is hardly faster on a CPU, more is slower


class _Axis(NamedTuple):
    """How one axis changes: from ``extent`` px to ``out`` px by ``scale``."""

    extent: int
    out: int
    scale: float


def imresize(
    x: Tensor,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Resize the last two axes as MATLAB's ``imresize(x, scale, "bicubic")`` does.

    Cubic convolution with a = -0.5, the kernel widened by 1/scale when shrinking, edges mirrored
    (``dcba|abcd|dcba``), pixel centres aligned at half px. Differentiable in ``x``. A process that
    is forked after torch has computed must call ``torch.set_num_threads(1)`` first, or waits for
    ever.

    Args:
        x: float tensor (..., H, W) of any range.
        scale: output px per input px, one for both axes or (rows, columns); the output has
            ceil(H*scale) times ceil(W*scale) px.
        size: the output's (height, width) in px, in place of ``scale``.

    Returns:
        (..., H', W') of ``x``'s dtype and device, computed in float32 or better, not clamped: the
        cubic overshoots at edges. Where the size stays the same, it is ``x`` itself,
        not a copy, unless that is float16 or bfloat16.
        Under ``torch.set_float32_matmul_precision("high")`` a GPU rounds to 11 bits on the way, up
        to an eighth of a uint8 level.

    Raises:
        ImageError: ``x`` is not a float tensor with at least one px.
        OptionError: not exactly one of ``scale`` and ``size``, a scale that is not a number from
            1/10,000 to 10,000, or a size that is not two whole numbers from 1 on.
    """
    if not isinstance(x, Tensor):
        raise ImageError(
            f"imresize takes a float tensor (..., H, W), but got a {type(x).__name__}; "
            "torch.from_numpy makes a tensor of an array."
        )
    if not x.is_floating_point() or x.ndim < 2 or 0 in x.shape[-2:]:
        raise ImageError(
            "imresize takes a float tensor (..., H, W) with at least one px, but got "
            f"{x.dtype} of shape {tuple(x.shape)}."
        )
    rows, columns = _axes(index(x.shape[-2]), index(x.shape[-1]), scale, size)
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
) -> tuple[_Axis, _Axis]:
    if (scale is None) == (size is None):
        raise OptionError("imresize takes either a scale or a size; give exactly one of them.")
    if size is not None:
        try:
            out_height, out_width = map(index, size)
        except (TypeError, ValueError):
            raise OptionError(
                f"imresize needs a size (height, width) of whole px, but got {size!r}."
            ) from None
        if min(out_height, out_width) < 1:
            raise OptionError(f"imresize cannot make an image of {out_height}x{out_width} px.")
        return (
            _Axis(height, out_height, out_height / height),
            _Axis(width, out_width, out_width / width),
        )
    assert scale is not None
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    if len(scales) != 2 or not all(map(_is_scale, scales)):
        raise OptionError(
            f"imresize needs a positive scale, or two (rows, columns), of 1/{_LARGEST_SCALE:,} to "
            f"{_LARGEST_SCALE:,}, but got {scale!r}."
        )
    # The tiny allowance keeps ceil(100 * 1.1) at 110 in spite of binary fractions.
    rows, columns = (
        _Axis(extent, math.ceil(extent * float(s) - 1e-9), float(s))
        for extent, s in zip((height, width), scales, strict=True)
    )
    return rows, columns


def _is_scale(value: object) -> bool:
    return isinstance(value, Real) and 1 / _LARGEST_SCALE <= float(value) <= _LARGEST_SCALE


def _resize_rows(x: Tensor, axis: _Axis) -> Tensor:
    if axis.scale == 1.0:
        return x
    blocks = _blocks(*axis, x.dtype, x.device)
    return torch.cat([matrix @ x[..., reads, :] for reads, matrix in blocks], -2)


def _resize_columns(x: Tensor, axis: _Axis) -> Tensor:
    if axis.scale == 1.0:
        return x
    blocks = _blocks(*axis, x.dtype, x.device)
    return torch.cat([x[..., reads] @ matrix.mT for reads, matrix in blocks], -1)


def _blocks(
    extent: int, out: int, scale: float, dtype: torch.dtype, device: torch.device
) -> list[tuple[slice, Tensor]]:
    """The px a block of output px reads, and its matrix (output px, px read), in order."""
    # What is made while an exporter looks on belongs to its graph, and must not be kept.
    find = _made_blocks if torch.compiler.is_compiling() else _kept_blocks
    return find(_Axis(extent, out, scale), dtype, device)


# As torch.compiler.assume_constant_result does, but that imports the compiler, which takes seconds.
_blocks._dynamo_marked_constant = True  # type: ignore[attr-defined]


@torch.inference_mode(False)  # the tables outlive this call, and autograd refuses inference tensors
def _made_blocks(
    axis: _Axis, dtype: torch.dtype, device: torch.device
) -> list[tuple[slice, Tensor]]:
    # In numpy, where no compiler or exporter asks for the values of its tensors.
    size = math.ceil(_BLOCK * max(1.0, axis.scale))
    all_read, all_weight = _taps(axis)
    values = np.float64 if dtype == torch.float64 else np.float32
    different: dict[object, Tensor] = {}  # inside a picture, whole scales repeat one matrix
    blocks = []
    for first in range(0, axis.out, size):
        part = slice(first, first + size)
        read, weight = all_read[:, part], all_weight[:, part]
        start, stop = int(read.min()), int(read.max()) + 1
        matrix = np.zeros((read.shape[1], stop - start))
        np.add.at(matrix, (np.arange(read.shape[1]), read - start), weight)
        table = matrix.astype(values)
        key = table.shape, table.tobytes()
        if key not in different:
            different[key] = torch.from_numpy(table).to(device)
        blocks.append((slice(start, stop), different[key]))
    return blocks


_kept_blocks = lru_cache(maxsize=64)(_made_blocks)


def _taps(axis: _Axis) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which px each output px reads, and by which weight: two arrays (taps, output px)."""
    shrink = min(axis.scale, 1.0)
    width = _SUPPORT / shrink
    centre = (np.arange(axis.out) + 0.5) / axis.scale - 0.5
    first = np.floor(centre - width / 2) + 1
    position = first + np.arange(math.ceil(width) + 1)[:, None]
    weight = _cubic((centre - position) * shrink)
    # Mirror with the edge px repeated; the modulus serves images narrower than the kernel.
    read = position.astype(np.int64) % (2 * axis.extent)
    read = np.where(read < axis.extent, read, 2 * axis.extent - 1 - read)
    return read, weight / weight.sum(0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel (1981, eq. 3 to 8), zero from two px on."""
    d = np.abs(distance)
    near = ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1
    far = _CUBIC * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
