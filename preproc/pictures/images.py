"""Every kind of picture as samples, and samples back as the same kind.

``decode`` gives a `Picture`: samples for the stage, and how to put enhanced samples back. Nothing
here knows what is done to them in between.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from preproc.box import Box
from preproc.errors import DepthWarning, ImageError, warn
from preproc.pictures import pil_modes, png16
from preproc.pictures.alpha import fill_hidden, resized_plane
from preproc.pictures.metadata import exif_of, metadata_of, without_ground
from preproc.pictures.opening import DAMAGE, Depth, open_picture
from preproc.pictures.rewriting import rewritten
from preproc.samples import from_float, luma, to_float

ChannelOrder: TypeAlias = Literal["rgb", "bgr"]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_NAMELESS = "The file in the bytes"
_OVERSHOOT = 0.5  # beyond [0, 1]: bicubic filters overshoot by less, forgotten scalings by more
_UPRIGHT = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}
"""How to turn an array upright, by EXIF orientation: swap its axes or not, then the steps along
rows and columns."""


@dataclass(frozen=True)
class Picture:
    """Samples of one picture, or of a batch of equal size, and the way back to their kind.

    Attributes:
        color: host tensor (N, C, H, W), C = 1 for grey and 3 for RGB, of dtype uint8, uint16 or
            float32 in [0, 1] (a little overshoot allowed).
        pack: takes (N, C, H', W') of the same C (or 3, where grey was stored as RGB) and dtype,
            float ones clamped to [0, 1], and gives what the user gets; brings along alpha and
            metadata. Of a part of the picture it also takes its box.
        alpha: opacity (N, 1, H, W) of the same dtype, or None where there is none; px that it
            hides have borrowed colours.
    """

    color: Tensor
    pack: Callable[..., Any]
    alpha: Tensor | None = None


def decode(img: object, channel_order: ChannelOrder = "rgb", *, upright: bool = True) -> Picture:
    """Read a picture of any kind.

    ====================================  =============================================
    in                                    out
    ====================================  =============================================
    PIL image of any mode                 PIL image, same mode and ``info``, upright (a
                                          transparent colour becomes an alpha channel)
    path (str or PathLike)                PIL image, as if opened with Pillow
    bytes of a file                       bytes in the same format; JPEG, WebP, AVIF and
                                          HEIC at q95
    array (H, W), (H, W, 1 to 4)          array; uint8, uint16 or float in [0, 1]
    tensor (C, H, W), (N, C, H, W)        tensor on the same device; the same dtypes
    ====================================  =============================================

    Samples of uint16 count from 0 to 65535: of a camera's 10 or 12 bits, scale them up first, else
    they pass for a picture that is almost black.

    Two channels are grey and alpha, four are RGB and alpha; RGB of three equal planes is taken as
    grey, and comes out with three equal planes. Alpha does not go through the network: it is
    resized by itself (bicubic), and px it hides take over the colour of visible neighbours, so that
    no hidden colour seeps into what is seen. Of files with more than 8 bits a colour all are kept
    for 16-bit grey, and for the bytes of any 16-bit PNG; else Pillow gives 8, and a `DepthWarning`
    says so. Bytes keep EXIF, XMP, ICC profile, DPI and a PNG's texts, as files of results do.

    Args:
        img: the picture.
        channel_order: of arrays and tensors; PIL images and files name their channels themselves.
        upright: whether a PIL image is turned as its EXIF says, as files always are; else it is
            taken as stored, and its orientation goes along.

    Raises:
        ImageError: not a picture, damaged, empty, or with values out of range.
    """
    match img:
        case Image.Image():
            return _from_pil(img, turn=upright)
        case str() if "://" in img and not os.path.exists(img):  # noqa: PTH110 - any length
            raise ImageError(f"URLs are not fetched, but {img} is one; pass its content as bytes.")
        case str() | os.PathLike():
            return _from_path(Path(img))
        case bytes() | bytearray() | memoryview():
            return _from_bytes(bytes(img))
        case np.ndarray():
            return _from_array(img, channel_order)
        case Tensor():
            return _from_tensor(img, channel_order)
    beside = "" if isinstance(img, list | tuple) else ", or a list of these"
    raise ImageError(
        f"A {type(img).__name__} is not a picture; pass a PIL image, a path, bytes, an array, a "
        f"tensor{beside}."
    )


def _from_array(array: NDArray[Any], channel_order: ChannelOrder = "rgb") -> Picture:
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
    _require_px(array.shape)
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


def _from_tensor(tensor: Tensor, channel_order: ChannelOrder) -> Picture:
    if tensor.ndim not in (3, 4) or not 1 <= tensor.shape[-3] <= 4:
        raise ImageError(
            "A tensor must be (C, H, W) or (N, C, H, W) with 1 to 4 channels, but got shape "
            f"{tuple(tensor.shape)}; pass channels-last data as a numpy array."
        )
    if tensor.dtype not in (torch.uint8, torch.uint16, *_FLOATS):
        raise ImageError(
            f"A tensor holds uint8, uint16 or float samples, but this one has {tensor.dtype}."
        )
    _require_px(tuple(tensor.shape))
    samples = tensor.detach().cpu()
    if samples.is_floating_point():
        samples = samples.float()

    def pack(result: Tensor, _: Box | None = None) -> Tensor:
        own = result.contiguous()  # planes that may be written to one by one
        return own.view(*tensor.shape[:-3], *result.shape[1:]).to(tensor.device, tensor.dtype)

    batch = samples if samples.ndim == 4 else samples[None]
    return _from_samples(batch, channel_order, pack)


def _from_samples(
    samples: Tensor, channel_order: ChannelOrder, pack: Callable[..., Any]
) -> Picture:
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
    # Three equal planes are grey, however they are stored; a network would tint them.
    grey = [planes == 3 and torch.equal(one[:2], one[1:]) for one in color]
    if all(grey):
        color = color[:, :1]

    def repack(result: Tensor, part: Box | None = None) -> object:
        if result.shape[1] != planes:
            result = result.expand(-1, planes, -1, -1)  # packing makes the only copy
        elif any(grey) and not all(grey):  # a batch with coloured ones, which share a tensor
            ones = zip(result, grey, strict=True)
            result = torch.stack([_in_grey(one) if is_grey else one for one, is_grey in ones])
        if channel_order == "bgr":
            result = result.flip(1)
        if has_alpha:
            result = torch.cat([result, resized_plane(alpha, result.shape[-2:], part)], 1)
        return pack(result, part)

    return Picture(color, repack, alpha if has_alpha else None)


def _from_pil(image: Image.Image, *, turn: bool = True) -> Picture:
    turned = upright(image) if turn else _load(image)
    _require_px(turned.size)
    picture = _from_array(pil_modes.to_array(turned))

    exif = exif_of(image)
    if turn:
        exif.pop(ExifTags.Base.Orientation, None)

    def pack(result: Tensor, part: Box | None = None) -> Image.Image:
        packed = pil_modes.from_array(picture.pack(result, part), turned, part)
        whole = packed.size == turned.size and part is None
        kept_exif = exif if whole else without_ground(exif)
        # A new image has no EXIF but what is in ``info``.
        if kept_exif and ("exif" not in image.info or kept_exif is not exif):
            packed.info["exif"] = kept_exif.tobytes()
        return packed

    return replace(picture, pack=pack)


def upright(image: Image.Image) -> Image.Image:
    """The image, loaded, turned as its EXIF says; damaged EXIF says nothing.

    Raises:
        ImageError: it is truncated or damaged.
    """
    _load(image)
    try:
        return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises many kinds on damaged EXIF; the pixels are good without it
        return image


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _load(image: Image.Image) -> Image.Image:
    """The same image, decoded in case it has only been opened."""
    try:
        image.load()
        return image
    except DAMAGE as error:
        raise ImageError(f"The PIL image is truncated or damaged ({error}).") from error


def _from_path(path: Path) -> Picture:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"There is no file {path}.") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a name with a zero byte
        raise ImageError(f"{str(path)!r} is not the name of a file ({error}).") from error
    image, depth = open_picture(io.BytesIO(data), str(path))
    _warn_of_depth(depth, str(path))
    return _from_pil(image)


def _from_bytes(data: bytes) -> Picture:
    image, depth = open_picture(io.BytesIO(data), _NAMELESS)
    if depth.reader == "png16":
        return _from_deep_png(data, image)
    _warn_of_depth(depth, _NAMELESS)
    picture = _from_pil(image)

    def pack(result: Tensor, part: Box | None = None) -> bytes:
        return rewritten(picture.pack(result, part), image)

    return replace(picture, pack=pack)


def _from_deep_png(data: bytes, image: Image.Image) -> Picture:
    """All 16 bits of a file that Pillow opened with 8."""
    samples, turned = png16.read(data), upright(image)
    if turned is not image:  # so is its EXIF data sound
        swapped, down, across = _UPRIGHT.get(_orientation(image), (False, 1, 1))
        samples = (samples.swapaxes(0, 1) if swapped else samples)[::down, ::across]
    if samples.shape[2] in (1, 3) and (key := png16.transparent_colour(data)) is not None:
        opaque = (samples != key).any(-1, keepdims=True)
        samples = np.concatenate([samples, opaque * np.uint16(65535)], -1)
    picture = _from_array(samples)

    def pack(result: Tensor, part: Box | None = None) -> bytes:
        packed = picture.pack(result, part)
        return png16.write(packed, metadata_of(turned, "PNG", packed.shape[1::-1]))

    return replace(picture, pack=pack)


def _warn_of_depth(depth: Depth, name: str) -> None:
    """Say so where Pillow cuts the depth of a file's colours."""
    if depth.reader == "Pillow":
        return
    way_out = "pass the bytes of a 16-bit PNG, or an array"
    if depth.reader == "png16":
        way_out = "pass the file's bytes"
    warn(
        f"{name} has {depth.bits} bits a colour, of which Pillow gives 8; to keep them, {way_out}.",
        DepthWarning,
    )


def _require_px(shape: tuple[int, ...]) -> None:
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


def _in_grey(rgb: Tensor) -> Tensor:
    """Colours (3, H, W) as three equal planes."""
    return from_float(luma(to_float(rgb)), rgb.dtype).expand_as(rgb)
