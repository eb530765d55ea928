"""Writing a picture to a file with its metadata, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import Image, ImageCms

from preproc.errors import OutputError
from preproc.files import replacing
from preproc.pictures.formats import format_named, holding_mode, require_size
from preproc.pictures.metadata import metadata_of

_SPACE = {
    **dict.fromkeys(("1", "L", "LA", "I;16", "I", "F"), "GRAY"),
    **dict.fromkeys(("P", "PA", "RGB", "RGBA", "RGBX"), "RGB"),
    "CMYK": "CMYK",
}
"""The ICC colour space that a profile of a picture of a mode describes."""

_BY_WAY_OF = {
    "La": "LA",
    "RGBa": "RGBA",
}
"""Modes that Pillow converts in two steps only."""


def save(
    image: Image.Image, path: Path, *, quality: int | None = None, overwrite: bool = False
) -> None:
    """Write a picture so that the file is either whole or not there.

    The format is the one the name asks for. EXIF and XMP (with the orientation removed: the pixels
    are upright), DPI and, unless the colour space has to change, the ICC profile go with it where
    the format has a place for them, and a PNG's texts, gamma and primaries into PNG. Where it has
    none for a profile, colours of 8 bits become those of sRGB. EXIF and XMP too long for JPEG are
    left out with a `MetadataWarning`.

    Args:
        image: the picture, of any mode; metadata is taken from its ``info`` and ``getexif()``.
        path: the file; missing folders are made.
        quality: 1 to 100 for lossy formats, 95 by default; ignored by the others.
        overwrite: whether an existing file may be replaced.

    Raises:
        DiskFullError: there is no room left.
        OutputError: the file exists, cannot be written, or its format cannot hold the picture.
    """
    file_format = format_named(path.suffix)
    mode = holding_mode(image, file_format)
    require_size(image.size, file_format)
    options = {**file_format.writer_options(quality), **metadata_of(image, file_format.name)}
    image = _converted(image, mode)
    if not file_format.profile:
        image = _in_srgb(image)
    options["icc_profile"] = image.info.get("icc_profile")
    with replacing(path, overwrite=overwrite) as file:
        stream = _Stream(file)
        try:
            image.save(cast("IO[bytes]", stream), file_format.name, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise OutputError(f"Cannot write {path}: {error}; try another format.") from error
        if stream.error is not None:
            raise stream.error


class _Stream:
    """A file without a descriptor that keeps errors of writing to itself.

    Some encoders write to a descriptor on their own and miss a full disk; one then never ends, nor
    does it if writing raises. So the first error is kept, and later writes are skipped.

    Attributes:
        error: the first, to be raised once the encoder has ended.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of ``data``, but nothing more once there was an error."""
        self._try(lambda: self._file.write(data))
        return len(data)

    def flush(self) -> None:
        """Flush the file, unless there was an error."""
        self._try(self._file.flush)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            if self.error is None:
                step()
        except OSError as error:
            self.error = error


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The picture in another mode; between colour spaces through its ICC profile if it has one."""
    if image.mode in ("I;16L", "I;16B", "I;16N"):  # which Pillow converts by way of 8 bits
        values, info = np.asarray(image).astype(np.uint16), image.info
        image = Image.fromarray(values)
        image.info = info
    if image.mode != mode and image.mode in _BY_WAY_OF:
        image = image.convert(_BY_WAY_OF[image.mode])
    if _SPACE.get(image.mode) == _SPACE.get(mode):
        return image if image.mode == mode else image.convert(mode)
    result = _managed(image, mode)
    if result is None:
        result = image.convert(mode)
        result.info.pop("icc_profile", None)  # would now be taken for the other space's
    return result


def _in_srgb(image: Image.Image) -> Image.Image:
    """A picture of the same mode that looks right without its profile, where 8 bits allow it."""
    coloured = {"L": "RGB", "LA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}.get(image.mode)
    result = _managed(image, coloured) if coloured else None
    return image if result is None else result.convert(image.mode)


def _managed(image: Image.Image, mode: str) -> Image.Image | None:
    """The picture converted to sRGB by its ICC profile; None if it has none that is usable."""
    profile = _profile(image)
    if profile is None:
        return None
    grey_alpha = image.mode == "LA"  # which ImageCms takes for grey alone, and garbles
    try:
        result = ImageCms.profileToProfile(
            image.getchannel("L") if grey_alpha else image,
            profile,
            ImageCms.createProfile("sRGB"),
            outputMode="RGB" if grey_alpha else mode,
        )
    except ImageCms.PyCMSError:
        return None
    assert result is not None  # only None where asked to work in place
    if grey_alpha:
        result.info = {**image.info, "icc_profile": result.info["icc_profile"]}
        if mode == "RGBA":
            result.putalpha(image.getchannel("A"))
    return result


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The picture's ICC profile, or None where it is damaged or for other channels."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
    except (KeyError, OSError):
        return None
    return profile if profile.profile.xcolor_space.strip() == _SPACE.get(image.mode) else None
