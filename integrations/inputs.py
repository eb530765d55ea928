"""What an adapter takes for one picture, and the 8-bit RGB that its engine sees of it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from integrations.protocols import RgbArray
from preproc.errors import ImageError
from preproc.pictures.images import decode
from preproc.pictures.opening import open_picture
from preproc.pictures.picture import ChannelOrder
from preproc.pictures.rgb import visible_rgb


def rgb_of(image: object, channel_order: ChannelOrder) -> RgbArray:
    """One picture of any kind as 8-bit RGB (H, W, 3), as `visible_rgb` shows it.

    Args:
        image: path, bytes, PIL image, array or tensor; also a batch of one.
        channel_order: of arrays and tensors.

    Raises:
        ImageError: it is none of these, or several pictures, or no picture is in the file.
    """
    return visible_rgb(decode(_one(image), channel_order))


def is_batch(image: object) -> TypeGuard[NDArray[Any] | Tensor]:
    """Whether an array or tensor is a batch of other than one picture."""
    return isinstance(image, np.ndarray | Tensor) and image.ndim == 4 and len(image) != 1


def _one(image: object) -> object:
    """The picture, to be decoded; of a batch of one its picture, and files opened.

    Opened here, files with more than 8 bits a colour get no `DepthWarning`: engines see 8 in any
    case, so that there is nothing to be done about it.
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
        f"A {type(image).__name__} is not a picture; pass a PIL image, a path, bytes, an array or "
        "a tensor."
    )


def _opened(path: str | os.PathLike[str]) -> object:
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError):
        return path  # decoding it says what is wrong
    return _shown(data, str(path))


def _shown(data: bytes, name: str) -> object:
    """A decoded file; of a 16-bit PNG, which Pillow would truncate, the bytes instead."""
    picture, depth = open_picture(io.BytesIO(data), name)
    return data if depth.reader == "png16" else picture
