"""Metadata of pictures: EXIF, XMP, ICC profile, DPI, PNG's colorimetry and texts."""

from __future__ import annotations

import math
import re
import struct
from typing import Any, SupportsFloat

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from preproc.errors import MetadataWarning, warn

_OF_THE_FILE = {
    ExifTags.Base.XMLPacket,  # may repeat the orientation
    ExifTags.Base.InterColorProfile,
    *range(254, 260),  # from NewSubfileType over the size to Compression
    *(262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347),
    *range(512, 522),
    *range(529, 533),
}
"""EXIF tags that describe the layout of the file they came from, or that are kept elsewhere."""

_NOT_FOR_LIBTIFF = {282, 283, 296, 297, 321}
"""Resolution, which is the DPI and may be none, and pairs that Pillow hands to it wrongly."""

_GROUND = {33550, 33922, 34264, 34735, 34736, 34737}
"""GeoTIFF's tags: which px lies where on the ground."""

_NESTED = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop}
"""EXIF tags whose values are tags."""

_XMP_ORIENTATION = re.compile(
    rb"""(?<!\s)\s+tiff:Orientation\s*=\s*(["'])[^"']*\1|<tiff:Orientation>[^<]*</tiff:Orientation>"""
)
"""A match starts only at the first character of a run of white space: trying each took seconds."""
_HIGHEST_DPI = 2**16 - 1  # JPEG's; PNG holds more, and no printer has more
_LONGEST_JPEG_EXIF = 65533
_LONGEST_JPEG_XMP = 65533 - len(b"http://ns.adobe.com/xap/1.0/\0")
_PNG_XMP = "XML:com.adobe.xmp"
_NO_TEXTS = (_PNG_XMP, "Raw profile type ", "compression")
"""Strings in Pillow's ``info`` that are not texts: XMP, EXIF in the old way, and one of TIFF's."""


def exif_of(image: Image.Image) -> Image.Exif:
    """A copy of a loaded image's EXIF data, wherever Pillow keeps it; empty if it is damaged.

    Tags that describe the layout of the image's file are left out, since in another file they would
    be wrong; the orientation stays.
    """
    exif = Image.Exif()
    try:
        exif.load(image.getexif().tobytes())
    except Exception:  # Pillow raises many kinds; the pixels are good without it
        return Image.Exif()
    for tag in _OF_THE_FILE:
        exif.pop(tag, None)
    return exif


def is_exif_edited(image: Image.Image) -> bool:
    """Whether a loaded image's EXIF data was changed since it was read from ``info``."""
    stored = Image.Exif()
    try:
        stored.load(image.info["exif"])
        return image.getexif().tobytes() != stored.tobytes()
    except Exception:  # Pillow raises many kinds on what is damaged, and not only on that
        return False


def without_ground(exif: Image.Exif) -> Image.Exif:
    """EXIF data for a picture of another size, without GeoTIFF's tags.

    If there are any, a `MetadataWarning` says so.
    """
    if exif.keys().isdisjoint(_GROUND):
        return exif
    _warn("GeoTIFF's tags are left out, because they count the original's px.")
    other = Image.Exif()
    other.load(exif.tobytes())
    for number in _GROUND:
        other.pop(number, None)
    return other


def metadata_of(
    image: Image.Image, form: str, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Options by which Pillow's writer of a format keeps an image's metadata.

    The orientation is dropped, since the pixels are upright; texts, and what a PNG says of its
    colours without a profile, are kept in PNG only; what is too long for JPEG is dropped with a
    `MetadataWarning`. A writer ignores what it has no place
    for. These options override others: a TIFF with a camera's EXIF is written uncompressed.

    Args:
        image: has it in its ``info`` and ``getexif()``.
        form: Pillow's name of the format.
        size: (width, height) of what is written in px, if not the image's.
    """
    exif, xmp = _exif(image, form, size or image.size), _xmp(image, form)
    metadata: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
    if form == "PNG":
        metadata["pnginfo"] = _chunks(image, xmp)
    elif xmp and form == "TIFF":
        exif[ExifTags.Base.XMLPacket] = xmp
    elif xmp:
        metadata["xmp"] = xmp
    if exif:
        metadata["exif"] = exif
        if form == "TIFF" and not exif.keys().isdisjoint(_NESTED):
            metadata["compression"] = "raw"  # libtiff, which Pillow compresses with, takes none
    if dpi := resolution_of(image):
        metadata["dpi"] = dpi
    return metadata


def resolution_of(image: Image.Image) -> tuple[float, ...] | None:
    """Resolution in px per inch (x, y), or None where it is missing or implausible.

    Pillow says 1 of a TIFF without any, and some files say 0/0 or more than JPEG can hold.
    """
    dpi = image.info.get("dpi", ())
    dpi = tuple(_number(value) for value in (dpi if isinstance(dpi, tuple | list) else (dpi, dpi)))
    return dpi if dpi and all(1 < value <= _HIGHEST_DPI for value in dpi) else None


def _number(value: SupportsFloat) -> float:
    """A float; NaN for the 0/0 of some scanners, which Pillow 11 leaves as it is."""
    try:
        return float(value)
    except (TypeError, ZeroDivisionError):
        return math.nan


def _exif(image: Image.Image, form: str, size: tuple[int, int]) -> Image.Exif:
    """The EXIF data of a picture that is upright and of a size of its own, as a format takes it."""
    exif = exif_of(image)
    exif.pop(ExifTags.Base.Orientation, None)
    details = exif.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in exif else {}
    sides = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
    for tag, value in zip(sides, size, strict=True):
        if tag in details:
            details[tag] = value
    for number in _NOT_FOR_LIBTIFF if form == "TIFF" else ():
        exif.pop(number, None)
    if form == "JPEG" and len(exif.tobytes()) > _LONGEST_JPEG_EXIF:
        _warn(f"EXIF is left out: JPEG holds {_LONGEST_JPEG_EXIF} bytes; write PNG to keep it.")
        return Image.Exif()
    return exif


def _chunks(image: Image.Image, xmp: bytes | None) -> PngInfo:
    """The chunks of a PNG file that hold XMP, and the texts and colorimetry of the one it was."""
    chunks = PngInfo()
    if xmp:
        # Not compressed, and in no language; as it is, for it may be damaged.
        chunks.add(b"iTXt", _PNG_XMP.encode() + bytes(5) + xmp)
    if gamma := _hundred_thousandths((image.info.get("gamma"),), 1):
        chunks.add(b"gAMA", gamma)
    if primaries := _hundred_thousandths(image.info.get("chromaticity"), 8):
        chunks.add(b"cHRM", primaries)
    intent = image.info.get("srgb")
    if isinstance(intent, int) and 0 <= intent < 4 and not image.info.get("icc_profile"):
        chunks.add(b"sRGB", bytes([intent]))  # beside a profile it is not allowed
    for name, text in image.info.items():
        if isinstance(name, str) and isinstance(text, str) and not name.startswith(_NO_TEXTS):
            chunks.add_text(name, text)
    return chunks


def _hundred_thousandths(values: object, number: int) -> bytes | None:
    """Numbers as PNG's chunks hold them; None for anything else, such as a text of that name."""
    if not isinstance(values, tuple | list) or len(values) != number:
        return None
    if not all(isinstance(value, int | float) and 0 <= value < 2**31 / 1e5 for value in values):
        return None
    return struct.pack(f">{number}I", *(round(1e5 * value) for value in values))


def _xmp(image: Image.Image, form: str) -> bytes | None:
    """The XMP of a picture without its orientation, or None where there is none or no room."""
    xmp = image.info.get("xmp")
    if not isinstance(xmp, bytes):
        return None
    xmp = _XMP_ORIENTATION.sub(b"", xmp)
    if form == "JPEG" and len(xmp) > _LONGEST_JPEG_XMP:
        _warn(f"XMP is left out: JPEG holds {_LONGEST_JPEG_XMP} bytes; write PNG to keep it.")
        return None
    return xmp


def _warn(sentence: str) -> None:
    warn(f"Of a result's metadata, {sentence}", MetadataWarning)
