"""Pillow's modes <-> arrays of grey, grey+alpha, RGB or RGB+alpha, there and back again.

A restored picture has to go back into the mode it came in, metadata included. Where the mode cannot
simply hold it, the choice is made here: palettes are chosen anew, black ink is kept, colour keys
become real alpha.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from preproc.box import Box
from preproc.errors import ImageError
from preproc.pictures.alpha import resized_plane
from preproc.pictures.metadata import resolution_of

_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La")
_MAX_FLOAT = 1.5 * 255  # resizing overshoots, but no further
_SAVED = ("icc_profile", "dpi")


def to_array(image: Image.Image) -> NDArray[Any]:
    """The samples of a picture of any mode, of at least 1x1 px.

    Modes ``I;16*`` and ``I`` (0 to 65535) give uint16, ``F`` (0 to 255, as Pillow converts to it)
    float32 in [0, 1], all others uint8. Colours are those of the file, without colour management,
    since the ICC profile goes along with the result.

    Returns:
        (H, W, C) with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).

    Raises:
        ImageError: an ``I`` image with values that are not 16-bit grey, an ``F`` image whose values
            are not 0 to 255, or a mode that Pillow itself cannot convert.
    """
    mode = image.mode
    if mode in _SIXTEEN:
        return np.array(image).astype(np.uint16)[..., None]
    if mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"A PIL image of mode I is read as 16-bit grey, but this one holds values from "
                f"{values.min()} to {values.max()}; scale them to 0..65535."
            )
        return values.astype(np.uint16)[..., None]
    if mode == "F":
        return _unit(np.asarray(image))[..., None]
    wanted = ("L" if mode in _GREY else "RGB") + ("A" if image.has_transparency_data else "")
    try:  # Pillow's conversion copies even where there is nothing to convert
        samples = np.array(image if mode == wanted else image.convert(wanted))
    except ValueError as error:
        raise ImageError(f"A PIL image of mode {mode} is not understood ({error}).") from error
    return np.atleast_3d(samples)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples of an ``F`` image, 0 to 255, in [0, 1]."""
    low, high = float(values.min()), float(values.max())
    # Other programs write 0 to 1, which would pass for a picture that is black all over.
    if 0 < high <= 1 or high > _MAX_FLOAT or low < 255 - _MAX_FLOAT:
        raise ImageError(
            f"A picture of mode F counts from 0 to 255, but this one holds values from {low:.4g} "
            f"to {high:.4g}; scale them, or pass an array in [0, 1]."
        )
    return values / np.float32(255)


def from_array(samples: NDArray[Any], like: Image.Image, part: Box | None = None) -> Image.Image:
    """A picture in another's mode and with its metadata.

    ``P`` and ``PA`` get a palette chosen for the result, without dithering; ``1`` is thresholded;
    ``CMYK`` keeps the black ink it had, as far as the colours allow. A transparent colour
    (``L`` and ``RGB`` images with a colour key) becomes an alpha channel, because restored colours
    would miss the key.

    Args:
        samples: as `to_array` gives them for ``like``, of any size.
        like: where mode and ``info`` come from: ICC profile, DPI, EXIF and the rest. Profile and
            DPI are also handed to Pillow's writers, some of which ignore ``info``.
        part: what the samples show of ``like``, if not all.
    """
    mode, size = like.mode, (samples.shape[1], samples.shape[0])
    if mode in _SIXTEEN:
        order = ">u2" if mode == "I;16B" else "=u2" if mode == "I;16N" else "<u2"
        image = Image.frombytes(mode, size, samples.astype(order).tobytes())
    elif mode == "I":
        image = Image.fromarray(samples[..., 0].astype(np.int32))
    elif mode == "F":
        image = Image.fromarray(samples[..., 0] * np.float32(255))
    else:
        plain = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
        image = _converted(plain, like, part)
    image.info = {**like.info, **image.info}
    if image.mode != "P":
        image.info.pop("transparency", None)
    # Pillow's own way to give a picture default options for save().
    image.encoderinfo = {key: image.info[key] for key in _SAVED if key in image.info}
    if resolution_of(image) is None:
        image.encoderinfo.pop("dpi", None)
    return image


def _converted(plain: Image.Image, like: Image.Image, part: Box | None) -> Image.Image:
    """An ``L``, ``LA``, ``RGB`` or ``RGBA`` image in the mode of ``like``."""
    if like.mode == "1" and plain.mode == "L":
        return plain.convert("1", dither=Image.Dither.NONE)
    if like.mode == "P":
        return _with_palette(plain, like)
    if like.mode == "PA":
        image = _with_palette(plain.convert("RGB"), like).convert("PA")
        image.putalpha(plain.getchannel("A"))
        return image
    if like.mode == "CMYK":
        black = torch.from_numpy(np.array(like.getchannel("K")))[None, None]
        return _separated(plain, resized_plane(black, plain.size[::-1], part)[0, 0].numpy())
    if "transparency" in like.info or plain.mode == like.mode:
        return plain
    return plain.convert(like.mode)


def _with_palette(plain: Image.Image, like: Image.Image) -> Image.Image:
    """An ``L``, ``LA``, ``RGB`` or ``RGBA`` image as ``P``, transparency stored as in ``like``."""
    colors = plain.convert("RGB")
    if plain.mode in ("L", "RGB"):
        return _quantized(colors, 256)
    alpha = plain.getchannel("A")
    if isinstance(like.info.get("transparency"), int):  # one entry is transparent, the rest opaque
        image = _quantized(colors, 255)
        image.putpalette(((image.getpalette() or []) + [0] * 768)[:768], "RGB")
        image.paste(255, mask=alpha.point([255 * (level < 128) for level in range(256)]))
        image.info["transparency"] = 255
        return image
    colors.putalpha(alpha)
    # The only quantizer of Pillow that heeds alpha; its palette cannot be replaced in place.
    indices = colors.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = _mean_colors(np.asarray(indices), np.asarray(colors))
    image = Image.frombytes("P", colors.size, indices.tobytes())
    image.putpalette(palette[:, :3].tobytes(), "RGB")
    image.info["transparency"] = palette[:, 3].tobytes()
    return image


def _mean_colors(indices: NDArray[Any], colors: NDArray[Any]) -> NDArray[Any]:
    """The palette (256, 4) that suits given indices best; the octree's own is off by up to 10."""
    index = indices.ravel()
    count = np.maximum(np.bincount(index, minlength=256), 1)
    bands = np.moveaxis(colors, -1, 0)
    sums = [np.bincount(index, band.ravel(), 256) for band in bands]
    palette = (np.stack(sums, -1) / count[:, None]).round().astype(np.uint8)
    for extreme in (0, 255):  # what mostly is black, white, hidden or opaque is so as a whole
        is_extreme = [np.bincount(index, band.ravel() == extreme, 256) for band in bands]
        palette[np.stack(is_extreme, -1) > count[:, None] / 2] = extreme
    return palette


def _quantized(rgb: Image.Image, colors: int) -> Image.Image:
    """The picture in its own best palette; not dithered, so that white paper stays clean."""
    return rgb.quantize(colors, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _separated(rgb: Image.Image, black: NDArray[np.uint8]) -> Image.Image:
    """RGB as CMYK with black ink of the same size, so far as no colour gets darker by it.

    Pillow's plain conversion prints black with three inks, which the ICC profile of the picture
    would show as another colour.
    """
    light = np.asarray(rgb.convert("RGB"), np.float32) / 255
    ink = black.astype(np.float32) / 255
    ink = np.minimum(ink, 1 - light.max(-1))[..., None]
    paper = np.maximum(1 - ink, 1e-6)
    inks = np.concatenate([np.where(ink < 1, 1 - light / paper, 0), ink], -1)
    return Image.frombytes(
        "CMYK", rgb.size, (inks.clip(0, 1) * 255).round().astype(np.uint8).tobytes()
    )
