"""Opening picture files with Pillow: whatever it raises, users get one sentence."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.AvifImagePlugin import AvifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

from preproc.errors import ImageError
from preproc.pictures import heif, png16
from preproc.pictures.metadata import exif_of

_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags; of the latter 0 says that 0 is white
_HEADER = 2**16
"""Bytes at the start of a file in which the facts about it lie, rather than its pixels."""

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    struct.error,
)
"""What Pillow and its plug-ins raise on files that are cut short, damaged or of a rare kind."""

_RESERVED = ("dpi", "exif", "icc_profile", "transparency", "xmp")
"""Keys of ``Image.info`` that are not texts."""

_STILLS = frozenset({"ICO", "ICNS", "MPO", "PSD"})
"""Formats whose further frames are sizes, previews or layers of the first."""


@dataclass(frozen=True)
class Depth:
    """The depth of a picture file.

    Attributes:
        bits: per colour of a px.
        reader: what reads all of them: Pillow, `preproc.pictures.png16` where Pillow gives 8, or
            nothing.
    """

    bits: int
    reader: Literal["Pillow", "png16"] | None


class Opened(NamedTuple):
    """A picture file's content and depth.

    Attributes:
        image: the decoded picture, in the mode Pillow has for it, not yet turned as EXIF says; its
            EXIF data, if any that is sound, in ``info["exif"]`` for all formats. A PNG of 16-bit
            grey with alpha or a transparent grey, for which Pillow has no mode, is LA.
        depth: of the file, which may be more than the image's.
    """

    image: Image.Image
    depth: Depth


def open_picture(file: IO[bytes], name: str = "The file") -> Opened:
    """Read a picture file wholly.

    Args:
        file: its content, at its start.
        name: what the file is called at the start of an error's sentence.

    Raises:
        ImageError: it is empty, truncated, suspiciously large, an animation, no picture, or HEIC
            where pillow-heif is not installed.
        OSError: the system does not let the file be read.
    """
    header = file.read(_HEADER)
    if not header:
        raise ImageError(f"{name} is empty.")
    if heif.is_heif(header) and not heif.plug_in():
        raise ImageError(
            f"{name} is HEIC, which Pillow cannot open by itself; {heif.INSTALL}, or convert it to "
            "JPEG or PNG."
        )
    file.seek(0)
    with _sentences(name), Image.open(file) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in _STILLS:
            raise ImageError(
                f"{name} holds {frames} frames or pages, and only single pictures are enhanced; "
                "split it first."
            )
        depth = _depth(image, header)
        image.load()
        _carry_exif(image)
        _mend_deep_grey(image, depth.bits)
        if isinstance(image, PngImageFile):
            _mend_png(image, *png16.kind_of(header))
            if png16.kind_of(header) == (16, png16.GREY_ALPHA):
                return Opened(image.convert("LA"), depth)
            if has_deep_key(image):
                return Opened(with_alpha(image), depth)
    return Opened(image, depth)


def _depth(image: Image.Image, header: bytes) -> Depth:
    """The depth of a file whose image is not decoded yet."""
    bits = _bits(image, header)
    if bits <= 8 or (image.mode in _DEEP_MODES and not has_deep_key(image)):
        return Depth(bits, "Pillow")
    return Depth(bits, "png16" if isinstance(image, PngImageFile) else None)


def _bits(image: Image.Image, header: bytes) -> int:
    """Bits a colour, as the file's header says; 8 for formats that Pillow reads whole."""
    match image:
        case PngImageFile():
            return png16.kind_of(header)[0]
        case TiffImageFile():
            return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))))
        case PpmImageFile():
            args = image.tile[0].args  # with the value that means white, unless that is usual
            return int(args[1]).bit_length() if isinstance(args, tuple) else 8
        case Jpeg2KImageFile() | AvifImageFile():
            return _bits_in_header(header)
        case Image.Image(format="HEIF"):
            return int(image.info.get("bit_depth", 8))
    return 8


def _bits_in_header(header: bytes) -> int:
    """Bits a colour, as JPEG 2000's SIZ marker or AVIF's decoder configuration says."""
    _, _, size = header.partition(b"\xff\x4f\xff\x51")
    if len(size) > 38:
        return (size[38] & 0x7F) + 1
    _, _, configuration = header.partition(b"av1C")
    if len(configuration) > 2 and configuration[2] & 0x40:  # high_bitdepth
        return 12 if configuration[2] & 0x20 else 10  # twelve_bit
    return 8


def _mend_deep_grey(image: Image.Image, bits: int) -> None:
    """Give a TIFF of 9 to 16 bits of grey the whole range, from black to white.

    Pillow leaves 12 bits in 0 to 4095, and takes no notice where 0 is white, as it does for 8 bits.
    """
    if not isinstance(image, TiffImageFile) or not image.mode.startswith("I;16"):
        return
    negative = image.tag_v2.get(_PHOTOMETRIC) == 0
    if bits >= 16 and not negative:
        return
    values = np.asarray(image).astype(np.float64) * (65535 / (2 ** min(bits, 16) - 1))
    values = (65535 - values if negative else values).round().clip(0, 65535)
    image.frombytes(values.astype(">u2" if image.mode == "I;16B" else "<u2").tobytes())


def _mend_png(image: Image.Image, bits: int, color_type: int) -> None:
    """Remove texts whose keyword is one of Pillow's own, and scale a transparent colour to 8 bits.

    A text may have any keyword, also one under which Pillow keeps something else; and Pillow gives
    a transparent colour in the file's own bits.
    """
    for name in _RESERVED:
        if isinstance(image.info.get(name), str):
            del image.info[name]
    key = image.info.get("transparency")
    if bits < 8 and color_type == png16.GREY and isinstance(key, int):
        # Of 1 bit, newer versions of Pillow give 0 or 255.
        image.info["transparency"] = min(key, 2**bits - 1) * 255 // (2**bits - 1)
    elif bits == 16 and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)


def has_deep_key(image: Image.Image) -> bool:
    """Whether it is 16-bit grey of which one value stands for transparency, as PNGs have it."""
    return image.mode in _DEEP_MODES and isinstance(image.info.get("transparency"), int)


def with_alpha(image: Image.Image) -> Image.Image:
    """A 16-bit grey picture with a transparent grey as LA, with 8 bits."""
    values = np.asarray(image)
    alpha = (values != image.info["transparency"]) * np.uint8(255)
    result = Image.fromarray(np.dstack([(values >> 8).astype(np.uint8), alpha]))
    result.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return result


def _carry_exif(image: Image.Image) -> None:
    try:
        if "exif" in image.info:
            # On a new object: Pillow does not parse the same Exif twice after an error.
            Image.Exif().load(image.info["exif"])
        elif exif := exif_of(image):
            image.info["exif"] = exif.tobytes()
    except Exception:  # Pillow raises many kinds; the pixels are good without it
        image.info.pop("exif", None)


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    """Turn what Pillow raises on files it cannot read into sentences."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a known format.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} would be suspiciously large once decoded ({str(error).rstrip('.')}); if you "
            "trust it, cut or shrink it first, or raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if "Ghostscript" in str(error):
            raise ImageError(
                f"{name} is EPS, which Pillow draws by Ghostscript, and that is not installed; "
                "install it, or convert the file to PNG first."
            ) from error
        raise ImageError(f"{name} is truncated or damaged ({str(error).strip()}).") from error
