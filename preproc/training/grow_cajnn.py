"""Growing a trained CAJNN into a wider or deeper one that starts as the same function.

A deep network trained from scratch learns nothing in its first CPU hours, because the signal has
to find its way through blocks that are still noise. A small network that already restores, copied
into the corner of the large one, starts where the small one ended:

* Wider: the old channels keep their weights and read nothing from the new ones, which start at
  their random features, so that training can use them from its first step (Net2Net's idea, with
  zero instead of copied weights).
* Deeper: new blocks are spread among the old ones and start as the identity. Their dense blocks
  end in zero convolutions, which alone would make an RRDB ``x + 0.2 * x``, so the last of the three
  also subtracts what it was given: ``x + 0.2 * (x - 0.2 * 5 * x) = x``. Rescaling the features
  instead would be exact too, but it leaves layers with small weights on large features, which
  Adam's first steps, all of one size, throw off.
"""

from __future__ import annotations

import torch
from torch import nn

from preproc.errors import RecipeError
from preproc.networks.cajnn import CAJNN, RESIDUAL_SCALE, DenseBlock


def grow_cajnn(small: CAJNN, large: CAJNN) -> None:
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
    with torch.no_grad():
        for name in (n for n in new if not n.startswith("trunk")):
            if name not in old:
                raise RecipeError(f"The smaller network has no {name}, so it cannot be grown.")
            _embed(old[name], new[name], _segments(name, small), _segments(name, large))
        for at in range(more):
            if at in homes:
                pairs = zip(_dense(small, homes[at]), _dense(large, at), strict=True)
                for one, other in pairs:
                    _embed_dense(one, other)
            else:
                _make_identity(_dense(large, at))


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


def _embed_dense(small: DenseBlock, large: DenseBlock) -> None:
    for k, (one, other) in enumerate(zip(small.convs, large.convs, strict=True)):
        parts = []
        for block in (small, large):
            first = block.convs[0]
            assert isinstance(first, nn.Conv2d)
            parts.append([first.in_channels] + [first.out_channels] * k)
        _embed(one, other, *parts)


def _embed(small: nn.Module, large: nn.Module, old: list[int], new: list[int]) -> None:
    """Copy a convolution into the first channels of a larger one.

    Concatenated inputs are copied part by part.
    """
    assert isinstance(small, nn.Conv2d)
    assert isinstance(large, nn.Conv2d)
    if len(old) != len(new) or any(a > b for a, b in zip(old, new, strict=True)):
        raise RecipeError(f"A convolution of {old} inputs does not grow into one of {new}.")
    rows = small.out_channels
    if rows > large.out_channels:
        raise RecipeError(
            f"A convolution of {rows} outputs does not grow into one of {large.out_channels}."
        )
    large.weight[:rows].zero_()
    at = start = 0
    for a, b in zip(old, new, strict=True):
        large.weight[:rows, start : start + a] = small.weight[:, at : at + a]
        at, start = at + a, start + b
    if large.bias is not None and small.bias is not None:
        large.bias[:rows] = small.bias


def _make_identity(blocks: list[DenseBlock]) -> None:
    """Let an RRDB, given as its dense blocks, return its input."""
    for block in blocks:
        for parameter in block.convs[4].parameters():
            parameter.zero_()
    last = blocks[-1].convs[4]
    assert isinstance(last, nn.Conv2d)
    own = torch.arange(last.out_channels)
    last.weight[own, own, 1, 1] = -1 / RESIDUAL_SCALE
