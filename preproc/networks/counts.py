"""What a network costs: its parameters and its multiply-accumulates."""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from preproc.networks.registry import ModelDescriptor


class Cost(NamedTuple):
    """What a network costs: trainable values, and multiply-accumulates per LR px."""

    parameters: int
    macs_per_pixel: int


def cost_of(descriptor: ModelDescriptor) -> Cost:
    """A network's cost as its descriptor states it; what is not stated is counted."""
    parameters, macs = descriptor.parameters, descriptor.macs_per_pixel
    if parameters is None or macs is None:
        with torch.device("meta"):
            network = descriptor.build()
        parameters = count_parameters(network) if parameters is None else parameters
        macs = count_macs(network, descriptor.size.padded(1024)) if macs is None else macs
    return Cost(parameters, macs)


def count_parameters(module: nn.Module) -> int:
    """Number of a module's parameters, frozen ones too."""
    return sum(p.numel() for p in module.parameters())


def count_macs(module: nn.Module, size: int = 1024) -> int:
    """Multiply-accumulates of all convolutions and matrix products per input px.

    Counted while a (1, 3, size, size) zero passes through on the meta device, so it costs no
    arithmetic and leaves the module as it was. ``size`` must suit the network and be large where
    it works on pooled values, whose cost an input px hardly notices.
    """
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - imports Triton

    state = chain(module.named_parameters(), module.named_buffers())
    meta = {name: value.detach().to("meta") for name, value in state}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(module, meta, torch.zeros(1, 3, size, size, device="meta"))
    macs: int = counter.get_total_flops() // 2
    return round(macs / size**2)
