"""HEIC and HEIF, which phones save photographs in: opened by pillow-heif where it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from PIL import Image

INSTALL = "pip install pillow-heif"
"""What makes Pillow open them."""

EXTENSIONS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
"""Extensions of their names, in lower case."""

_FORMAT = "HEIF"
# Brands of ISO/IEC 23008-12, annex B: the content is coded in HEVC. "mif1" leaves the codec open.
_CODED = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_OPEN = (b"mif1", b"msf1")


def is_heif(header: bytes) -> bool:
    """Whether a file holds pictures coded in HEVC, by its brands (ISO/IEC 14496-12, 4.3).

    Args:
        header: its first 64 bytes or more, or all if there are fewer.
    """
    if header[4:8] != b"ftyp":
        return False
    brand, others = header[8:12], header[16 : int.from_bytes(header[:4], "big")]
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
