"""Options of `preproc.Enhancer`: which are allowed, and what tiles they mean."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, TypedDict

import torch

from preproc.errors import OptionError
from preproc.execution.sizes import Sizes
from preproc.execution.tiling import TilePolicy
from preproc.networks import ModelDescriptor, Tiling
from preproc.resize import BICUBIC_REACH
from preproc.values import is_whole_number


class EnhancerOptions(TypedDict, total=False):
    """Options of `preproc.Enhancer` that data pipelines have, too; they mean the same."""

    scale: int | None
    weights: str | Path | None
    to_input_size: bool
    dtype: torch.dtype | str | None
    tile: int | None
    overlap: int | None
    strength: float
    self_ensemble: bool
    batch_size: int | None


def require_options(options: Mapping[str, Any]) -> None:
    """Check that options of an `Enhancer` are what they may be; any may be left out.

    Args:
        options: by name, as `preproc.Enhancer` takes them.

    Raises:
        OptionError: one is of the wrong kind, or out of range.
    """
    for name, least in (("tile", 0), ("overlap", 0), ("batch_size", 1)):
        value = options.get(name)
        if value is not None and not is_whole_number(value, least):
            raise OptionError(f"{name} must be a whole number, {least} or more, but is {value!r}.")
    for name in ("to_input_size", "self_ensemble"):
        if options.get(name, False) not in (True, False):
            raise OptionError(f"{name} must be True or False, but is {options[name]!r}.")
    strength = options.get("strength", 1.0)
    if not isinstance(strength, Real) or not 0 < float(strength) <= 1:
        raise OptionError(
            f"strength must be above 0 and at most 1, but is {strength!r}; plain bicubic alone is "
            "`preproc.resize.imresize`."
        )


def tile_policy(
    descriptor: ModelDescriptor,
    tile: int | None,
    overlap: int | None,
    sizes: Sizes,
    *,
    shrinks: bool,
    mixes: bool = False,
) -> TilePolicy:
    """How an enhancer cuts pictures.

    Args:
        descriptor: of the network.
        tile: longest side of a tile in LR px, 0 for none; None takes what suits network and device.
        overlap: LR px of real neighbours; None takes the network's.
        sizes: what suits the device.
        shrinks: whether tiles return to the input's size, for which bicubic needs more neighbours.
        mixes: whether small pictures of nearly one size share a pass.

    Raises:
        OptionError: a tile is too small for its overlaps.
    """
    if tile is None:
        tile = sizes.tile if descriptor.tiling is Tiling.TILES else 0
    overlap = descriptor.overlap if overlap is None else overlap
    return TilePolicy(
        size=tile or None,
        overlap=overlap + BICUBIC_REACH if shrinks else overlap,
        border=descriptor.border,
        size_rule=descriptor.size,
        bucket=sizes.bucket if mixes else 1,
        mixed_side=sizes.mixed_side if mixes else 0,
    )
