"""Growing a trained CISRNet into a wider or deeper one, or one of another scale.

A residual group whose last convolution is zero is the identity, and so is a block whose fusion
(PDAB) or last convolution (SDAB) is; new groups and blocks start that way, spread among the old
ones. A fine stage that starts with a zero last convolution hands on the coarse stage's picture.
The trunk works at LR and knows nothing of the scale; in an upsampler of another scale, each px that
an LR px becomes takes the filters of the nearest px of the old one.

A network k times as wide holds every channel k times (Net2WiderNet of "Net2Net"), for its spatial
attention takes the maximum and the mean of all channels, which copies leave as they are and zeros
would not. What reads a channel shares its weight out among the copies, unequally and at random, so
that their gradients differ from the first step on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.networks.blocks import SubPixel
from preproc.networks.cisrnet import PDAB, CISRNet, Coarse, Fine, ResidualGroup
from preproc.training.initial_weights.depth import count, spread


def grow_cisrnet(small: dict[str, Tensor], large: CISRNet) -> None:
    """Overwrite ``large`` so that, at the scale of the small network, it computes what that does.

    Args:
        small: trained weights of the small network, whole or its coarse half; those that are used
            are taken out.
        large: a network with the same attention, no shallower, and as wide or a whole number of
            times wider.

    Raises:
        KeyError: ``small`` lacks weights, or has another attention.
        RecipeError: ``large`` is smaller, or of a width in between.
    """
    width = len(small["coarse.conv_first.weight"])
    _grow_stage(small, "coarse", large.coarse)
    steps = _pop_all(small, "coarse.upsampler.")
    for n, step in enumerate(large.coarse.upsampler):
        assert isinstance(step, SubPixel)
        source = n % max(1, count(steps, "coarse.upsampler."))
        for key, value in step.conv.state_dict().items():
            trained = steps[f"coarse.upsampler.{source}.conv.{key}"]
            resampled = _resampled(trained, width, step.shuffle.upscale_factor)
            value.copy_(_widened(resampled, value.shape))
    if not isinstance(large.fine, Fine):
        _pop_all(small, "fine.")
    elif count(small, "fine.groups."):
        _grow_stage(small, "fine", large.fine)
    else:
        silence(large.fine.conv_last)


def _grow_stage(small: dict[str, Tensor], name: str, large: Coarse | Fine) -> None:
    """Grow a coarse or a fine stage, upsampler apart."""
    for child, part in large.named_children():
        if child not in ("groups", "upsampler"):
            _take(small, f"{name}.{child}", part)
    old_groups = spread(count(small, f"{name}.groups."), len(large.groups))
    old_blocks = count(small, f"{name}.groups.0.blocks.")
    for n, group in enumerate(large.groups):
        assert isinstance(group, ResidualGroup)
        if n not in old_groups:
            silence(group.conv)
            continue
        source = f"{name}.groups.{old_groups[n]}"
        _take(small, f"{source}.conv", group.conv)
        homes = spread(old_blocks, len(group.blocks))
        for m, block in enumerate(group.blocks):
            if m in homes:
                _take(small, f"{source}.blocks.{homes[m]}", block)
            else:
                silence(block.get_submodule("fuse" if isinstance(block, PDAB) else "conv2"))


def _resampled(trained: Tensor, width: int, factor: int) -> Tensor:
    """Filters of one step of an upsampler for a step of another factor, by nearest px.

    Args:
        trained: (width * r * r, ...) of a step by r.
        width: channels in front of it.
        factor: of the other step.
    """
    few = round((len(trained) / width) ** 0.5)
    nearest = torch.arange(factor).mul(2).add(1).mul(few).div(2 * factor, rounding_mode="floor")
    # PixelShuffle takes a channel's px side by side, row by row.
    grid = trained.reshape(width, few, few, *trained.shape[1:])
    return grid[:, nearest][:, :, nearest].flatten(0, 2)


def _take(small: dict[str, Tensor], name: str, part: nn.Module) -> None:
    """Move weights of the small network, widened, into a part of the large one."""
    for key, value in part.state_dict().items():
        # A PDAB's fusion reads its features twice, gated by position and by channel.
        stacks = 2 if key == "fuse.weight" else 1
        value.copy_(_widened(small.pop(f"{name}.{key}"), value.shape, stacks))


def _widened(trained: Tensor, shape: Sequence[int], groups: int = 1) -> Tensor:
    """A parameter for layers with every channel several times.

    Args:
        trained: (out, in, ...) or (out,).
        shape: of the result, a whole number of times ``trained``'s in its first two dimensions.
        groups: how many stacks of channels ``in`` consists of; each is repeated by itself.
    """
    if trained.ndim != len(shape) or any(b % a for a, b in zip(trained.shape, shape, strict=True)):
        raise RecipeError(
            f"The initial weights do not grow from {tuple(trained.shape)} to {tuple(shape)}: a "
            "CISRNet's features grow to a whole number of times as many."
        )
    copies = shape[0] // trained.shape[0]
    wide = torch.cat([trained] * copies)
    readers = shape[1] // trained.shape[1] if len(shape) > 1 else 1
    if readers == 1:
        return wide
    parts = []
    for stack in wide.chunk(groups, 1):
        noise = (torch.rand(readers, *stack.shape) - 0.5) / readers
        shares = 1 / readers + noise - noise.mean(0)
        parts += [stack * share for share in shares]
    return torch.cat(parts, 1)


def _pop_all(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key: state.pop(key) for key in [*state] if key.startswith(prefix)}


def silence(conv: nn.Module) -> None:
    """Let a convolution give zero everywhere."""
    for parameter in conv.parameters():
        parameter.zero_()
