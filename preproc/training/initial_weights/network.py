"""The network that a stage of training starts with."""

from __future__ import annotations

from inspect import signature

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from preproc.errors import ModelError, RecipeError, WeightsError, cause_of
from preproc.networks import find
from preproc.networks.cisrnet import CISRNet
from preproc.paths import expanded
from preproc.training.checkpoint_reading import UnreadableError, read_checkpoint
from preproc.training.initial_weights.load import load_into
from preproc.training.initial_weights.nearest import start_nearest
from preproc.training.recipe import Stage
from preproc.weights import load_state

NEAREST = "nearest"


def make_network(stage: Stage, init_from: str) -> nn.Module:
    """The network of a recipe, with its own initial weights or with those given.

    Args:
        stage: the recipe, whose own ``init_from`` is not looked at, since others go before it.
        init_from: weights to start from, as `Stage` describes them; empty for the network's own.

    Raises:
        ModelError: there is no such model or scale, or an option does not take its value.
        RecipeError: the network has no such option or cannot be made with these, or the weights do
            not fit it.
        WeightsError: the weights cannot be read.
    """
    build = find(stage.model, stage.scale).build
    known = signature(build).parameters.keys() - {"scale"}  # the stage's own
    unknown = sorted(stage.network.keys() - known)
    if unknown:
        raise RecipeError(
            f"{stage.name}: network: there is no key {unknown[0]!r}; known are "
            f"{', '.join(sorted(known)) or 'none'}."
        )
    torch.manual_seed(stage.seed)
    try:
        network = build(**stage.network)
    except ModelError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise RecipeError(
            f"{stage.name}: network: {stage.model} cannot be made with {stage.network} "
            f"({cause_of(error)}); change these values."
        ) from error
    if init_from == NEAREST:
        if not isinstance(network, CISRNet):
            raise RecipeError(f'init_from = "{NEAREST}" is for CISRNet, not for {stage.model}.')
        start_nearest(network)
    elif init_from:
        state = _initial_state(init_from, stage.scale)
        load_into(network, state)
    return network.to(memory_format=torch.channels_last)


def _initial_state(source: str, scale: int) -> dict[str, Tensor]:
    path = expanded(source)
    try:
        if path.suffix == ".ckpt":
            saved = read_checkpoint(path, state_dict=dict)["state_dict"]
            prefix = "network."
            return {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}
        if path.suffix == ".safetensors":
            return {k: v.float() for k, v in load_file(path).items()}
    except (UnreadableError, OSError, SafetensorError) as error:
        raise WeightsError(
            f"The initial weights {path} cannot be read ({cause_of(error)}); give a safetensors "
            "file, a checkpoint of `preproc train`, or the name of a shipped model."
        ) from error
    return load_state(find(source, scale))
