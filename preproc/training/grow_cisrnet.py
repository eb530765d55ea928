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
from itertools import cycle

import torch
from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.networks.blocks import SubPixel
from preproc.networks.cisrnet import PDAB, CISRNet, Coarse, Fine, ResidualGroup


def grow_cisrnet(small: CISRNet, large: CISRNet) -> None:
    """Overwrite ``large`` so that, at the scale of ``small``, it computes what ``small`` does.

    Args:
        small: the trained network, whole or its coarse half.
        large: a network with the same attention, no shallower, and as wide or a whole number of
            times wider.

    Raises:
        RecipeError: ``large`` is smaller, of another attention or of a width in between.
    """
    with torch.no_grad():
        _grow_stage(small.coarse, large.coarse)
        for new, old in zip(large.coarse.upsampler, cycle(small.coarse.upsampler), strict=False):
            assert isinstance(new, SubPixel)
            assert isinstance(old, SubPixel)
            _resample(old, new)
        if not isinstance(large.fine, Fine):
            return
        if isinstance(small.fine, Fine):
            _grow_stage(small.fine, large.fine)
        else:
            silence(large.fine.conv_last)


def _grow_stage(small: nn.Module, large: nn.Module) -> None:
    """Grow a coarse or a fine stage, upsampler apart."""
    assert isinstance(small, (Coarse, Fine))
    assert isinstance(large, (Coarse, Fine))
    for name, part in small.named_children():
        if name not in ("groups", "upsampler"):
            _copy(part, large.get_submodule(name))
    for group, old in _spread(small.groups, large.groups):
        assert isinstance(group, ResidualGroup)
        if old is None:
            silence(group.conv)
            continue
        assert isinstance(old, ResidualGroup)
        _copy(old.conv, group.conv)
        for block, trained in _spread(old.blocks, group.blocks):
            if trained is not None:
                _copy(trained, block)
            else:
                last = block.fuse if isinstance(block, PDAB) else block.conv2
                assert isinstance(last, nn.Conv2d)
                silence(last)


def _spread(small: nn.Sequential, large: nn.Sequential) -> list[tuple[nn.Module, nn.Module | None]]:
    """Each part of the large sequence with the part of the small one that moves in, or None."""
    few, many = len(small), len(large)
    if few > many:
        raise RecipeError(f"A stage of {few} groups or blocks does not grow into one of {many}.")
    homes = {(k + 1) * many // few - 1: k for k in range(few)}
    return [(part, small[homes[n]] if n in homes else None) for n, part in enumerate(large)]


def _resample(old: SubPixel, new: SubPixel) -> None:
    """Filters of one step of an upsampler for a step of another factor, by nearest px."""
    few, many = (step.shuffle.upscale_factor for step in (old, new))
    nearest = torch.arange(many).mul(2).add(1).mul(few).div(2 * many, rounding_mode="floor")
    for parameter, trained in zip(new.conv.parameters(), old.conv.parameters(), strict=True):
        # PixelShuffle takes a channel's px side by side, row by row.
        grid = trained.reshape(-1, few, few, *trained.shape[1:])
        resampled = grid[:, nearest][:, :, nearest].flatten(0, 2)
        parameter.copy_(_widened(resampled, parameter.shape))


def _copy(old: nn.Module, new: nn.Module) -> None:
    state, own = old.state_dict(), new.state_dict()
    if state.keys() != own.keys():
        raise RecipeError(
            "The initial weights have another attention than the network; a CISRNet grows in "
            "width, depth and scale only."
        )
    for key, value in own.items():
        # A PDAB's fusion reads its features twice, gated by position and by channel.
        value.copy_(_widened(state[key], value.shape, 2 if key == "fuse.weight" else 1))


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


def silence(conv: nn.Conv2d) -> None:
    """Let a convolution give zero everywhere."""
    for parameter in conv.parameters():
        parameter.zero_()
