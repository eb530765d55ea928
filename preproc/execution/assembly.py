"""The ways in which a network runs, chosen and put together: whole, in strips, layer by layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from preproc.errors import OptionError
from preproc.execution.layerwise import Layerwise, large_layerwise
from preproc.execution.maps import MakeMap, in_files, in_memory
from preproc.execution.runtime import Precision, Runtime
from preproc.execution.sizes import sizes_for
from preproc.execution.strips import Strips
from preproc.execution.tiles import Apply
from preproc.files import require_writable
from preproc.networks import ModelDescriptor, SizeRule
from preproc.networks.halves import Splittable
from preproc.networks.inference import Compilable
from preproc.networks.masking import install_masks
from preproc.networks.steps import Stepwise
from preproc.paths import absolute_path


def assemble(
    network: nn.Module,
    descriptor: ModelDescriptor,
    device: torch.device,
    precision: Precision,
    *,
    masks: bool = False,
    strips: bool = True,
    shrinks: bool = False,
    layerwise: bool | None = None,
    map_folder: str | Path | None = None,
    fast: bool = True,
    compiled: bool = False,
) -> Apply:
    """Make a network ready for batches of tiles.

    Args:
        network: of ``descriptor``; it is moved to the device, not copied.
        descriptor: what is known about it.
        device: where it runs.
        precision: what its trunk is computed in.
        masks: whether batches of pictures of different sizes will come.
        strips: whether the tail of a network that is `Splittable` is computed in strips.
        shrinks: whether those are shrunk to the input's size; only where no padding has to go
            before.
        layerwise: whether a network that is `Stepwise` goes layer by layer: always, never, or by
            default where the picture is large.
        map_folder: for the maps of pictures that go layer by layer; made if missing.
        fast: whether the network runs in its form for inference.
        compiled: whether that form's repeated blocks are compiled.

    Returns:
        Maps float32 (N, 3, H, W) in [0, 1], and the mask of `Runtime` or None, to float32
        (N, 3, s*H, s*W), or to (N, 3, H, W) where strips were shrunk; see `Runtime`.

    Raises:
        OptionError: options are at odds with each other or with the network.
        OutputError: ``map_folder`` cannot be made or written to.
    """
    if compiled and not isinstance(network, Compilable):
        raise OptionError(
            f"{descriptor} has no repeated blocks to compile; leave compiled=True out."
        )
    steps = network if isinstance(network, Stepwise) else None
    _require_layerwise(descriptor, layerwise, map_folder, able=steps is not None)
    if masks:
        install_masks(network)
    ready = partial(Runtime, device=device, precision=precision, name=str(descriptor), fast=fast)
    layers = None
    if steps is not None and layerwise is not False:
        layers = ready(Layerwise(steps, make_map=_map_maker(map_folder)), in_pieces=True)
        if layerwise:
            return layers
    if strips and isinstance(network, Splittable):
        # Padding would have to go before shrinking, which only the stage can do.
        unpadded = descriptor.size == SizeRule() and not descriptor.border
        network = Strips(network, shrink=shrinks and unpadded, pixels=sizes_for(device).strip)
    whole = ready(network, compiled=compiled, graphs=not shrinks)
    return whole if layers is None else partial(large_layerwise, whole, layers, descriptor.scale)


def device_of_input(network: nn.Module, device: torch.device) -> torch.device:
    """Where pictures of a network that runs on ``device`` are best given to it.

    CUDA takes stored samples directly; other devices lack some dtypes. Networks that may run layer
    by layer get pictures on the host, since they may not fit the device.
    """
    straight = device.type == "cuda" and not isinstance(network, Stepwise)
    return device if straight else torch.device("cpu")


def _require_layerwise(
    descriptor: ModelDescriptor,
    layerwise: bool | None,
    map_folder: str | Path | None,
    *,
    able: bool,
) -> None:
    for option, value in (("layerwise", layerwise), ("map_folder", map_folder)):
        if not able and value not in (None, False):
            raise OptionError(
                f"{option} is for networks that pool over the whole picture and can go layer by "
                f"layer, which {descriptor} cannot; leave it out."
            )
    if layerwise is False and map_folder is not None:
        raise OptionError(
            "map_folder is for pictures that go layer by layer, and layerwise=False says that none "
            "does; leave one of them out."
        )


def _map_maker(map_folder: str | Path | None) -> MakeMap:
    """What makes the maps of pictures that go layer by layer."""
    if map_folder is None:
        return in_memory
    folder = absolute_path(map_folder)
    require_writable(folder)
    return partial(in_files, folder)
