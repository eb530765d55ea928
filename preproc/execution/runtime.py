"""Running a network on a device: dtype, memory format, and what to do when it fails there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from preproc.autocast import without_autocast
from preproc.errors import DeviceMemoryError, ModelError, PrecisionWarning, warn
from preproc.execution.devices import dtype_name
from preproc.execution.graphs import Graphs
from preproc.execution.heap import keep_heap
from preproc.execution.memory import is_out_of_memory
from preproc.networks.inference import inference_form
from preproc.networks.masking import masked


@dataclass
class Precision:
    """What a network's trunk is computed in, shared by all the ways in which the network runs.

    Attributes:
        dtype: float32 once anything in a shorter dtype was not finite.
    """

    dtype: torch.dtype


class Runtime:
    """A network ready to run on a device.

    Autocast computes in 16 bits what is safe in 16 bits: the network itself keeps its last
    convolution and its global skip in float32. The network proper stays in float32 for a retry;
    what runs is its form for inference (`preproc.networks.inference`), whose 16-bit parameters take
    half as much memory on top. Once a retry in float32 has helped, everything runs in float32.

    Attributes:
        device: where the network lies.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        precision: Precision,
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
            precision: float32, or what autocast shortens to; may be shared.
            name: what error messages call the network.
            in_pieces: whether the network takes host tensors to the device itself, piece by piece,
                and gives host tensors; else whole batches are moved.
            fast: whether to run the form for inference; False runs the network as it was trained.
            compiled: whether that form's repeated blocks are compiled when first used.
            graphs: whether small batches in that form, not compiled, run as CUDA graphs
                (`preproc.execution.graphs`), on a GPU. Not for networks that shrink their result,
                whose tables are cached and may be freed.
        """
        self.device, self.name = device, name
        self._precision = precision
        self._in_pieces = in_pieces
        network = network.to(device).requires_grad_(requires_grad=False).eval()
        self._network = network.to(memory_format=torch.channels_last)
        self._fast, self._compiled = fast, compiled
        self._made_in = self.dtype
        self._run = self._run_small = self._made_for(self.dtype)
        if graphs and fast and not compiled and device.type == "cuda":
            self._run_small = Graphs(self._run)

    @property
    def dtype(self) -> torch.dtype:
        """What the trunk is computed in, at present."""
        return self._precision.dtype

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
        if self._made_in != self.dtype:  # another way in which the network runs had to leave it
            self._follow()
        try:
            with masked(None if mask is None else mask.to(self.device)):
                # A graph repeats what it was made with, which was without a mask.
                return self._finite(self._run_small if mask is None else self._run, batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the error's traceback holds on to the tensors that filled the memory.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        height, width = batch.shape[-2:]
        way_out = "choose a smaller tile=, or device='cpu'"
        if self._in_pieces:
            way_out = "choose a map_folder= on a disk, or a tile= for an approximation"
        raise DeviceMemoryError(
            f"{self.name} ran out of memory on {self.device} with {len(batch)} picture(s) of "
            f"{height}x{width} px at once; {way_out}."
        )

    def _finite(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """Run, and in float32 from now on if the output holds NaN or infinity that way only."""
        if not self._in_pieces:
            batch = batch.to(self.device, memory_format=torch.channels_last)
        output = run(batch)
        if _is_finite(output):
            return output
        output = _computed(self._network, torch.float32, self.device.type, batch)
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
        short = dtype_name(self.dtype)
        self._precision.dtype = torch.float32
        self._follow()
        warn(
            f"{self.name} gave NaN or infinite values in {short} on {self.device}; that "
            "part is computed again in float32, and all that follows in float32 at once. Pass "
            "dtype='float32' to avoid the detour.",
            PrecisionWarning,
        )

    def _follow(self) -> None:
        """Run in the precision there is now."""
        dtype = self.dtype
        self._run = self._run_small = self._made_for(dtype)
        self._made_in = dtype

    def _made_for(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """The network in the form that runs in this dtype."""
        form = self._network
        if self._fast:
            if self.device.type == "cpu":
                keep_heap()
            with without_autocast(self.device.type):  # the caller's own, such as a training loop's
                form = inference_form(form, dtype, compiled=self._compiled)
        return partial(_computed, form, dtype, self.device.type)


def _computed(network: nn.Module, dtype: torch.dtype, device_type: str, batch: Tensor) -> Tensor:
    with torch.autocast(device_type, dtype=dtype, enabled=dtype != torch.float32):
        output: Tensor = network(batch)
    return output.float()


def _is_finite(output: Tensor) -> bool:
    # NaN and infinity reach the sum, which takes one pass; that of finite values hardly overflows.
    return bool(output.sum().isfinite()) or bool(output.isfinite().all())
