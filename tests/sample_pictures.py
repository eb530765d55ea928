"""What the tests of pictures share: made-up pictures, files of them, and the simplest stage."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import torch
from PIL import Image

from preproc.pictures.images import decode
from preproc.pictures.opening import Depth, open_picture
from preproc.resize import imresize


def enlarge(img, channel_order="rgb"):
    """Through decode and pack with the simplest stage there is: every px twice."""
    picture = decode(img, channel_order)
    return picture.pack(picture.color.repeat_interleave(2, -2).repeat_interleave(2, -1))


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def is_deep(data):
    return depth_of(data) == Depth(16, "png16")


def depth_of(data):
    return open_picture(io.BytesIO(data)).depth


def blocks(shape, rng, high=256, dtype=np.uint8):
    """A picture of 4x4 px blocks, so that no filter's overshoot is in the way of comparing."""
    small = rng.integers(0, high, (-(-shape[0] // 4), -(-shape[1] // 4), *shape[2:]), dtype)
    return small.repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]]


def smooth(rng, *shape):
    """A smooth random picture, float32 in [0, 1]."""
    coarse = torch.from_numpy(rng.random((1, 3, *shape), np.float32))
    return (
        imresize(coarse, 0.25)[0]
        .repeat_interleave(4, -2)
        .repeat_interleave(4, -1)[:, : shape[0], : shape[1]]
        .clamp(0, 1)
        .permute(1, 2, 0)
        .contiguous()
        .numpy()
    )


def in_mode(photo, mode):
    if mode in ("La", "RGBa"):
        return in_mode(photo, mode.upper()).convert(mode)
    if mode in ("LA", "PA", "RGBA"):
        image = photo.convert("P" if mode == "PA" else mode[:-1]).convert(mode)
        image.putalpha(200)
        return image
    if mode.startswith("I;16"):
        values = np.asarray(photo.convert("L")).astype(np.uint16) * 257 - (0 if mode == "I" else 3)
        order = ">u2" if mode == "I;16B" else "<u2"
        return Image.frombytes(mode, photo.size, values.astype(order).tobytes())
    return photo.convert(mode)


def turned(pixels, orientation):
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels),
    }[orientation]


def of_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    return exif


def with_chunk(data, kind, body):
    """A PNG with one more chunk after its header."""
    chunk = struct.pack(">I", len(body)) + kind + body
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(kind + body)) + data[33:]
