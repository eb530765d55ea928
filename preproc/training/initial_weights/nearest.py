"""Initial weights that make a CISRNet enlarge by nearest neighbour, for short trainings.

CISRNet has no skip around the whole, so that from random weights it spends its first thousands of
steps on learning to show its input. Three of its channels can carry the picture from the start:
the first convolution copies RGB into them, every step of the upsampler copies them to all px, and
the last convolution shows them. The other channels keep their random weights, and the last
convolution reads them with a small part of its own.
"""

from __future__ import annotations

import torch
from torch import nn

from preproc.networks.blocks import SubPixel
from preproc.networks.cisrnet import CISRNet, Fine
from preproc.training.initial_weights.grow_cisrnet import silence

_RGB = range(3)
_SMALL = 0.1  # of the last convolution's random weights, which would drown the picture


def start_nearest(network: CISRNet) -> None:
    """Overwrite ``network`` so that it enlarges by nearest neighbour, but for noise."""
    coarse = network.coarse
    with torch.no_grad():
        for conv in (coarse.conv_first, coarse.conv_groups):
            _clear(conv, 3)
        for step in coarse.upsampler:
            assert isinstance(step, SubPixel)
            px = step.shuffle.upscale_factor**2  # PixelShuffle takes a px's channels px apart
            _clear(step.conv, 3 * px)
            for channel in _RGB:
                step.conv.weight[channel * px : (channel + 1) * px, channel, 1, 1] = 1
        coarse.conv_last.weight.mul_(_SMALL)
        coarse.conv_last.weight[:, :3].zero_()
        if coarse.conv_last.bias is not None:
            coarse.conv_last.bias.zero_()
        for channel in _RGB:
            coarse.conv_first.weight[channel, channel, 1, 1] = 1
            coarse.conv_last.weight[channel, channel, 1, 1] = 1
        if isinstance(network.fine, Fine):
            silence(network.fine.conv_last)


def _clear(conv: nn.Conv2d, rows: int) -> None:
    """Let the first output channels be zero."""
    conv.weight[:rows].zero_()
    if conv.bias is not None:
        conv.bias[:rows].zero_()
