"""What a network costs: its parameters and its multiply-accumulates."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values in a module."""
    return sum(p.numel() for p in module.parameters())


def count_macs(module: nn.Module, size: int = 1024) -> int:
    """Multiply-accumulates of all convolutions and matrix products per input px.

    Counted while a (1, 3, size, size) zero passes through on the meta device, so it costs no
    arithmetic and leaves the module as it was. ``size`` must suit the network and be large where
    it works on pooled values, whose cost an input px hardly notices.
    """
    state = chain(module.named_parameters(), module.named_buffers())
    meta = {name: value.detach().to("meta") for name, value in state}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(module, meta, torch.zeros(1, 3, size, size, device="meta"))
    macs: int = counter.get_total_flops() // 2
    return round(macs / size**2)
