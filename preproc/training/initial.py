"""Weights to start from: a network's own, or those of a smaller one of its family, grown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.networks.cajnn import CAJNN
from preproc.networks.cisrnet import CISRNet
from preproc.training.grow_cajnn import grow_cajnn
from preproc.training.grow_cisrnet import grow_cisrnet

State = Mapping[str, Tensor]


def load_into(network: nn.Module, state: State, options: Mapping[str, Any] | None = None) -> None:
    """Load weights, growing them when they belong to a smaller network of the family.

    Args:
        network: receives the weights.
        state: weights of this network or of a smaller one: for CAJNN narrower or shallower; for
            CISRNet also its coarse half alone, or another scale.
        options: constructor options of ``network`` that its weights do not show.

    Raises:
        RecipeError: the weights fit neither.
    """
    own = network.state_dict()
    odd = [key for key in state if key not in own or state[key].shape != own[key].shape]
    odd += [key for key in own if key not in state]
    if not odd:
        network.load_state_dict(dict(state))
        return
    small = _smaller(network, state, options or {})
    if small is None or _shapes(small.state_dict()) != _shapes(state):
        raise RecipeError(
            f"The initial weights do not fit the network: {', '.join(odd[:3])} and others; check "
            "model, scale and network of the recipe."
        )
    small.load_state_dict(dict(state))
    if isinstance(small, CAJNN) and isinstance(network, CAJNN):
        grow_cajnn(small, network)
    elif isinstance(small, CISRNet) and isinstance(network, CISRNet):
        grow_cisrnet(small, network)


def cajnn_shape(state: State) -> dict[str, int]:
    """Features, growth and blocks of a CAJNN from its weights."""
    return {
        "features": len(state["conv_first.weight"]),
        "growth": len(state["trunk.0.dense.0.convs.0.weight"]),
        "blocks": _count(state, "trunk."),
    }


def _smaller(network: nn.Module, state: State, options: Mapping[str, Any]) -> nn.Module | None:
    """An untrained network of the size that ``state`` belongs to, or None if it is no relative."""
    try:
        if isinstance(network, CAJNN):
            return CAJNN(**{"scale": network.scale, **options, **cajnn_shape(state)})
        if isinstance(network, CISRNet):
            return CISRNet(**_cisrnet_shape(state))
    except KeyError:  # the keys that tell the size are missing
        return None
    return None


def _cisrnet_shape(state: State) -> dict[str, Any]:
    """Constructor options of a CISRNet from its weights."""
    first = "coarse.groups.0.blocks.0."
    features = len(state["coarse.conv_first.weight"])
    steps = _count(state, "coarse.upsampler.")
    factor = (len(state["coarse.upsampler.0.conv.weight"]) / features) ** 0.5
    fine = _count(state, "fine.groups.")
    return {
        "scale": round(factor) ** steps,
        "features": features,
        "reduction": features // len(state[f"{first}channel.squeeze.weight"]),
        "blocks": _count(state, "coarse.groups.0.blocks."),
        "coarse_groups": _count(state, "coarse.groups."),
        "fine_groups": fine or 1,
        "coarse_attention": _attention(state, first),
        "fine_attention": _attention(state, "fine.groups.0.blocks.0."),
        "coarse_only": not fine,
    }


def _attention(state: State, block: str) -> str:
    return "pdab" if f"{block}fuse.weight" in state else "sdab"


def _count(state: State, prefix: str) -> int:
    """How many numbered parts there are below a prefix."""
    numbers = {key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)}
    return len(numbers)


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
