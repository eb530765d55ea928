"""How much to compute at a time on a kind of device."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sizes:
    """What suits a kind of device: little at a time for a CPU's caches, much for a GPU's cores.

    Attributes:
        tile: longest side of a tile in LR px.
        batch: maximum number of pictures or tiles in a pass.
        bucket: pictures whose sides round up to the same multiples of it share a pass.
        mixed_side: longest side in LR px of pictures that may share a pass by ``bucket``.
        strip: LR px in a strip of the HR tail, not counting its neighbours: on a GPU as many as
            take no more memory than the trunk of a tile, on a CPU what its caches hold and
            allocators reuse.
        window_cost: what a region's window takes beside its own px, in px: launches and copies.
    """

    tile: int
    batch: int
    bucket: int
    mixed_side: int
    strip: int
    window_cost: int


CPU = Sizes(tile=512, batch=8, bucket=16, mixed_side=128, strip=2**12, window_cost=0)
GPU = Sizes(tile=1024, batch=64, bucket=32, mixed_side=512, strip=2**17, window_cost=2**14)


def sizes_for(device: torch.device) -> Sizes:
    """What suits a device."""
    return CPU if device.type == "cpu" else GPU
