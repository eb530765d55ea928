"""Degradations of pictures: bicubic reduction, blur and lossy compression.

Every function takes and returns uint8 arrays (H, W, 3), RGB, and leaves its input alone. Resizing
is MATLAB's (`preproc.resize`) where it is bicubic, coding is Pillow's libjpeg-turbo and libwebp.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from preproc.errors import ImageError, OptionError
from preproc.resize import imresize
from preproc.samples import Pixels, require_rgb

MCU = 16
"""Side in px of 4:2:0 JPEG's minimum coded unit; its grid repeats with this period."""

SUBSAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")
"""Chroma layouts, the usual one first."""

USUAL_KERNEL = "bicubic"
KERNELS = {
    USUAL_KERNEL: Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
"""How px are averaged in a reduction, always antialiased, and what Pillow calls it."""


def mod_crop(img: Pixels, multiple: int) -> Pixels:
    """Cut px off the bottom and right until both sides are multiples of ``multiple``.

    Raises:
        ImageError: a side is shorter than ``multiple``.
        OptionError: that is not 1 or more.
    """
    require_rgb(img)
    if multiple < 1:
        raise OptionError(f"An image is cut to multiples of 1 or more, but got {multiple!r}.")
    height, width = (side - side % multiple for side in img.shape[:2])
    if not (height and width):
        raise ImageError(
            f"An image of {img.shape[1]}x{img.shape[0]} px is too small to be cut to multiples "
            f"of {multiple}."
        )
    return img[:height, :width]


def bicubic_down(img: Pixels, scale: float) -> Pixels:
    """Reduce both sides by ``scale`` with MATLAB's antialiased bicubic on uint8.

    Raises:
        ImageError: the image is none.
        OptionError: the scale is not above 0.
    """
    _check_scale(scale)
    return _resized(img, 1 / scale, 1 / scale)


def reduce(img: Pixels, scale: int, kernel: str = USUAL_KERNEL) -> Pixels:
    """Reduce both sides by ``scale`` as training data are: bicubic is MATLAB's, the rest Pillow's.

    Args:
        img: uint8 (H, W, 3).
        scale: px per px of the result.
        kernel: one of `KERNELS`.

    Returns:
        uint8 (ceil(H / scale), ceil(W / scale), 3).

    Raises:
        ImageError: the image is none.
        OptionError: the scale is not above 0, or there is no such kernel.
    """
    if kernel == USUAL_KERNEL:
        return bicubic_down(img, scale)
    if kernel not in KERNELS:
        raise OptionError(f"A kernel is one of {', '.join(KERNELS)}, but got {kernel!r}.")
    _check_scale(scale)
    require_rgb(img)
    size = (math.ceil(img.shape[1] / scale), math.ceil(img.shape[0] / scale))
    return np.array(Image.fromarray(img).resize(size, KERNELS[kernel]))


def bicubic_up(img: Pixels, scale: float) -> Pixels:
    """Enlarge both sides by ``scale`` with MATLAB's bicubic on uint8.

    Raises:
        ImageError: the image is none.
        OptionError: the scale is not above 0.
    """
    return _resized(img, scale, scale)


def jpeg(img: Pixels, quality: int, subsampling: str = "4:2:0") -> Pixels:
    """Save as JPEG and read back.

    The 8-px grid (16 px for subsampled chroma) starts at the array's corner. A crop has its grid
    where its picture had it if it was cut at a multiple of `MCU`, with `MCU` px to spare around
    what will be used.

    Args:
        img: uint8 (H, W, 3).
        quality: 1 to 100, IJG scale.
        subsampling: one of `SUBSAMPLINGS`.

    Raises:
        ImageError: the image is none.
        OptionError: there is no such quality or chroma.
    """
    if quality not in range(1, 101):
        raise OptionError(f"JPEG quality is a whole number from 1 to 100, but got {quality!r}.")
    if subsampling not in SUBSAMPLINGS:
        raise OptionError(
            f"JPEG chroma must be one of {', '.join(SUBSAMPLINGS)}, but got {subsampling!r}."
        )
    return _coded(img, "JPEG", int(quality), subsampling=subsampling)


def double_jpeg(
    img: Pixels,
    first: int,
    second: int,
    subsampling: str = "4:2:0",
    shift: tuple[int, int] = (0, 0),
) -> Pixels:
    """Save as JPEG twice, as a picture that was posted again.

    Args:
        img: uint8 (H, W, 3).
        first: quality of the first pass.
        second: quality of the second pass, whose grid starts at the array's corner.
        subsampling: one of `SUBSAMPLINGS`, of both passes.
        shift: offset (down, right) in px of the second pass's grid against the first's, as after a
            crop in between.

    Raises:
        ImageError: the image is none.
        OptionError: as `jpeg`, or the shift is negative.
    """
    require_rgb(img)
    down, right = shift
    if min(shift) < 0:
        raise OptionError(f"A shift is 0 px or more, down and right, but got {shift}.")
    moved = np.pad(img, ((down, 0), (right, 0), (0, 0)), mode="edge")
    once = jpeg(moved, first, subsampling)[down:, right:]
    return jpeg(once, second, subsampling)


def resave(
    img: Pixels, factor: float, first: int, second: int, subsampling: str = "4:2:0"
) -> Pixels:
    """Save as JPEG at another size, resize to this one, and save again.

    Args:
        img: uint8 (H, W, 3).
        factor: size of the first file's sides relative to ``img``; above 1 the first pass's grid
            comes back smaller than 8 px, below 1 larger.
        first: quality of the first pass.
        second: quality of the second pass.
        subsampling: one of `SUBSAMPLINGS`, of both passes.

    Raises:
        ImageError: the image is none.
        OptionError: as `jpeg`, or the factor is not above 0.
    """
    require_rgb(img)
    height, width = img.shape[:2]
    other = jpeg(_resized(img, factor, factor), first, subsampling)
    back = _resized(other, height / other.shape[0], width / other.shape[1])
    return jpeg(back, second, subsampling)


def webp(img: Pixels, quality: int) -> Pixels:
    """Save as lossy WebP (always 4:2:0) at ``quality`` 0 to 100 and read back.

    Raises:
        ImageError: the image is none.
        OptionError: there is no such quality.
    """
    if quality not in range(101):
        raise OptionError(f"WebP quality is a whole number from 0 to 100, but got {quality!r}.")
    return _coded(img, "WEBP", quality)


def blur(img: Pixels, sigma: float) -> Pixels:
    """Gaussian blur with a standard deviation of ``sigma`` px, 0 or more.

    Raises:
        ImageError: the image is none.
        OptionError: ``sigma`` is not such a number.
    """
    if not 0 <= sigma < math.inf:
        raise OptionError(f"An image is blurred by 0 px or more, but got {sigma!r}.")
    require_rgb(img)
    return np.array(Image.fromarray(img).filter(ImageFilter.GaussianBlur(sigma)))


def _resized(img: Pixels, rows: float, columns: float) -> Pixels:
    """MATLAB's ``imresize`` of a uint8 image: rows first, each pass rounded to uint8."""
    require_rgb(img)
    # float64, as MATLAB: by factors such as 0.7, float32 would round some px the other way.
    planes = torch.from_numpy(img.transpose(2, 0, 1).copy()).double()
    for scale in ((rows, 1.0), (1.0, columns)):
        planes = imresize(planes, scale).add_(0.5).floor_().clamp_(0, 255)
    return np.ascontiguousarray(planes.to(torch.uint8).numpy().transpose(1, 2, 0))


def _coded(img: Pixels, kind: str, quality: int, **options: Any) -> Pixels:  # noqa: ANN401 - Pillow's
    require_rgb(img)
    with io.BytesIO() as file:
        Image.fromarray(img).save(file, kind, quality=quality, **options)
        with Image.open(file) as coded:
            return np.array(coded.convert("RGB"))


def _check_scale(scale: float) -> None:
    if not scale > 0:
        raise OptionError(f"An image is reduced by a scale above 0, but got {scale!r}.")
