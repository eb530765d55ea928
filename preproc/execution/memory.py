"""What to say when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from preproc.errors import DeviceMemoryError, PreprocError

_OUT_OF_MEMORY = (  # how allocators below Python say it; CUDA's own error has a class
    "not enough memory",
    "can't allocate memory",
    "Storage size calculation overflowed",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",  # of a kernel or a library that is loaded when first used
    "MPS backend out of memory",
    "unable to find an engine to execute this computation",  # none of cuDNN's had its workspace
)


@contextmanager
def explain_out_of_memory(message: str) -> Iterator[None]:
    """Turn running out of memory into a `DeviceMemoryError` with this message.

    Raises:
        DeviceMemoryError: what is done inside ran out of main memory, or of that of the device
            that holds the results.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, PreprocError) or not is_out_of_memory(error):
            raise
        # Accelerators have an error class of their own.
        if isinstance(error, torch.OutOfMemoryError):
            message = "The device's memory is full; choose a smaller tile=, or device='cpu'."
        raise DeviceMemoryError(message) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(phrase in str(error) for phrase in _OUT_OF_MEMORY)
