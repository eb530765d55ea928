"""Pictures that came as the bytes of a file, as bytes in the same format again."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from preproc.errors import ImageError
from preproc.pictures.formats import FORMATS, USUAL_QUALITY, require_size
from preproc.pictures.metadata import metadata_of

_LOSSY_IN_TIFF = ("jpeg", "tiff_jpeg", "webp")


def rewritten(image: Image.Image, original: Image.Image) -> bytes:
    """A picture with its metadata as a file in the format that another had.

    Args:
        image: the picture.
        original: as its file was opened; a TIFF stays compressed as it was, unless that would
            lose something.

    Raises:
        ImageError: the format cannot hold the picture.
    """
    form = "JPEG" if original.format == "MPO" else str(original.format)
    if form == "GIF" and image.mode == "LA":  # of which Pillow would write the grey alone
        image = image.convert("RGBA")
    options = {**_options(image, form, original), **metadata_of(image, form)}
    file = io.BytesIO()
    try:
        if form in FORMATS:
            require_size(image.size, FORMATS[form])
        image.save(file, form, **options)
        _require_faithful(file, form, image)
    except (KeyError, OSError, RuntimeError, SyntaxError, ValueError) as error:
        raise ImageError(
            f"The result cannot be written as {form} again ({error}); pass a PIL image and save "
            "the result in another format."
        ) from error
    return file.getvalue()


def _options(image: Image.Image, form: str, original: Image.Image) -> dict[str, Any]:
    """Pillow's options for writing a picture back in its file's format, metadata apart."""
    if form == "HEIF":
        return {"quality": USUAL_QUALITY, "chroma": 444}
    if form == "ICO":  # else of usual sizes, to which Pillow resizes
        return {"sizes": [image.size]}
    compression = original.info.get("compression")
    if form == "TIFF" and compression not in (None, *_LOSSY_IN_TIFF):
        return {"compression": compression}
    return FORMATS[form].writer_options(None) if form in FORMATS else {}


def _require_faithful(file: io.BytesIO, form: str, image: Image.Image) -> None:
    """Check what Pillow changes without a word: the size of icons, and transparency.

    Raises:
        ValueError: it did.
    """
    hides = image.has_transparency_data and (
        image.convert("RGBA").getchannel("A").getextrema() != (255, 255)
    )
    if not hides and form not in ("ICO", "ICNS"):
        return
    file.seek(0)
    # Without Image.open, which refuses large files as suspicious; nothing is decoded.
    opener, _ = Image.OPEN[form]
    with opener(file, "") as written:
        if written.size != image.size:
            raise ValueError(f"it has no size of {image.width}x{image.height} px")
        if hides and not written.has_transparency_data:
            raise ValueError("it has no place for transparency")
