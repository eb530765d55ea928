"""PIL images and files, which Pillow opens, as samples, and samples as the same kind again."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from preproc.box import Box
from preproc.errors import DepthWarning, ImageError, warn
from preproc.pictures import pil_modes, png16
from preproc.pictures.arrays import from_array, require_px
from preproc.pictures.metadata import exif_of, is_exif_edited, metadata_of, without_ground
from preproc.pictures.opening import DAMAGE, Depth, has_deep_key, open_picture, with_alpha
from preproc.pictures.picture import Picture
from preproc.pictures.rewriting import rewritten

_NAMELESS = "The file in the bytes"
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


def from_pil(image: Image.Image, *, turn: bool = True) -> Picture:
    """An image of any mode, turned as its EXIF says unless ``turn`` is off.

    Raises:
        ImageError: it is truncated, damaged or empty.
    """
    turned = upright(image) if turn else _load(image)
    require_px(turned.size)
    if has_deep_key(turned):
        warn(
            f"A PIL image of mode {turned.mode} with a transparent grey becomes one of mode LA, "
            "with 8 bits, since Pillow has none of 16 bits with alpha; to keep them, pass the "
            "file's bytes.",
            DepthWarning,
        )
        turned = with_alpha(turned)
    picture = from_array(pil_modes.to_array(turned))

    exif, is_edited = exif_of(image), is_exif_edited(image)
    if turn:
        exif.pop(ExifTags.Base.Orientation, None)

    def pack(result: Tensor, part: Box | None = None) -> Image.Image:
        packed = pil_modes.from_array(picture.pack(result, part), turned, part)
        whole = packed.size == turned.size and part is None
        kept_exif = exif if whole else without_ground(exif)
        # A new image has no EXIF but what is in ``info``; where nothing changed, that stays.
        if is_edited or "exif" not in image.info or kept_exif is not exif:
            packed.info.pop("exif", None)
            if kept_exif:
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


def from_path(path: Path) -> Picture:
    """The image that is in a file; comes back as a PIL image.

    Raises:
        ImageError: there is no such file, it cannot be read, or it is not a picture.
    """
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
    return from_pil(image)


def from_bytes(data: bytes) -> Picture:
    """The content of a file; comes back as that of one in the same format.

    Raises:
        ImageError: it is not a picture; from packing, the format cannot hold the result.
    """
    image, depth = open_picture(io.BytesIO(data), _NAMELESS)
    if depth.reader == "png16":
        return _from_deep_png(data, image)
    _warn_of_depth(depth, _NAMELESS)
    picture = from_pil(image)

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
    picture = from_array(samples)

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
