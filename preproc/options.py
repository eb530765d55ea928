"""Options of `preproc.Enhancer`: which are allowed, and what tiles they mean."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import torch

from preproc.errors import ModelError
from preproc.execution.devices import choose_dtype
from preproc.execution.sizes import CPU
from preproc.execution.tiling import TilePolicy
from preproc.networks import ModelDescriptor, Tiling
from preproc.resize import BICUBIC_REACH


def require_options(descriptor: ModelDescriptor, options: Mapping[str, Any]) -> None:
    """Check that options of an `Enhancer` are in range and compatible; any may be left out.

    Args:
        descriptor: of the network.
        options: by name, as `preproc.Enhancer` takes them.

    Raises:
        ModelError: an option is out of range, or two conflict.
    """
    for name in ("tile", "overlap", "batch_size"):
        if not isinstance(options.get(name), Integral | None):
            raise ModelError(f"{name} must be a whole number, but is {options[name]!r}.")
    tile, overlap, batch_size = (options.get(n) for n in ("tile", "overlap", "batch_size"))
    strength = options.get("strength", 1.0)
    if batch_size is not None and batch_size < 1:
        raise ModelError(f"batch_size must be 1 or more, but is {batch_size}.")
    if not isinstance(strength, Real) or not 0 < float(strength) <= 1:
        raise ModelError(
            f"strength must be above 0 and at most 1, but is {strength!r}; plain bicubic alone is "
            "`preproc.resize.imresize`."
        )
    choose_dtype(torch.device("cpu"), options.get("dtype"), descriptor.dtypes)
    shrinks = bool(options.get("to_input_size"))
    tile_policy(descriptor, tile, overlap, usual=CPU.tile, shrinks=shrinks)


def tile_policy(
    descriptor: ModelDescriptor,
    tile: int | None,
    overlap: int | None,
    *,
    usual: int,
    shrinks: bool,
) -> TilePolicy:
    """How an enhancer cuts pictures.

    Args:
        descriptor: of the network.
        tile: longest side of a tile in LR px, 0 for none; None takes what suits the network.
        overlap: LR px of real neighbours; None takes the network's.
        usual: what tiles suit the device, in LR px.
        shrinks: whether tiles return to the input's size, for which bicubic needs more neighbours.

    Raises:
        ModelError: the overlap is negative, or a tile leaves no room between overlaps.
    """
    local = descriptor.tiling is Tiling.TILES
    if tile is None:
        tile = usual if local else 0
    overlap = descriptor.overlap if overlap is None else overlap
    return TilePolicy(
        size=tile or None,
        overlap=overlap + BICUBIC_REACH if shrinks and overlap >= 0 else overlap,
        border=descriptor.border,
        minimum=descriptor.size.minimum,
        multiple_of=descriptor.size.multiple_of,
    )
