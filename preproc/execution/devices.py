"""Which device and dtype to compute in: what was asked for, else what the machine is good at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from preproc.errors import DeviceWarning, OptionError, cause_of, warn

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_BF16_UNITS = {"amx_bf16", "avx512_bf16"}


def choose_device(device: str | int | torch.device | None = None) -> torch.device:
    """The device to run on: the one asked for, else CUDA where it works, else the CPU.

    Other kinds, such as Apple's ``"mps"``, are taken where they are asked for; they compute in
    float32, and nothing here was tried on one.

    Returns:
        The device with its index, so that it stays the same when another becomes the current one.

    Raises:
        OptionError: there is no such device, or it cannot compute.
    """
    if device is None and not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        return _tried("cuda" if device is None else device)
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        reason = cause_of(error)
        if reason.startswith("Expected one of"):
            reason = "there is no such kind"
        if device is not None:
            raise OptionError(
                f"Device {str(device)!r} cannot be used ({reason}); choose 'cpu', or leave it out."
            ) from error
    warn(
        f"There is a GPU, but it cannot be used ({reason}), so the CPU is; pass device='cpu' to "
        "choose it.",
        DeviceWarning,
    )
    return torch.device("cpu")


def _tried(device: str | int | torch.device) -> torch.device:
    """A device that computes; an old GPU may be there without this torch having kernels for it."""
    one = torch.zeros(1, device=device).add_(1)
    one.item()
    return one.device


def choose_dtype(
    device: torch.device,
    dtype: torch.dtype | str | None = None,
    safe: Sequence[torch.dtype] = (),
) -> torch.dtype:
    """What a network's trunk is computed in.

    Args:
        device: where it runs.
        dtype: what the user asked for, which is taken as it is.
        safe: what the network is known to bear besides float32, the preferred first; used where
            the device is fast in it.

    Raises:
        OptionError: ``dtype`` is not float32, bfloat16 or float16.
    """
    if dtype is None:
        return next((d for d in safe if _is_fast(device, d)), torch.float32)
    chosen = _DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in _DTYPES.values():
        raise OptionError(f"dtype must be 'float32', 'bfloat16' or 'float16', but is {dtype!r}.")
    return chosen


def dtype_name(dtype: torch.dtype) -> str:
    """What people call a dtype, such as ``"bfloat16"``."""
    return str(dtype).removeprefix("torch.")


def _is_fast(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device has units for a dtype, rather than emulating it."""
    if device.type == "cuda":
        # Tensor cores: half precision since compute capability 7.0 (Volta), bfloat16 since 8.0;
        # the GTX 16 cards are 7.5, have none, and are known for black pictures in half precision.
        if "GTX 16" in torch.cuda.get_device_name(device):
            return False
        least = {torch.float16: (7, 0), torch.bfloat16: (8, 0)}.get(dtype, (99, 0))
        return torch.cuda.get_device_capability(device) >= least
    if device.type == "cpu":
        return dtype == torch.bfloat16 and bool(_BF16_UNITS & _cpu_features())
    return False


def _cpu_features() -> set[str]:
    """Names of the CPU's instruction sets, such as ``"amx_bf16"``; empty where they are unknown."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return {name for name, present in capabilities().items() if present is True}
    cpuinfo = Path("/proc/cpuinfo")  # torch before 2.10 has no public way, Linux has
    return set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
