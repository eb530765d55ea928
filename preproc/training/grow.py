"""Growing a trained CAJNN into a wider or deeper one that starts as the same function.

A deep network trained from scratch learns nothing in its first CPU hours, because the signal has
to find its way through blocks that are still noise. A small network that already restores, copied
into the corner of the large one, starts where the small one ended:

* Wider: the old channels keep their weights and read nothing from the new ones, which start at
  their random features, so that training can use them from its first step (Net2Net's idea, with
  zero instead of copied weights).
* Deeper: a new block's dense blocks end in zero convolutions and are spread among the old ones. An
  RRDB is then ``x + 0.2 * x``, so the features grow by 1.2 a new block; every layer of the trunk is
  positively homogeneous, so scaling the biases with the features keeps the function exact, and the
  layers around the trunk share the total factor.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.networks.cajnn import CAJNN, DenseBlock

_IDENTITY_GAIN = 1.2  # what an RRDB of zero residuals multiplies by


def grow(small: CAJNN, large: CAJNN) -> None:
    """Overwrite ``large`` so that it computes what ``small`` does.

    Args:
        small: the trained network.
        large: a network of the same scale and options, no narrower and no shallower.

    Raises:
        RecipeError: the two differ in more than width and depth, or ``large`` is smaller.
    """
    blocks, more = len(small.trunk), len(large.trunk)
    old, new = _convs(small), _convs(large)
    if blocks > more or blocks == 0:
        raise RecipeError(f"A network of {blocks} blocks does not grow into one of {more}.")
    homes = {(k + 1) * more // blocks - 1: k for k in range(blocks)}
    gain = float(_IDENTITY_GAIN ** (-(more - blocks) / 2))
    with torch.no_grad():
        for name in (n for n in new if not n.startswith("trunk")):
            if name not in old:
                raise RecipeError(f"The smaller network has no {name}, so it cannot be grown.")
            _embed(old[name], new[name], _segments(name, small), _segments(name, large))
        _scale(_last_before_trunk(large), gain)
        for at in range(more):
            if at in homes:
                pairs = zip(_dense(small, homes[at]), _dense(large, at), strict=True)
                for one, other in pairs:
                    _embed_dense(one, other, gain)
            else:
                for dense in _dense(large, at):
                    _zero(dense.convs[4])
                gain *= _IDENTITY_GAIN
        new["upsampler.0.conv"].weight.div_(gain)


def load_into(network: nn.Module, state: Mapping[str, Tensor], small: nn.Module | None) -> None:
    """Load weights, growing them when they belong to a smaller network of the family.

    Args:
        network: receives the weights.
        state: of ``network``, of its coarse half, or of ``small``.
        small: an untrained network of the size ``state`` belongs to, or None.

    Raises:
        RecipeError: the weights fit neither.
    """
    own = network.state_dict()
    same = {key for key in state if key in own and state[key].shape == own[key].shape}
    if len(same) == len(state):
        network.load_state_dict(dict(state), strict=False)
        return
    if not (isinstance(small, CAJNN) and isinstance(network, CAJNN)):
        odd = sorted(set(state) - same)[:3]
        raise RecipeError(
            f"The initial weights do not fit the network: {', '.join(odd)} and {len(state)} keys "
            "in all; check model, scale and network of the recipe."
        )
    small.load_state_dict(dict(state))
    grow(small, network)


def shape_of(state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Features, growth and blocks of a CAJNN from its state dict."""
    features = state["conv_first.weight"].shape[0]
    growth = state["trunk.0.dense.0.convs.0.weight"].shape[0]
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("trunk."))
    return features, growth, blocks


def _convs(network: CAJNN) -> dict[str, nn.Conv2d]:
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}


def _dense(network: CAJNN, block: int) -> list[DenseBlock]:
    return [m for m in network.trunk[block].modules() if isinstance(m, DenseBlock)]


def _segments(name: str, network: CAJNN) -> list[int]:
    """How a convolution's input channels divide into the parts that were concatenated."""
    channels: int = network.get_submodule(name).in_channels  # type: ignore[assignment]
    if name == "context.fuse":
        features: int = network.conv_first.out_channels
        return [features] * (channels // features)
    return [channels]


def _embed_dense(small: DenseBlock, large: DenseBlock, gain: float) -> None:
    for k, (one, other) in enumerate(zip(small.convs, large.convs, strict=True)):
        parts = []
        for block in (small, large):
            first = block.convs[0]
            assert isinstance(first, nn.Conv2d)
            parts.append([first.in_channels] + [first.out_channels] * k)
        _embed(one, other, *parts)
        assert isinstance(other, nn.Conv2d)
        assert other.bias is not None
        other.bias.mul_(gain)


def _embed(small: nn.Module, large: nn.Module, old: list[int], new: list[int]) -> None:
    """Copy a convolution into the first channels of a larger one, segment by segment."""
    assert isinstance(small, nn.Conv2d)
    assert isinstance(large, nn.Conv2d)
    if len(old) != len(new) or any(a > b for a, b in zip(old, new, strict=True)):
        raise RecipeError(f"A convolution of {old} inputs does not grow into one of {new}.")
    rows = small.out_channels
    large.weight[:rows].zero_()
    at = start = 0
    for a, b in zip(old, new, strict=True):
        large.weight[:rows, start : start + a] = small.weight[:, at : at + a]
        at, start = at + a, start + b
    if large.bias is not None and small.bias is not None:
        large.bias[:rows] = small.bias


def _last_before_trunk(network: CAJNN) -> nn.Conv2d:
    convs = [m for m in network.context.modules() if isinstance(m, nn.Conv2d)]
    return convs[-1] if convs else network.conv_first


def _zero(conv: nn.Module) -> None:
    for parameter in conv.parameters():
        parameter.zero_()


def _scale(conv: nn.Conv2d, factor: float) -> None:
    conv.weight.mul_(factor)
    if conv.bias is not None:
        conv.bias.mul_(factor)
