"""Arrays and tensors as samples, and samples as the same again; alpha goes around the network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preproc.box import Box
from preproc.errors import ImageError
from preproc.pictures.alpha import fill_hidden, resized_plane
from preproc.pictures.picture import ChannelOrder, Pack, Picture
from preproc.samples import is_grey

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_OVERSHOOT = 0.5  # beyond [0, 1]: bicubic filters overshoot by less, forgotten scalings by more


def from_array(array: NDArray[Any], channel_order: ChannelOrder = "rgb") -> Picture:
    """An array (H, W) or (H, W, C), uint8, uint16 or float in [0, 1].

    Raises:
        ImageError: it is not, or is empty.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        raise ImageError(
            f"An array must be (H, W) or (H, W, channels) with 1 to 4 channels, but got shape "
            f"{array.shape}; pass channels-first data as a tensor, and several pictures as a list."
        )
    native_dtype = array.dtype.newbyteorder("=")
    if native_dtype not in (np.uint8, np.uint16) and native_dtype.kind != "f":
        raise ImageError(
            f"An array must hold uint8, uint16 or float samples, but this one has {array.dtype}."
        )
    require_px(array.shape)
    native = np.require(array, native_dtype, ["C", "W"])
    if min(native.strides) < 0:  # of a flipped side of 1 px, which passes for contiguous
        native = native.copy()
    if native.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is reported as out of range
            native = native.astype(np.float32, copy=False)
    samples = torch.from_numpy(np.atleast_3d(native)).permute(2, 0, 1)

    def pack(result: Tensor, _: Box | None = None) -> NDArray[Any]:
        packed = result[0].permute(1, 2, 0).contiguous().numpy().astype(array.dtype, copy=False)
        return packed if array.ndim == 3 else packed[..., 0]

    return _from_samples(samples[None], channel_order, pack)


def from_tensor(tensor: Tensor, channel_order: ChannelOrder) -> Picture:
    """A tensor (C, H, W) or (N, C, H, W) on any device, uint8, uint16 or float in [0, 1].

    Raises:
        ImageError: it is not, or is empty.
    """
    if tensor.ndim not in (3, 4) or not 1 <= tensor.shape[-3] <= 4:
        raise ImageError(
            "A tensor must be (C, H, W) or (N, C, H, W) with 1 to 4 channels, but got shape "
            f"{tuple(tensor.shape)}; pass channels-last data as a numpy array."
        )
    if tensor.dtype not in (torch.uint8, torch.uint16, *_FLOATS):
        raise ImageError(
            f"A tensor holds uint8, uint16 or float samples, but this one has {tensor.dtype}."
        )
    if tensor.layout != torch.strided or tensor.is_meta:
        kind = "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
        raise ImageError(f"A {kind} tensor holds no samples that can be read; pass a dense one.")
    require_px(tuple(tensor.shape))
    samples = tensor.detach().cpu()
    if samples.is_floating_point():
        samples = samples.float()

    def pack(result: Tensor, _: Box | None = None) -> Tensor:
        own = result.contiguous()  # planes that may be written to one by one
        return own.view(*tensor.shape[:-3], *result.shape[1:]).to(tensor.device, tensor.dtype)

    batch = samples if samples.ndim == 4 else samples[None]
    return _from_samples(batch, channel_order, pack)


def _from_samples(samples: Tensor, channel_order: ChannelOrder, pack: Pack) -> Picture:
    """Check (N, C, H, W) samples; take alpha off them, and put it back before they are packed."""
    if samples.is_floating_point():
        _require_range(samples)
    channels = samples.shape[1]
    has_alpha = channels in (2, 4)
    color, alpha = samples[:, : channels - has_alpha], samples[:, channels - has_alpha :]
    if channel_order == "bgr":
        color = color.flip(1)
    if has_alpha:
        color = fill_hidden(color, alpha)
    planes = color.shape[1]
    if all(is_grey(one) for one in color):  # a network would tint it
        color = color[:, :1]

    def repack(result: Tensor, part: Box | None = None) -> object:
        if result.shape[1] != planes:
            result = result.expand(-1, planes, -1, -1)  # packing makes the only copy
        if channel_order == "bgr":
            result = result.flip(1)
        if has_alpha:
            result = torch.cat([result, resized_plane(alpha, result.shape[-2:], part)], 1)
        return pack(result, part)

    return Picture(color, repack, alpha if has_alpha else None)


def require_px(shape: tuple[int, ...]) -> None:
    """Refuse a picture with a side of 0 px."""
    if 0 in shape:
        raise ImageError(f"A picture of shape {shape} has no px; pass one of at least 1x1.")


def _require_range(samples: Tensor) -> None:
    low, high = (float(v) for v in samples.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):  # aminmax passes NaN on
        raise ImageError("The picture holds NaN or infinite values; float samples lie in [0, 1].")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        way_out = "divide by their peak (255 for 8 bits), or pass integers"
        if low < -_OVERSHOOT:
            way_out = "if they were normalised, enhance before that"
        raise ImageError(
            f"Float samples lie in [0, 1], but these reach from {low:.4g} to {high:.4g}; {way_out}."
        )
