"""The sizes of pictures that are timed."""

from __future__ import annotations

import re

from preproc.errors import OptionError

Size = tuple[int, int]

SIZES: dict[str, Size] = {
    "word": (32, 100),
    "128x128": (128, 128),
    "512x512": (512, 512),
    "720p": (720, 1280),
    "4k": (2160, 3840),
}
"""Heights and widths in LR px, by name."""
CPU_SIZES = ("word", "128x128")
GPU_SIZES = ("word", "512x512", "720p", "4k")
MAX_SIDE = 65_500
"""Of a JPEG file, in px; libjpeg's limit."""
MAX_PIXELS = 2 * 89_478_485
"""Of a file that Pillow decodes: twice its default ``MAX_IMAGE_PIXELS``."""


def parse_size(text: str) -> Size:
    """Height and width from a name in `SIZES` or from ``WIDTHxHEIGHT``.

    Raises:
        OptionError: it is neither, or too large for the JPEG file that a stage begins with.
    """
    if text.lower() in SIZES:
        return SIZES[text.lower()]
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text.lower())
    if match is None:
        raise OptionError(
            f"A size must be WIDTHxHEIGHT in px, such as 640x480, or one of {', '.join(SIZES)}, "
            f"but is {text!r}."
        )
    height, width = int(match[2]), int(match[1])
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise OptionError(
            f"A size must have {MAX_SIDE:,} px a side and {MAX_PIXELS:,} px in all at most, but "
            f"{text} has {height * width:,} px; more cannot be decoded from a JPEG file."
        )
    return height, width
