"""What an adapter takes for one picture, before it is decoded."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from preproc.errors import ImageError
from preproc.pictures.opening import depth_of, open_picture


def one_picture(image: object) -> object:
    """The picture, for `images.decode`; of a batch of one its picture, and files opened.

    Opened here, files with more than 8 bits a colour get no `DepthWarning`: engines see 8 in any
    case, so that there is nothing to be done about it.

    Args:
        image: path, bytes, PIL image, array or tensor.

    Raises:
        ImageError: it is none of these, or several pictures, or no picture is in the file.
    """
    match image:
        case list() | tuple():
            raise ImageError(
                f"This takes one picture at a time, but got a {type(image).__name__} of "
                f"{len(image)}; loop over them."
            )
        case str() | os.PathLike():
            return _opened(image)
        case bytes() | bytearray() | memoryview():
            return _shown(bytes(image), "The file in the bytes")
        case np.ndarray() | Tensor():
            if is_batch(image):
                raise ImageError(
                    f"This takes one picture at a time, but got a batch of {len(image)}, of shape "
                    f"{tuple(image.shape)}; loop over them."
                )
            return image[0] if image.ndim == 4 else image
        case Image.Image():
            return image
    raise ImageError(
        f"A {type(image).__name__} is no picture; pass a PIL image, a path, bytes, an array or a "
        "tensor."
    )


def is_batch(image: object) -> TypeGuard[NDArray[Any] | Tensor]:
    """Whether it is several pictures, or none, in one array or tensor."""
    return isinstance(image, np.ndarray | Tensor) and image.ndim == 4 and len(image) != 1


def _opened(path: str | os.PathLike[str]) -> object:
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError):
        return path  # decoding it says what is wrong
    return _shown(data, str(path))


def _shown(data: bytes, name: str) -> object:
    """A file's picture; of a PNG that Pillow would cut to 8 bits without rounding, its bytes."""
    picture = open_picture(io.BytesIO(data), name)
    return data if depth_of(io.BytesIO(data)).whole == "png16" else picture
