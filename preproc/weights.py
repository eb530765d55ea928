"""Weights on disk: safetensors files, and networks built from them.

Only safetensors is read: a pickle (``.pth``, ``.pt``, ``.ckpt``) runs code when it is opened, so
this module never opens one. The shipped files are checked against the manifest's size and SHA-256
each time they are loaded; a user's own file is checked against the network's keys and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from preproc.errors import ModelError, WeightsError
from preproc.files import replacing
from preproc.manifest import SUFFIX, entry_for, verified
from preproc.networks.registry import ModelDescriptor
from preproc.paths import absolute_path, expanded

_READABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_state(descriptor: ModelDescriptor, weights: str | Path | None = None) -> dict[str, Tensor]:
    """Read and check a network's weights.

    Args:
        descriptor: the network they must fit, by key and shape.
        weights: the user's own safetensors file in half, bfloat16, single or double precision;
            by default the shipped file, whose size and SHA-256 must be the manifest's.

    Returns:
        The state dict on the CPU, floating-point values in float32, in memory of its own.

    Raises:
        WeightsError: none is shipped, or the file is missing, truncated, altered, not safetensors,
            for another network, or holds values that are not finite.
    """
    return _state_for(skeleton(descriptor), descriptor, weights)


def load_network(descriptor: ModelDescriptor, weights: str | Path | None = None) -> nn.Module:
    """Build a network once, without initial values, and give it its weights.

    Args:
        descriptor: the network.
        weights: as for `load_state`.

    Returns:
        The network on the CPU in float32, in evaluation mode; its parameters stay trainable.

    Raises:
        WeightsError: as for `load_state`.
        ModelError: the network has a buffer or another tensor that no state dict holds.
    """
    network = skeleton(descriptor)
    shared: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    # assign: the tensors read become the parameters, so that nothing is copied or initialised.
    network.load_state_dict(_state_for(network, descriptor, weights), assign=True)
    # It has given each name a parameter of its own.
    for *others, last in shared.values():
        for name in others:
            owner, _, attribute = name.rpartition(".")
            setattr(network.get_submodule(owner), attribute, network.get_parameter(last))
    lost = [
        f"{path}.{name}".removeprefix(".")
        for path, module in network.named_modules()
        for name, value in (vars(module) | dict(module.named_buffers(recurse=False))).items()
        if isinstance(value, Tensor) and value.is_meta
    ]
    if lost:
        raise ModelError(
            f"{descriptor}: no weights file can hold {_some(lost)}, a tensor that is neither a "
            "parameter nor a persistent buffer; make it such a buffer, or compute it in forward."
        )
    return network.eval()


def save_state(
    path: str | Path,
    state: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a state dict as safetensors; the file appears whole or not at all.

    Args:
        path: ends in ``.safetensors``; a file already there is replaced, a missing folder
            made.
        state: tensors of any device; only floating-point ones change their dtype.
        dtype: what floating-point values are stored as.

    Raises:
        WeightsError: the name has another ending, or values are not finite once in ``dtype``.
        OutputError: the file could not be written.
    """
    path = absolute_path(path)
    if path.suffix != SUFFIX:
        raise WeightsError(f"Weights are saved as safetensors: let {path} end in {SUFFIX}.")
    stored = {
        key: value.detach().to(
            device="cpu",
            dtype=dtype if value.is_floating_point() else value.dtype,
            memory_format=torch.contiguous_format,
            copy=True,  # safetensors refuses tensors that share memory
        )
        for key, value in state.items()
    }
    _require_finite(stored, f"Not saved to {path} as {dtype}")
    with replacing(path) as file:
        file.write(safetensors.torch.save(stored))


def skeleton(descriptor: ModelDescriptor) -> nn.Module:
    """The network on the meta device: shapes without values, so that nothing is initialised."""
    with torch.device("meta"), _Unfilled():
        return descriptor.build()


_FILLING = (Tensor.normal_, Tensor.uniform_, nn.init.uniform_, nn.init.kaiming_uniform_)


class _Unfilled(TorchFunctionMode):
    """Makes what fills weights with random numbers do nothing on the meta device.

    Torch would first import its compiler there, or some of it (2.9), which takes seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if func in _FILLING:
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def _state_for(
    network: nn.Module, descriptor: ModelDescriptor, weights: str | Path | None
) -> dict[str, Tensor]:
    if weights is None:
        path = verified(entry_for(descriptor.family, descriptor.scale))
    else:
        path = expanded(weights)
    state = _read(path)
    wanted = network.state_dict()
    if descriptor.part_of:
        state = {key: value for key, value in state.items() if key in wanted}
    _require_fit(state, wanted, f"{path} does not fit {descriptor}")
    _require_finite(state, f"{path} cannot be used")
    return {
        key: value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
        for key, value in state.items()
    }


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file as stored, mapped and not yet read."""
    if path.suffix != SUFFIX:
        raise WeightsError(
            f"{path} is not opened: only {SUFFIX} files are read, because a pickle runs code when "
            f"opened; convert it with safetensors.torch.save_file, and of a run of "
            f"`preproc train` take its ema{SUFFIX}."
        )
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}; check what is passed as weights=.")
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a complete safetensors file ({error}); save or download it again."
        ) from error
    except OSError as error:
        raise WeightsError(
            f"Could not read {path}: {error.strerror or error}; check its permissions."
        ) from error


def _require_fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], problem: str) -> None:
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    both = [key for key in wanted if key in state]
    reshaped = [
        f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in both
        if state[key].shape != wanted[key].shape
    ]
    retyped = [
        f"{key} {state[key].dtype}"
        for key in both
        if state[key].dtype
        not in (_READABLE if wanted[key].is_floating_point() else (wanted[key].dtype,))
    ]
    found = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": reshaped,
        "of a dtype that is not read": retyped,
    }
    reasons = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in found.items() if keys]
    if reasons:
        raise WeightsError(f"{problem}: {'; '.join(reasons)}. Is it for another model or scale?")


def _require_finite(state: Mapping[str, Tensor], problem: str) -> None:
    bad = [
        key
        for key, value in state.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if bad:
        raise WeightsError(f"{problem}: infinite or NaN values in {_some(bad)}.")


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
