"""Whether Triton kernels run on a GPU, found out by trying.

Triton comes with torch for Nvidia GPUs, but also needs a C compiler, a folder from which what it
compiles can be loaded, and to find the driver; without them layers run in plain torch.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable

import torch

_log = logging.getLogger(__name__)


def triton_works(what: str, device: torch.device, trial: Callable[[], object]) -> bool:
    """Try some kernels; False, with a line in the log, if they cannot run here.

    Args:
        what: how the log calls what they are for, at the beginning of a sentence.
        device: where the trial runs them; it is current meanwhile.
        trial: launches each of them.
    """
    try:
        from triton.errors import TritonError  # noqa: PLC0415 - there is no Triton elsewhere
    except ImportError:
        return False
    try:
        with torch.inference_mode(), torch.cuda.device(device):
            trial()
            torch.cuda.synchronize(device)
    except (
        RuntimeError,
        OSError,
        subprocess.SubprocessError,
        TritonError,
        AssertionError,  # Triton's way to say that there is no libcuda.so where it looks
        ImportError,  # what it compiled must not be executed, or this Triton lacks something
        AttributeError,
    ) as error:
        _log.info("%s without kernels of their own on %s: %s", what, device, error)
        return False
    return True
