"""The last convolution of a network, which must not lose precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preproc.autocast import without_autocast


def precise(x: Tensor) -> Tensor:
    """A float tensor in float32, or in float64 if it has that."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Float32Conv2d(nn.Conv2d):
    """A 3x3 convolution in float32, or float64 if that comes in, whatever autocast says.

    bfloat16 has 8 significant bits: near 1.0 its step is 1/128, half a grey level of 8-bit output
    is 1/510. The layer that writes the picture and the skip added to it therefore stay float32.

    Args:
        inputs: channels in.
        outputs: channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self._parts: Tensor | None = None

    def split(self, dtype: torch.dtype) -> None:
        """Store each weight as the sum of two 16-bit numbers, to use bf16/fp16 matrix units.

        For inference. In bfloat16 the sum has twice the significant bits, so that only the two
        results are rounded, by at most 2^-9 of themselves. That is fine for a residual, a quarter
        of a grey level where it is half the range, and too coarse for a picture: only networks with
        a long skip call this. In float16, with eleven bits, the second number adds little but costs
        nothing: its channels would be padding otherwise. CPUs are slow in float16 and stay with
        float32.
        """
        device = self.weight.device.type
        if dtype != torch.bfloat16 and (dtype != torch.float16 or device != "cuda"):
            return
        weight = self.weight.detach()
        high = weight.to(dtype)
        parts = torch.cat((high, (weight - high).to(dtype)))
        if device == "cuda":
            # Matrix units take channels by the eight; else cuDNN copies to make it so.
            parts = F.pad(parts, (0, 0, 0, 0, 0, 0, 0, -len(parts) % 8))
        self._parts = parts.contiguous(memory_format=torch.channels_last)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Convolve (N, C, H, W) of any float dtype; returns float32, or float64 for that."""
        with without_autocast(input.device.type):
            if self._parts is not None and input.dtype == self._parts.dtype:
                both = F.conv2d(input, self._parts, padding=self.padding)
                high, low = both[:, : 2 * self.out_channels].float().chunk(2, 1)
                result = high + low
                return result if self.bias is None else result + self.bias.view(-1, 1, 1)
            x = precise(input)
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return F.conv2d(x, self.weight.to(x.dtype), bias, padding=self.padding)
