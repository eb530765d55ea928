"""Memory for the growing stacks of dense blocks."""

from __future__ import annotations

import torch
from torch import Tensor


class Stacks:
    """Two buffers that the growing stacks of all dense blocks share, for inference.

    One is read while the other is written. On the CPU, where the allocator returns large buffers to
    the system, new ones are slow: touching their pages for the first time costs more than what is
    then computed in them.

    Args:
        width: channels of the widest stack.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._read: Tensor | None = None
        self._write: Tensor | None = None

    def join(self, stack: Tensor, grown: Tensor) -> Tensor:
        """``torch.cat((stack, grown), 1)``; valid until the call after the next."""
        count, _, height, width = stack.shape
        if self._write is None:
            self._write = stack.new_empty(count * height * width * self._width)
        channels = stack.shape[1] + grown.shape[1]
        place = self._write[: count * height * width * channels]
        joined = place.view(count, height, width, channels).permute(0, 3, 1, 2)
        self._read, self._write = self._write, self._read
        return torch.cat((stack, grown), 1, out=joined)
