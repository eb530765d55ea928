"""Opening picture files with Pillow: whatever it raises, users get one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image, UnidentifiedImageError

from preproc.errors import ImageError

_STILLS = frozenset({"ICO", "ICNS", "MPO", "PSD"})
"""Formats whose further frames are sizes, previews or layers of the first."""


def open_picture(file: IO[bytes], name: str = "The file") -> Image.Image:
    """Read a picture file wholly.

    Args:
        file: its content, at its start.
        name: what the file is called at the start of an error's sentence.

    Returns:
        The decoded picture, in the mode Pillow has for it, not yet turned as EXIF says; its EXIF
        data, if any that is sound, in ``info["exif"]`` for all formats.

    Raises:
        ImageError: it is empty, truncated, suspiciously large, an animation, or no picture.
        OSError: the system does not let the file be read.
    """
    if not file.read(1):
        raise ImageError(f"{name} is empty.")
    file.seek(0)
    with _sentences(name), Image.open(file) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in _STILLS:
            raise ImageError(
                f"{name} holds {frames} frames or pages, and only single pictures are enhanced; "
                "split it first."
            )
        image.load()
        _carry_exif(image)
    return image


def _carry_exif(image: Image.Image) -> None:
    try:
        if "exif" in image.info:
            Image.Exif().load(image.info["exif"])  # anew: what failed once is not tried again
        elif exif := image.getexif():
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
        raise ImageError(f"{name} is no picture in a known format.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} would be suspiciously large once decoded ({error}); if you trust it, cut or "
            "shrink it first, or raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageError(f"{name} is truncated or damaged ({error}).") from error
