"""Keeping freed heap memory in the process, since memory that is new is slow."""

from __future__ import annotations

from functools import cache

import torch

_LARGEST_HEAP_BLOCK = 2**25 - 2**16  # with its header and alignment still below 32 MiB


@cache
def keep_heap() -> None:
    """Let glibc keep memory that tensors free for the next ones, in this process from now on.

    It returns free memory at the end of its heap to the system above one threshold, and maps blocks
    above another by themselves, so that new tensors have new pages, slow at the first touch. Both
    thresholds grow with the largest mapped block that was freed, up to 64 and 32 MiB
    (mallopt(3), "dynamic mmap threshold"), so one such block is freed. Elsewhere nothing happens.
    """
    torch.empty(_LARGEST_HEAP_BLOCK, dtype=torch.uint8, device="cpu")
