"""The part of a network that must not lose precision: its last convolution."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Float32Conv2d(nn.Conv2d):
    """A convolution computed and returned in float32, whatever dtype comes in or autocast says.

    bfloat16 has 8 significant bits: near 1.0 its step is 1/128, half a grey level of 8-bit output
    is 1/510. The layer that writes the picture and the skip added to it therefore stay float32.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Convolve (N, C, H, W) of any float dtype; returns float32."""
        with _without_autocast(input.device.type):
            bias = None if self.bias is None else self.bias.float()
            return F.conv2d(
                input.float(), self.weight.float(), bias, self.stride, self.padding, self.dilation
            )


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Autocast switched off, on devices that have it; the meta device has not."""
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)
