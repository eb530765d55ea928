"""Running a network on a device: dtype, memory format, and what to do when it fails there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from preproc.errors import ModelError, PreprocError
from preproc.graphs import Graphs
from preproc.networks.inference import inference_form
from preproc.networks.masking import current_mask, masked

_DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
    "half": torch.float16,
}
_BF16_UNITS = {"amx_bf16", "avx512_bf16"}
_LARGEST_HEAP_BLOCK = 2**25 - 2**16  # with its header and alignment still below 32 MiB
_FULL_MEMORY = (  # how allocators below Python say it; CUDA's own error has a class
    "not enough memory",
    "can't allocate memory",
    "Storage size calculation overflowed",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",  # of a kernel or a library that is loaded when first used
    "unable to find an engine to execute this computation",  # none of cuDNN's had its workspace
)


class DeviceWarning(UserWarning):
    """There is a GPU that cannot be used, so the CPU is."""


class PrecisionWarning(UserWarning):
    """A network's output was not finite in a short dtype; it runs in float32 from then on."""


class DeviceMemoryError(PreprocError, MemoryError):
    """The device's memory, or the host's, is too small for what was asked at once."""


class Runtime:
    """A network ready to run on a device.

    Autocast shortens what is safe to shorten: the network itself keeps its last convolution and its
    global skip in float32. The network proper stays in float32 for a retry; what runs is its form
    for inference (`preproc.networks.inference`), whose short parameters are half as large again.
    After one retry that helped, everything runs in float32, for the next part would fail as well.

    Attributes:
        device: where the network lies.
        dtype: what its trunk is computed in, at present.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        name: str = "The model",
        *,
        in_pieces: bool = False,
        fast: bool = True,
        compiled: bool = False,
        graphs: bool = False,
    ) -> None:
        """Move a network to its device, in channels_last.

        Args:
            network: maps float (N, 3, H, W) to (N, 3, s*H, s*W); it is moved, not copied.
            device: where to run it.
            dtype: float32, or what autocast shortens to.
            name: how messages call it.
            in_pieces: whether the network takes host tensors to the device itself, piece by piece,
                and gives host tensors; else whole batches are moved.
            fast: whether to run the form for inference; False runs the network as it was trained.
            compiled: whether that form's repeated blocks are compiled when first used.
            graphs: whether small batches in that form, not compiled, run as CUDA graphs
                (`preproc.graphs`), on a GPU. Not for networks that shrink their result, whose
                tables are cached and may be freed.
        """
        self.device, self.dtype, self.name = device, dtype, name
        self._in_pieces = in_pieces
        network = network.to(device).requires_grad_(requires_grad=False).eval()
        self._network = network.to(memory_format=torch.channels_last)
        self._fast, self._compiled = fast, compiled
        self._form = self._made_for(dtype)
        graphs = graphs and fast and not compiled and device.type == "cuda"
        # Graphs hold on to the form, which may be replaced while one of them runs.
        self._graphs = Graphs(partial(self._run, self._form, dtype=dtype)) if graphs else None

    @torch.inference_mode()
    def __call__(self, batch: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run a batch.

        Args:
            batch: float32 (N, 3, H, W) in [0, 1] on any device.
            mask: which px are pictures, (N, 1, H, W) of zeros and ones; only for networks with
                `install_masks`.

        Returns:
            float32 (N, 3, s*H, s*W) on this runtime's device, or on the host if it runs in pieces;
            not clamped, finite.

        Raises:
            DeviceMemoryError: memory ran out; a smaller batch or smaller tiles may fit.
            ModelError: the output is not finite even in float32.
        """
        try:
            with masked(None if mask is None else mask.to(self.device)):
                return self._finite(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_full_memory(error):
                raise
        # Outside the handler: the error's traceback holds on to the tensors that filled the memory.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        height, width = batch.shape[-2:]
        raise DeviceMemoryError(
            f"{self.name} ran out of memory on {self.device} with {len(batch)} picture(s) of "
            f"{height}x{width} px at once; choose a smaller tile=, or device='cpu'."
        )

    def _finite(self, batch: Tensor) -> Tensor:
        """Run, and in float32 from now on if the output holds NaN or infinity that way only."""
        if not self._in_pieces:
            batch = batch.to(self.device, memory_format=torch.channels_last)
        # A graph knows one mask only, the one it was made with.
        graphs = None if current_mask() is not None else self._graphs
        output = self._run_form(batch) if graphs is None else graphs(batch)
        if _is_finite(output):
            return output
        output = self._run(self._network, batch, torch.float32)
        if not _is_finite(output):
            raise ModelError(
                f"{self.name} gives NaN or infinite values even in float32; its weights do not "
                "suit it, so use the shipped ones or train again."
            )
        self._stay_in_float32()
        return output

    def _stay_in_float32(self) -> None:
        if self.dtype == torch.float32:  # another thread, or a run begun before, has seen to it
            return
        short = self.dtype
        self._graphs = None
        self._form = self._made_for(torch.float32)
        self.dtype = torch.float32
        warnings.warn(
            f"{self.name} gave NaN or infinite values in {_short(short)} on {self.device}; that "
            "part is computed again in float32, and all that follows in float32 at once. Pass "
            "dtype='float32' to avoid the detour.",
            PrecisionWarning,
            stacklevel=2,
        )

    def _made_for(self, dtype: torch.dtype) -> nn.Module:
        """What runs in a dtype."""
        if not self._fast:
            return self._network
        if self.device.type == "cpu":
            keep_heap()
        return inference_form(self._network, dtype, compiled=self._compiled)

    def _run_form(self, batch: Tensor) -> Tensor:
        dtype = self.dtype  # read first: `_stay_in_float32`, maybe in another thread, sets it last
        return self._run(self._form, batch, dtype)

    def _run(self, network: nn.Module, batch: Tensor, dtype: torch.dtype) -> Tensor:
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
            output: Tensor = network(batch)
        return output.float()


@cache
def keep_heap() -> None:
    """Let glibc keep memory that tensors free for the next ones, in this process from now on.

    It returns what is free at the end of its heap to the system above a limit, and maps blocks
    above another, so that every page of a new tensor is touched for the first time again. Both
    limits grow with the largest mapped block that was freed, up to 32 MiB and twice that (mallopt's
    manual, "dynamic mmap threshold"): one such block is freed. Elsewhere nothing comes of it.
    """
    torch.empty(_LARGEST_HEAP_BLOCK, dtype=torch.uint8, device="cpu")


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device to run on: the one asked for, else CUDA where it works, else the CPU.

    Returns:
        The device with its index, so that it stays the same when another becomes the current one.

    Raises:
        ModelError: there is no such device, or it cannot compute.
    """
    if device is None and not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        return _tried(device or "cuda")
    except (RuntimeError, AssertionError) as error:
        # Torch's messages go on for pages; their first line says it.
        reason = str(error).partition("\n")[0].rstrip(".")
        if reason.startswith("Expected one of"):
            reason = "there is no such kind"
        if device is not None:
            raise ModelError(
                f"Device {str(device)!r} cannot be used ({reason}); choose 'cpu' or 'cuda', or "
                "leave it out."
            ) from error
    warnings.warn(
        f"There is a GPU, but it cannot be used ({reason}), so the CPU is; pass device='cpu' to "
        "choose it.",
        DeviceWarning,
        stacklevel=2,
    )
    return torch.device("cpu")


def _tried(device: str | torch.device) -> torch.device:
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
        ModelError: ``dtype`` is not float32, bfloat16 or float16.
    """
    if dtype is None:
        return next((d for d in safe if _is_fast(device, d)), torch.float32)
    chosen = _DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in _DTYPES.values():
        raise ModelError(f"dtype must be 'float32', 'bfloat16' or 'float16', but is {dtype!r}.")
    return chosen


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


@contextmanager
def main_memory_says(message: str) -> Iterator[None]:
    """Give a full main memory a sentence of its own, whatever its allocator says.

    Raises:
        DeviceMemoryError: what is done inside ran out of main memory, or of that of a device on
            which results lie.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, PreprocError) or not is_full_memory(error):
            raise
        # Accelerators have an error class of their own.
        if isinstance(error, torch.OutOfMemoryError):
            message = "The device's memory is full; choose a smaller tile=, or device='cpu'."
        raise DeviceMemoryError(message) from error


def is_full_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(phrase in str(error) for phrase in _FULL_MEMORY)


def _is_finite(output: Tensor) -> bool:
    # NaN and infinity reach the sum, which takes one pass; that of finite values hardly overflows.
    return bool(output.sum().isfinite()) or bool(output.isfinite().all())


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
