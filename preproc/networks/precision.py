"""What must not lose precision in a network: its last convolution."""

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

    _parts: Tensor | None = None

    def split(self, dtype: torch.dtype) -> None:
        """Let CPUs with bfloat16 units compute in them, for inference, where results are residuals.

        Every weight becomes a sum of two bfloat16 values, with twice the significant bits, so that
        only the result of either part is rounded: by at most 2^-9 of itself. That suits a residual,
        a quarter of a grey level where it is half the range, and not a picture. Without effect on
        other devices and dtypes.
        """
        if dtype == torch.bfloat16 and self.weight.device.type == "cpu":
            high = self.weight.detach().to(dtype)
            low = (self.weight.detach() - high).to(dtype)
            self._parts = torch.cat((high, low)).contiguous(memory_format=torch.channels_last)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Convolve (N, C, H, W) of any float dtype; returns float32."""
        with _without_autocast(input.device.type):
            if self._parts is not None and input.dtype == self._parts.dtype:
                both = F.conv2d(input, self._parts, None, self.stride, self.padding, self.dilation)
                high, low = both.float().chunk(2, 1)
                result = high + low
                return result if self.bias is None else result + self.bias.view(-1, 1, 1)
            bias = None if self.bias is None else self.bias.float()
            return F.conv2d(
                input.float(), self.weight.float(), bias, self.stride, self.padding, self.dilation
            )


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Autocast switched off, on devices that have it; the meta device has not."""
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)
