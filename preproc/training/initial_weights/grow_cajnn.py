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
from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.networks.cajnn import CAJNN, RESIDUAL_SCALE, RRDB
from preproc.training.initial_weights.depth import count, spread


def grow_cajnn(small: dict[str, Tensor], large: CAJNN) -> None:
    """Overwrite ``large`` so that it computes what a smaller network does.

    Args:
        small: trained weights of the smaller network; those that are used are taken out.
        large: a network of the same scale and options, no narrower and no shallower.

    Raises:
        KeyError: ``small`` lacks weights, or has some of another kernel, scale, upsampling or
            number of colours.
        RecipeError: ``large`` is narrower or shallower.
    """
    own = large.state_dict()
    old, new = _widths(small), _widths(own)
    wider_tail = len(own["conv_hr.weight"]) / len(small["conv_hr.weight"])
    homes = spread(count(small, "trunk."), len(large.trunk))
    for key, value in own.items():
        source = key
        if key.startswith("trunk."):
            _, number, rest = key.split(".", 2)
            if int(number) not in homes:
                continue
            source = f"trunk.{homes[int(number)]}.{rest}"
        trained = small.pop(source)
        if not _is_alike(key, trained, value) or (
            key.startswith("upsampler.") and len(value) / len(trained) != wider_tail
        ):
            raise KeyError(key)
        _embed(trained, value, _parts(key, trained, *old), _parts(key, value, *new))
    for at, block in enumerate(large.trunk):
        if at not in homes:
            _make_identity(block)


def _widths(state: dict[str, Tensor]) -> tuple[int, int]:
    """Features and growth."""
    return len(state["conv_first.weight"]), len(state["trunk.0.dense.0.convs.0.weight"])


def _is_alike(key: str, small: Tensor, large: Tensor) -> bool:
    """Whether weights or biases differ in the width of the network alone."""
    if small.ndim != large.ndim or small.shape[2:] != large.shape[2:]:
        return False
    if key.startswith("conv_last."):
        return len(small) == len(large)  # colours
    return key != "conv_first.weight" or small.shape[1] == large.shape[1]


def _parts(key: str, value: Tensor, features: int, growth: int) -> list[int]:
    """How the input channels of weights divide into those that were concatenated; none of biases.

    Args:
        key: name of the weights or biases.
        value: these, (outputs, inputs, height, width) or (outputs,).
        features: of the network.
        growth: of its dense blocks.
    """
    if value.ndim == 1:
        return []
    inputs = value.shape[1]
    if key == "context.fuse.weight":
        return [features] * (inputs // features)
    if ".convs." in key:
        return [features] + [growth] * ((inputs - features) // growth)
    return [inputs]


def _embed(small: Tensor, large: Tensor, old: list[int], new: list[int]) -> None:
    """Copy a convolution's weights or biases into the first channels of a larger one.

    Concatenated inputs are copied part by part.
    """
    odd = bool(old) and sum(old) != small.shape[1]
    if odd or len(old) != len(new) or any(a > b for a, b in zip(old, new, strict=True)):
        raise RecipeError(f"A convolution of {old} inputs does not grow into one of {new}.")
    rows = len(small)
    if rows > len(large):
        raise RecipeError(
            f"A convolution of {rows} outputs does not grow into one of {len(large)}."
        )
    if small.ndim == 1:
        large[:rows] = small
        return
    large[:rows].zero_()
    at = start = 0
    for a, b in zip(old, new, strict=True):
        large[:rows, start : start + a] = small[:, at : at + a]
        at, start = at + a, start + b


def _make_identity(block: nn.Module) -> None:
    """Let an RRDB return its input."""
    assert isinstance(block, RRDB)
    ends = [dense.get_submodule("convs.4") for dense in block.dense]
    for end in ends:
        for parameter in end.parameters():
            parameter.zero_()
    last = ends[-1]
    assert isinstance(last, nn.Conv2d)
    own = torch.arange(last.out_channels)
    last.weight[own, own, 1, 1] = -1 / RESIDUAL_SCALE
