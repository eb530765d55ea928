"""Upsampling that the networks share."""

from __future__ import annotations

from torch import Tensor, nn

from preproc.errors import ModelError


class SubPixel(nn.Module):
    """One step of an upsampler: 3x3 convolution to r*r times the channels, then PixelShuffle(r)."""

    def __init__(self, features: int, factor: int, out: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(features, (out or features) * factor**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, H, W) to (N, out, factor*H, factor*W)."""
        shuffled: Tensor = self.shuffle(self.conv(x))
        return shuffled


def upsampling_steps(scale: int) -> list[int]:
    """Factors whose product is the scale: two doublings for 4, as EDSR and MSRResNet have it.

    Raises:
        ModelError: a scale other than 2, 3 and 4.
    """
    if scale not in (2, 3, 4):
        raise ModelError(f"The networks are defined for scales 2, 3 and 4, but got {scale}.")
    return [2, 2] if scale == 4 else [scale]
