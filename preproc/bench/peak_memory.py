"""Peaks of memory: of CUDA's allocator, and of the process, which only Linux tells."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import Literal

import torch

_MIB = 2**20


class PeakMemory:
    """Peaks from the object's making until `stop`, above what was allocated before.

    Attributes:
        device_mib: peak of torch's allocator on the device; None on a CPU, and before `stop`.
        host_mib: peak of the process' resident memory; None where it is unknown, and before `stop`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.device_mib: float | None = None
        self.host_mib: float | None = None
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self._on_device = torch.cuda.memory_allocated(device)
        _return_free_memory()
        _reset_host_peak()
        self._on_host = resident_memory()

    def stop(self) -> None:
        """Read the peaks."""
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            self.device_mib = (peak - self._on_device) / _MIB
        peak_on_host = resident_memory("VmHWM")
        if peak_on_host is not None and self._on_host is not None:
            self.host_mib = max(0, peak_on_host - self._on_host) / _MIB


def resident_memory(line: Literal["VmRSS", "VmHWM"] = "VmRSS") -> int | None:
    """Resident memory of this process in bytes, now or (``VmHWM``) at its peak.

    Returns:
        None where there is no ``/proc/self/status``, as outside Linux.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    match = re.search(rf"^{line}:\s+(\d+) kB$", status.read_text(encoding="ascii"), re.MULTILINE)
    return 1024 * int(match[1]) if match else None


def _return_free_memory() -> None:
    """Make glibc return freed memory to the system; work that reuses it would show no peak.

    Other C libraries have no such call.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _reset_host_peak() -> None:
    """Make Linux forget the process' peak of resident memory; elsewhere it is unknown anyway."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
