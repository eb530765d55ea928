"""Upsampling that the networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from preproc.errors import ModelError
from preproc.networks.convolution import Conv2d


class SubPixel(nn.Module):
    """One step of an upsampler: 3x3 convolution to r*r times the channels, then PixelShuffle(r).

    Args:
        features: channels in.
        factor: r.
        out: channels out; as many as come in by default.
        slope: of a LeakyReLU at the end, for negative values; None for none.
    """

    def __init__(
        self, features: int, factor: int, out: int | None = None, slope: float | None = None
    ) -> None:
        super().__init__()
        # A LeakyReLU takes each value by itself, so that it may come before the shuffle.
        self.conv = Conv2d(features, (out or features) * factor**2, slope=slope)
        self.shuffle = nn.PixelShuffle(factor)
        self._by_pixels = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, H, W) to (N, out, factor*H, factor*W)."""
        h = self.conv(x)
        shuffled: Tensor = (
            _placed(h, self.shuffle.upscale_factor) if self._by_pixels else (self.shuffle(h))
        )
        return shuffled

    def prepare(self, _: torch.dtype) -> None:
        """Take the form for inference; see `preproc.networks.inference`.

        The convolution gives all channels of one px after another, so that in channels_last whole
        px are moved where PixelShuffle gathers each channel from afar.
        """
        positions = self.shuffle.upscale_factor**2
        for name, value in list(self.conv.named_parameters()):
            order = torch.arange(len(value), device=value.device).view(-1, positions).mT.flatten()
            layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            ordered = value.detach()[order].contiguous(memory_format=layout)
            setattr(self.conv, name, nn.Parameter(ordered, requires_grad=False))
        self._by_pixels = True


def _placed(h: Tensor, factor: int) -> Tensor:
    """Give each px of (N, factor*factor*C, H, W), channels ordered (row, column, C), its place."""
    count, _, height, width = h.shape
    px = h.permute(0, 2, 3, 1).reshape(count, height, width, factor, factor, -1).transpose(2, 3)
    return px.reshape(count, factor * height, factor * width, -1).permute(0, 3, 1, 2)


def upsampling_steps(scale: int) -> list[int]:
    """Factors whose product is the scale: two doublings for 4, as EDSR and MSRResNet have it.

    Raises:
        ModelError: a scale other than 2, 3 and 4.
    """
    if scale not in (2, 3, 4):
        raise ModelError(f"The networks are defined for scales 2, 3 and 4, but got {scale}.")
    return [2, 2] if scale == 4 else [scale]
