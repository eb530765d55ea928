"""Switch autocast off where 16 bits are not precise enough."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Autocast switched off, on devices that have it; the meta device has not."""
    # The usual ones first, because torch 2.9's compiler cannot ask.
    if device_type in ("cpu", "cuda") or torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
