"""PNG files with 16 bits a colour: Pillow's decoder gives 8 of them, and its encoder takes 8.

Grey 16-bit files need none of this: Pillow has a mode for them.
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
_RGB, _RGBA = 2, 6  # colour types of the PNG specification, 11.2.2
_INCH = 0.0254  # m


def is_deep(data: bytes) -> bool:
    """Whether a file's content is a PNG of 16-bit RGB, with or without alpha."""
    return data.startswith(_SIGNATURE) and data[24:26] in (bytes((16, _RGB)), bytes((16, _RGBA)))


def read(data: bytes) -> NDArray[Any]:
    """Decode a file that `is_deep` as uint16 (H, W, 3) or (H, W, 4).

    The upper bytes are what Pillow gives; the lower ones are what it gives when told that samples
    are little-endian.
    """
    upper = np.asarray(Image.open(io.BytesIO(data))).astype(np.uint16)
    image = Image.open(io.BytesIO(data))
    image.tile = [
        tile._replace(args=tile.args.replace("16B", "16L") if isinstance(tile.args, str) else None)
        for tile in image.tile
    ]
    deep: NDArray[Any] = upper * np.uint16(256) + np.asarray(image)
    return deep


def write(samples: NDArray[Any], info: Mapping[Any, Any]) -> bytes:
    """Encode uint16 (H, W, 3) or (H, W, 4), with the ICC profile, DPI and EXIF of ``info``."""
    height, width, channels = samples.shape
    color_type = _RGB if channels == 3 else _RGBA
    chunks = [(b"IHDR", struct.pack(">2I5B", width, height, 16, color_type, 0, 0, 0))]
    if profile := info.get("icc_profile"):
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if dpi := info.get("dpi"):
        per_metre = [round(value / _INCH) for value in dpi]
        chunks.append((b"pHYs", struct.pack(">2IB", *per_metre, 1)))
    if exif := info.get("exif"):
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    # Filter 2 (up): the difference to the row above, which compresses and needs no loop.
    filtered = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    marked = np.insert(filtered, 0, 2, axis=1)
    chunks += [(b"IDAT", zlib.compress(marked.tobytes())), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
