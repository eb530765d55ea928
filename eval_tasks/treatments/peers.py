"""Other people's networks: what spandrel can load, run by the same tiles and runtime as ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import spandrel
import torch
from torch import Tensor, nn

from preproc.errors import ModelError
from preproc.execution.runtime import Precision, Runtime
from preproc.execution.tiles import run_tiles
from preproc.execution.tiling import TilePolicy
from preproc.networks import SizeRule
from preproc.samples import Pixels

TILE, OVERLAP = 512, 32
"""Longest side of a tile and overlap in LR px, where a network says that it bears tiles."""


def load_peer(
    path: Path, device: torch.device, state: Mapping[str, Tensor] | None = None
) -> tuple[int, Callable[[Pixels], Pixels]]:
    """Load a network; it runs in float32.

    Args:
        path: a file that spandrel can load, of any architecture that takes RGB or grey pictures.
        device: where the network is to run.
        state: its weights, where the file is in a format that spandrel cannot read.

    Returns:
        The scale, and what maps uint8 RGB (H, W, 3) to (scale*H, scale*W, 3). A network for grey
        pictures is given the three channels one by one.

    Raises:
        ModelError: spandrel does not know the network, or it is for other input.
    """
    loader = spandrel.ModelLoader("cpu")
    try:
        network = (
            loader.load_from_file(path) if state is None else loader.load_from_state_dict(state)
        )
    except Exception as error:  # whatever reading a stranger's file may raise
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise ModelError(f"spandrel cannot load {path} ({reason}).") from error
    if not isinstance(network, spandrel.ImageModelDescriptor) or (
        network.input_channels != network.output_channels or network.input_channels not in (1, 3)
    ):
        raise ModelError(
            f"{path} is not a network from RGB or grey pictures to pictures of the kind."
        )
    size = network.size_requirements
    policy = TilePolicy(
        TILE if network.tiling is spandrel.ModelTiling.SUPPORTED else None,
        OVERLAP,
        size_rule=SizeRule(max(size.minimum, 1), size.multiple_of),
    )
    runtime = Runtime(_Module(network), device, Precision(torch.float32), path.stem)
    return network.scale, _tiled(runtime, policy, network.scale)


class _Module(nn.Module):
    """A network of spandrel's, which takes one picture at a time, in its own channels."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401 - spandrel is not typed
        super().__init__()
        self.model = network.model  # so that it moves with this module
        self._network = network

    def forward(self, x: Tensor) -> Tensor:
        pictures = x.reshape(-1, 1, self._network.input_channels, *x.shape[-2:])
        y = torch.cat([self._network(picture) for picture in pictures])
        return y.reshape(len(x), 3, *y.shape[-2:])


def _tiled(runtime: Runtime, policy: TilePolicy, scale: int) -> Callable[[Pixels], Pixels]:
    def apply(img: Pixels) -> Pixels:
        picture = torch.from_numpy(np.array(img.transpose(2, 0, 1), order="C"))
        height, width = picture.shape[-2:]
        canvas = torch.empty(3, scale * height, scale * width, dtype=torch.uint8)
        run_tiles([picture], [canvas], runtime, policy)
        return np.array(canvas.permute(1, 2, 0).numpy(), order="C")

    return apply
