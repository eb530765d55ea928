"""Weights to start from: a network's own, or those of a smaller one of its family, grown."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.networks.cajnn import CAJNN
from preproc.networks.cisrnet import CISRNet
from preproc.training.initial_weights.grow_cajnn import grow_cajnn
from preproc.training.initial_weights.grow_cisrnet import grow_cisrnet


def load_into(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights, growing them when they belong to a smaller network of the family.

    Args:
        network: receives the weights.
        state: weights of this network or of a smaller one: for CAJNN narrower or shallower; for
            CISRNet also its coarse half alone, or another scale.

    Raises:
        RecipeError: the weights fit neither.
    """
    own = network.state_dict()
    odd = [key for key in state if key not in own or state[key].shape != own[key].shape]
    odd += [key for key in own if key not in state]
    if not odd:
        network.load_state_dict(dict(state))
    elif not _grow_into(network, dict(state)):
        raise RecipeError(
            f"The initial weights do not fit the network: {', '.join(odd[:3])} and others; check "
            "model, scale and network of the recipe."
        )


def _grow_into(network: nn.Module, left: dict[str, Tensor]) -> bool:
    """Whether the weights, all of them, were those of a smaller network and have been grown."""
    try:
        with torch.no_grad():
            if isinstance(network, CAJNN):
                grow_cajnn(left, network)
            elif isinstance(network, CISRNet):
                grow_cisrnet(left, network)
    except (KeyError, RuntimeError, ZeroDivisionError):  # missing, or of other shapes
        return False
    return not left
