"""Pictures of different sizes in one batch, each with exactly the answer it has alone.

A convolution takes what lies outside a picture as zero, at every layer. Smaller pictures of a batch
are filled up with their edges, as a bilinear skip sees them at the border of a picture, and a mask
sets what is outside their own extent to zero again in front of every convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn


class _Masks(dict[tuple[int, torch.dtype], Tensor]):
    """A mask at whole factors of its size and in other dtypes, each made when first asked for."""

    def __init__(self, given: Tensor) -> None:
        super().__init__()
        self.given = given

    def __missing__(self, key: tuple[int, torch.dtype]) -> Tensor:
        factor, dtype = key
        enlarged = self.given.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        return self.setdefault(key, enlarged.to(dtype))


_masks: ContextVar[_Masks | None] = ContextVar("masks", default=None)


def install_masks(network: nn.Module) -> None:
    """Make a network's convolutions apply the mask that `masked` sets; twice changes nothing.

    Its descriptor has to say that it is ``maskable``.
    """
    for module in network.modules():
        mixes = isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
        if mixes and _clear_outside not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_clear_outside)


@contextmanager
def masked(mask: Tensor | None) -> Iterator[None]:
    """Convolutions of networks with `install_masks` see zeros outside the mask meanwhile.

    Args:
        mask: (N, 1, H, W), 1 at the px of pictures and 0 elsewhere; None where all px are.
    """
    token = _masks.set(None if mask is None else _Masks(mask))
    try:
        yield
    finally:
        _masks.reset(token)


def current_mask(dtype: torch.dtype | None = None) -> Tensor | None:
    """The mask that `masked` was given, where there is one; in a dtype, if given."""
    masks = _masks.get()
    if masks is None:
        return None
    return masks.given if dtype is None else masks[1, dtype]


def _clear_outside(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    masks = _masks.get()
    if masks is None:
        return None
    x, *others = inputs
    return x * masks[x.shape[-1] // masks.given.shape[-1], x.dtype], *others
