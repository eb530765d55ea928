"""Pictures of different sizes in one batch, each with exactly the answer it has alone.

A convolution takes what lies outside a picture as zero, at every layer. Smaller pictures of a batch
are therefore filled up, and what is outside their own extent is set to zero again in front of every
convolution. The fill repeats the edge, as a bilinear skip does at the border of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_HARMLESS = (
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh),
    nn.PixelShuffle,
)
_masks: ContextVar[dict[int, Tensor] | None] = ContextVar("masks", default=None)


def stack(pictures: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Make one batch of pictures (C, H, W).

    Returns:
        (N, C, H', W') with the largest height and width there are, smaller pictures at the top
        left; and which px are a picture's own, (N, 1, H', W') of zeros and ones, or None where
        all are.
    """
    shapes = [picture.shape[-2:] for picture in pictures]
    height, width = (max(extents) for extents in zip(*shapes, strict=True))
    if all(shape == (height, width) for shape in shapes):
        return torch.stack(list(pictures)), None
    batch = pictures[0].new_empty(len(pictures), pictures[0].shape[0], height, width)
    device = batch.device
    inside = torch.zeros(len(pictures), 1, height, width, device=device)
    rows, columns = (torch.arange(extent, device=device) for extent in (height, width))
    for n, (picture, (h, w)) in enumerate(zip(pictures, shapes, strict=True)):
        batch[n] = picture[:, rows.clamp(max=h - 1)][..., columns.clamp(max=w - 1)]
        inside[n, :, :h, :w] = 1
    return batch, inside


def can_mix(network: nn.Module) -> bool:
    """Make ready a network for `only_inside`, if its layers allow exact answers.

    They do when px mix in zero-padded ``nn.Conv2d`` of stride 1 only; a network must also be local
    as a whole, which its descriptor knows.
    """
    leaves = [module for module in network.modules() if not any(module.children())]
    if not all(isinstance(leaf, _HARMLESS) or _is_zero_padded(leaf) for leaf in leaves):
        return False
    for leaf in leaves:
        if isinstance(leaf, nn.Conv2d) and leaf.kernel_size != (1, 1):
            leaf.register_forward_pre_hook(_clear_outside)
    return True


def reach(network: nn.Module) -> int:
    """Most px that one convolution of the network sees to each side."""
    return max(
        (
            d * (k - 1) // 2
            for module in network.modules()
            if isinstance(module, nn.Conv2d)
            for d, k in zip(module.dilation, module.kernel_size, strict=True)
        ),
        default=0,
    )


@contextmanager
def only_inside(inside: Tensor | None) -> Iterator[None]:
    """Let the networks made ready see zeros outside pictures; ``inside`` is as `stack` gives it."""
    token = _masks.set(None if inside is None else {1: inside})
    try:
        yield
    finally:
        _masks.reset(token)


def inside() -> Tensor | None:
    """The mask that `only_inside` was given, where there is one."""
    masks = _masks.get()
    return None if masks is None else masks[1]


def _clear_outside(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    masks = _masks.get()
    if masks is None:
        return None
    x, *others = inputs
    factor = x.shape[-1] // masks[1].shape[-1]
    if factor not in masks:
        masks[factor] = masks[1].repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return x * masks[factor].to(x.dtype), *others


def _is_zero_padded(leaf: nn.Module) -> bool:
    if not isinstance(leaf, nn.Conv2d) or leaf.padding_mode != "zeros" or leaf.stride != (1, 1):
        return False
    extents = [d * (k - 1) for d, k in zip(leaf.dilation, leaf.kernel_size, strict=True)]
    return [2 * p for p in leaf.padding if isinstance(p, int)] == extents
