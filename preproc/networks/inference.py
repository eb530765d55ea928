"""Networks in the form for inference: the same answer, faster.

Parameters are cast to the trunk's dtype once instead of in every call, buffers are reused, and
layers are computed in another order or precision where that is faster. Each module knows its own
inference form and converts itself (`Preparable.prepare`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from itertools import chain

import torch
from torch import nn


class Preparable(ABC):
    """A module with a form for inference."""

    @abstractmethod
    def prepare(self, dtype: torch.dtype) -> None:
        """Take that form, for good; parameters that change are replaced, not overwritten.

        Args:
            dtype: what the trunk is computed in, under autocast where that is not float32.
        """


class Compilable(ABC):
    """A network most of which is one block, repeated."""

    @abstractmethod
    def compile_blocks(self) -> None:
        """Have ``torch.compile`` make one graph for all blocks and all sizes of pictures."""


def inference_form(network: nn.Module, dtype: torch.dtype, *, compiled: bool = False) -> nn.Module:
    """A network in the form for inference, on the same device.

    Args:
        network: stays as it is; unchanged parameters are shared, not copied.
        dtype: what its trunk will be computed in.
        compiled: whether its repeated blocks are compiled when first used. Sizes are symbols in
            their graph, so that a new one does not compile anew; what does, once, is going from
            squares to others, from one picture to several and, on CPUs, to far larger ones.

    Returns:
        A module with the same arguments and, but for rounding, the same result; the network itself
        where nothing in it has such a form.
    """
    if not any(isinstance(module, Preparable) for module in network.modules()):
        return network
    shared = {id(value): value for value in chain(network.parameters(), network.buffers())}
    form = copy.deepcopy(network, shared)
    # Parents first: a block may fuse its convolutions while they still have their trained weights.
    # Children are visited as the parent left them.
    for module in form.modules():
        if isinstance(module, Preparable):
            module.prepare(dtype)
        if compiled and isinstance(module, Compilable):
            module.compile_blocks()
    return form
