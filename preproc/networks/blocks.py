"""Upsampling that the networks share."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from preproc.errors import ModelError
from preproc.networks.convolution import Conv2d
from preproc.networks.inference import Preparable


class SubPixel(nn.Module, Preparable):
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
        self.rows: nn.ModuleList | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, H, W) to (N, out, factor*H, factor*W)."""
        if self.rows is not None:
            return _interleaved(self.rows, x)
        shuffled: Tensor = self.shuffle(self.conv(x))
        return shuffled

    def prepare(self, dtype: torch.dtype) -> None:  # noqa: ARG002 - the same in all of them
        """Take the form for inference; see `preproc.networks.inference`.

        The convolution is split into r, one for each output row that an input row becomes, with the
        output channels in the order of px. In channels_last each result then consists of whole
        output rows, which are copied as they are; PixelShuffle would gather single values.
        """
        factor = self.shuffle.upscale_factor
        self.rows = nn.ModuleList(copy.deepcopy(self.conv) for _ in range(factor))
        for at, row in enumerate(self.rows):
            for name, value in list(row.named_parameters()):
                # Of (channel, row, column) this row's, by column.
                own = value.detach().view(-1, factor, factor, *value.shape[1:])[:, at]
                layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
                ordered = own.transpose(0, 1).flatten(0, 1).contiguous(memory_format=layout)
                setattr(row, name, nn.Parameter(ordered, requires_grad=False))
        del self.conv


def _interleaved(rows: nn.ModuleList, x: Tensor) -> Tensor:
    """(N, C, factor*H, factor*W) of the rows that come of each row of (N, features, H, W)."""
    count, _, height, width = x.shape
    factor, (weight, *_) = len(rows), rows.parameters()
    lines = weight.new_empty(count, height, factor, width, len(weight))
    for at, row in enumerate(rows):
        row(x, lines[:, :, at].permute(0, 3, 1, 2))
    return lines.view(count, factor * height, factor * width, -1).permute(0, 3, 1, 2)


def upsampling_steps(scale: int) -> list[int]:
    """Factors whose product is the scale: two doublings for 4, as EDSR and MSRResNet have it.

    Raises:
        ModelError: a scale other than 2, 3 and 4.
    """
    if scale not in (2, 3, 4):
        raise ModelError(f"The networks are defined for scales 2, 3 and 4, but got {scale}.")
    return [2, 2] if scale == 4 else [scale]
