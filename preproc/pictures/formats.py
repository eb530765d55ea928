"""The formats results can be written in: what each holds, and how Pillow is told to write it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from PIL import Image

from preproc.errors import OutputError

USUAL_QUALITY = 95
"""Default quality of lossy formats: high, since the point of the result is its detail."""

_FULL_COLOUR = {"subsampling": "4:4:4"}
"""Halved colour would blur the coloured text and edges that were just restored."""


@dataclass(frozen=True)
class FileFormat:
    """A file format that results can be written in.

    Attributes:
        name: Pillow's name of the format.
        extension: the usual file name ending, with its dot.
        modes: Pillow modes it holds without loss, the format's own quantisation apart.
        max_side: largest width and height in px, where the format or its readers have a limit.
        max_pixels: most px, likewise.
        lossy: whether it is, and so takes a quality.
        options: further options of Pillow's writer.
        profile: whether Pillow writes ICC profiles into it.
    """

    name: str
    extension: str
    modes: frozenset[str]
    _: KW_ONLY
    max_side: int = 2**31 - 1
    max_pixels: int = 2**62
    lossy: bool = False
    options: Mapping[str, str | int] = field(default_factory=dict, hash=False)
    profile: bool = True

    def writer_options(self, quality: int | None) -> dict[str, str | int]:
        """Options for Pillow's writer; ``quality`` in [1, 100] counts where the format is lossy."""
        options = dict(self.options)
        if self.lossy:
            options["quality"] = USUAL_QUALITY if quality is None else quality
        return options


def _modes(names: str) -> frozenset[str]:
    return frozenset(names.split())


FORMATS = {
    f.name: f
    for f in (
        FileFormat("PNG", ".png", _modes("1 L LA I;16 RGB RGBA")),
        FileFormat(
            "JPEG", ".jpg", _modes("L RGB CMYK"), max_side=65500, lossy=True, options=_FULL_COLOUR
        ),
        FileFormat("WEBP", ".webp", _modes("RGB RGBA"), max_side=16383, lossy=True),
        FileFormat(
            "TIFF",
            ".tif",
            _modes("1 L LA I;16 I F RGB RGBA CMYK LAB YCbCr"),
            options={"compression": "tiff_adobe_deflate"},
        ),
        FileFormat(
            "AVIF",
            ".avif",
            _modes("RGB RGBA"),
            max_side=2**15,  # libavif writes more, and reads no more
            max_pixels=2**28,
            lossy=True,
            options=_FULL_COLOUR,
        ),
        FileFormat("BMP", ".bmp", _modes("1 L RGB"), profile=False),
        FileFormat("JPEG2000", ".jp2", _modes("L LA I;16 RGB RGBA"), profile=False),
        FileFormat("PPM", ".ppm", _modes("1 L I;16 RGB"), profile=False),
        FileFormat("TGA", ".tga", _modes("L LA RGB RGBA"), max_side=65535, profile=False),
    )
}
"""By Pillow's names."""

_BY_EXTENSION = {
    **dict.fromkeys(
        (".j2c", ".j2k", ".jpc"), replace(FORMATS["JPEG2000"], options={"no_jp2": True})
    ),
    ".pbm": replace(FORMATS["PPM"], extension=".pbm", modes=_modes("1")),
    ".pfm": replace(FORMATS["PPM"], extension=".pfm", modes=_modes("F")),
    ".pgm": replace(FORMATS["PPM"], extension=".pgm", modes=_modes("L I;16")),
}
"""Extensions that mean one variant of a Pillow format: raw JPEG 2000, PBM and so on."""

_LOSSLESS = {
    "1": ("L", "RGB"),
    "L": ("RGB",),
    "La": ("LA", "RGBA"),
    "LA": ("RGBA",),
    "P": ("RGB",),
    "PA": ("RGBA",),
    "RGBa": ("RGBA",),
    "RGBX": ("RGB",),
    "CMYK": ("RGB",),
    "YCbCr": ("RGB",),
    "HSV": ("RGB",),
    "LAB": ("RGB",),
    "I;16L": ("I;16",),
    "I;16B": ("I;16",),
    "I;16N": ("I;16",),
}
"""Modes a mode may become without losing what the picture shows, the nearest first."""

_OPAQUE = {"LA": "L", "RGBA": "RGB"}


def format_names() -> list[str]:
    """The usual names of the formats results can be written in, such as ``"png"``."""
    return [f.extension.removeprefix(".") for f in FORMATS.values()]


def format_named(name: str) -> FileFormat:
    """The format of a name such as ``"png"``, ``"jpeg"`` or ``".tif"``.

    Raises:
        OutputError: results cannot be written in it.
    """
    extension = "." + name.lower().removeprefix(".")
    file_format = writable_format(Path("x" + extension))
    if file_format is None:
        raise OutputError(
            f"Results cannot be written as {name!r}; choose one of {', '.join(format_names())}."
        )
    return file_format


def writable_format(path: Path) -> FileFormat | None:
    """The format that a file's name asks for, or None where results cannot be written in it."""
    extension = path.suffix.lower()
    general = FORMATS.get(Image.registered_extensions().get(extension, ""))
    return _BY_EXTENSION.get(extension, general)


def holding_mode(image: Image.Image, file_format: FileFormat) -> str:
    """The mode in which a format holds a picture without losing transparency or depth.

    Raises:
        OutputError: there is none; the message names the formats that have one.
    """
    mode = image.mode
    if mode == "P" and image.has_transparency_data:
        mode = "RGBA"
    candidates = [mode, *_LOSSLESS.get(mode, ())]
    if mode in _OPAQUE and image.mode == mode and image.getchannel("A").getextrema() == (255, 255):
        candidates += [_OPAQUE[mode], *_LOSSLESS.get(_OPAQUE[mode], ())]
    if mode == "I" and _is_16_bit(image):  # which other programs take for black in 32 bits
        candidates = ["I;16", "I"]
    for candidate in candidates:
        if candidate in file_format.modes:
            return candidate
    what = "transparency" if mode in _OPAQUE else f"colours or depth (mode {mode})"
    fits = "tif" if mode in {"F", "I"} else "png"
    raise OutputError(
        f"A {file_format.extension} file cannot hold the picture's {what}; write it as {fits}."
    )


def require_size(size: tuple[int, int], file_format: FileFormat) -> None:
    """Make sure that a format holds a picture of so many px.

    Raises:
        OutputError: a side (of width, height) is too long, or there are too many px.
    """
    most = f"{file_format.max_side} px a side"
    if max(size) <= file_format.max_side:
        if math.prod(size) <= file_format.max_pixels:
            return
        most = f"{file_format.max_pixels} px"
    raise OutputError(
        f"{file_format.name} holds at most {most}, but the result has {size[0]}x{size[1]}; write "
        "it as png."
    )


def _is_16_bit(image: Image.Image) -> bool:
    """Whether the values of a picture of 32-bit integers fit into 16 bits."""
    low, high = image.getextrema()
    return low >= 0 and high < 2**16  # type: ignore[operator]  # single band: two numbers
