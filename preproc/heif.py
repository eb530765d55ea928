"""HEIC and HEIF, which phones save photographs in: opened by pillow-heif where it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

HEADER = 64
"""Bytes at the start of a file that tell whether it is one."""

INSTALL = "pip install pillow-heif"
"""What makes Pillow open them."""

_FORMAT = "HEIF"
_ENDINGS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
# Brands of ISO/IEC 23008-12, annex B: the content is coded in HEVC. "mif1" leaves open in what.
_CODED = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_OPEN = (b"mif1", b"msf1")


def is_heif(header: bytes) -> bool:
    """Whether the first `HEADER` bytes of a file are those of HEVC pictures in ISO's container."""
    brand = header[8:12]
    others = header[16 : int.from_bytes(header[:4], "big")]
    if header[4:8] != b"ftyp":
        return False
    return brand in _CODED or (brand in _OPEN and any(coded in others for coded in _CODED))


@cache
def plug_in() -> bool:
    """Let Pillow open such files, in the whole process; False where pillow-heif is not installed.

    Whatever opens them already is left as it is.
    """
    Image.init()
    if _FORMAT in Image.OPEN:
        return True
    if find_spec("pillow_heif") is None:
        return False
    import pillow_heif  # noqa: PLC0415 - an extra, and only for such files

    pillow_heif.register_heif_opener()
    return True


def is_named(path: Path) -> bool:
    """Whether a file's name says that it is one."""
    return path.suffix.lower() in _ENDINGS
