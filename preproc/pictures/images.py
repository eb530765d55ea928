"""Every kind of picture as samples, and samples back as the same kind.

``decode`` gives a `Picture`: samples for the stage, and how to put enhanced samples back. Nothing
here knows what is done to them in between.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from preproc.errors import ImageError
from preproc.pictures.arrays import from_array, from_tensor
from preproc.pictures.picture import ChannelOrder, Picture, require_channel_order
from preproc.pictures.pil_images import from_bytes, from_path, from_pil


def decode(img: object, channel_order: ChannelOrder = "rgb", *, upright: bool = True) -> Picture:
    """Read a picture of any kind.

    ====================================  =============================================
    in                                    out
    ====================================  =============================================
    PIL image of any mode                 PIL image, same mode and ``info``, upright (a
                                          transparent colour becomes an alpha channel)
    path (str or PathLike)                PIL image, as if opened with Pillow
    bytes of a file                       bytes in the same format; JPEG, WebP, AVIF and
                                          HEIC at q95
    array (H, W), (H, W, 1 to 4)          array; uint8, uint16 or float in [0, 1]
    tensor (C, H, W), (N, C, H, W)        tensor on the same device; the same dtypes
    ====================================  =============================================

    Samples of uint16 count from 0 to 65535: of a camera's 10 or 12 bits, scale them up first, else
    they pass for a picture that is almost black.

    Two channels are grey and alpha, four are RGB and alpha; RGB of three equal planes is taken as
    grey, and comes out with three equal planes. Alpha does not go through the network: it is
    resized by itself (bicubic), and px it hides take over the colour of visible neighbours, so that
    no hidden colour seeps into what is seen. Of files with more than 8 bits a colour all are kept
    for 16-bit grey, and for the bytes of any 16-bit PNG; else Pillow gives 8, and a `DepthWarning`
    says so. Bytes keep EXIF, XMP, ICC profile, DPI and a PNG's texts, gamma and primaries, as files
    of results do.

    Args:
        img: the picture.
        channel_order: of arrays and tensors; PIL images and files name their channels themselves.
        upright: whether a PIL image is turned as its EXIF says, as files always are; else it is
            taken as stored, and its orientation goes along.

    Raises:
        ImageError: not a picture, damaged, empty, or with values out of range.
        OptionError: there is no such order of channels.
    """
    require_channel_order(channel_order)
    match img:
        case Image.Image():
            return from_pil(img, turn=upright)
        case str() if "://" in img and not os.path.exists(img):  # noqa: PTH110 - any length
            raise ImageError(f"URLs are not fetched, but {img} is one; pass its content as bytes.")
        case str() | os.PathLike():
            return from_path(Path(img))
        case bytes() | bytearray() | memoryview():
            return from_bytes(bytes(img))
        case np.ndarray():
            return from_array(img, channel_order)
        case Tensor():
            return from_tensor(img, channel_order)
    beside = "" if isinstance(img, list | tuple) else ", or a list of these"
    raise ImageError(
        f"A {type(img).__name__} is not a picture; pass a PIL image, a path, bytes, an array, a "
        f"tensor{beside}."
    )
