"""PNG files with 16 bits a colour: Pillow's decoder gives 8 of them, and its encoder takes 8.

Grey 16-bit files without transparency need none of this: Pillow has a mode for them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, GREY_ALPHA = 0, 4
"""Colour types of the PNG specification, 11.2.2."""

_COLOR_TYPES = {1: GREY, 2: GREY_ALPHA, 3: 2, 4: 6}
"""The colour type of so many channels: grey, grey with alpha, RGB, RGB with alpha."""

_INCH = 0.0254  # m


def kind_of(header: bytes) -> tuple[int, int]:
    """Bits a sample and the colour type of a PNG, as its first 26 bytes say."""
    return header[24], header[25]


def read(data: bytes) -> NDArray[Any]:
    """Decode a PNG of 16 bits as uint16 (H, W, C): grey or RGB, with alpha or without.

    The upper bytes are what Pillow gives; the lower ones are what it gives when told that samples
    are little-endian. Grey and alpha are four bytes, and come whole when it is told that these are
    four channels.
    """
    if kind_of(data)[1] == GREY_ALPHA:
        image = Image.open(io.BytesIO(data))
        image.tile = [tile._replace(args="RGBA") for tile in image.tile]
        return np.asarray(image).view(">u2").astype(np.uint16)
    upper = np.asarray(Image.open(io.BytesIO(data))).astype(np.uint16)
    if upper.ndim == 2:  # grey, of which Pillow gives all bits
        return upper[..., None]
    image = Image.open(io.BytesIO(data))
    image.tile = [
        tile._replace(args=tile.args.replace("16B", "16L") if isinstance(tile.args, str) else None)
        for tile in image.tile
    ]
    deep: NDArray[Any] = upper * np.uint16(256) + np.asarray(image)
    return deep


def transparent_colour(data: bytes) -> NDArray[Any] | None:
    """The grey or (R, G, B) that stands for transparency in a PNG of 16 bits, if any does."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"tRNS" and length in (2, 6):
            return np.frombuffer(data, ">u2", length // 2, at + 8).astype(np.uint16)
        if kind == b"IDAT":
            break
        at += 12 + length  # with the checksum
    return None


def write(samples: NDArray[Any], metadata: Mapping[str, Any]) -> bytes:
    """Encode uint16 (H, W, C) as `read` gives it.

    Args:
        samples: of all colours, and of alpha.
        metadata: what Pillow's PNG writer takes as ``icc_profile``, ``dpi``, ``exif`` and
            ``pnginfo``.
    """
    height, width, channels = samples.shape
    color_type = _COLOR_TYPES[channels]
    chunks = [(b"IHDR", struct.pack(">2I5B", width, height, 16, color_type, 0, 0, 0))]
    if profile := metadata.get("icc_profile"):
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if dpi := metadata.get("dpi"):
        per_metre = [round(value / _INCH) for value in dpi]
        chunks.append((b"pHYs", struct.pack(">2IB", *per_metre, 1)))
    if exif := metadata.get("exif"):
        chunks.append((b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    if texts := metadata.get("pnginfo"):
        chunks += [(kind, body) for kind, body, *_ in texts.chunks]
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    # Filter 2 (up): the difference to the row above, which compresses and needs no loop.
    filtered = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    marked = np.insert(filtered, 0, 2, axis=1)
    chunks += [(b"IDAT", zlib.compress(marked.tobytes())), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
