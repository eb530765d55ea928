"""What a face detector says of a picture, as a training loss.

facenet-pytorch's MTCNN has three networks that say whether a face fills a window, of 12, 24 and 48
px. Here each is asked of all windows of a result at once, and of all those of the original.
"""

from __future__ import annotations

from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preproc.extras import from_extra, importing

_WINDOWS = (12, 24, 48)  # px
_SMALLEST, _LARGEST = 20.0, 72.0  # faces that are made to fill them, in px of the original
# Where a face is no longer certain, the fairest guess is below what the detector takes for one, and
# the face is lost. So what the original says of faces counts more than what it says of none.
_FACE_WEIGHT = 10.0


class Detections:
    """Distance between what MTCNN says of two pictures, (N, 3, H, W), RGB in [0, 1].

    It is the divergence of the chances that a window holds a face or none, in the result, from
    those in the original; the mean over a network's windows, and the sum over the three. What is
    said of faces counts ten times, so it can be below 0. Each call draws a size of 20 to 72 px, on
    a logarithmic scale, and has faces of that size fill the windows.

    Attributes:
        trunk: the three networks, frozen; each maps pictures to the logits of none and face,
            (N, 2, h, w), for all its windows.

    Raises:
        MissingLibraryError: facenet-pytorch, whose package has the weights, is not installed.
    """

    def __init__(self) -> None:
        with importing('A loss of "detector"', from_extra("mtcnn")):
            from facenet_pytorch import MTCNN  # noqa: PLC0415 - only for this loss
        engine = MTCNN(device="cpu")
        self.trunk = nn.ModuleList(map(_of_all_windows, (engine.pnet, engine.rnet, engine.onet)))
        self.trunk.eval().requires_grad_(requires_grad=False)
        self.trunk.to(memory_format=torch.channels_last)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The distance; gradients reach ``output`` only."""
        face = _SMALLEST * (_LARGEST / _SMALLEST) ** float(torch.rand(()))
        distance = output.new_zeros(())
        for network, window in zip(self.trunk, _WINDOWS, strict=True):
            with torch.no_grad():
                wanted = _log_chances(network, target, window / face)
            said = _log_chances(network, output, window / face)
            none, found = F.kl_div(said, wanted, reduction="none", log_target=True).unbind(1)
            distance = distance + (none + _FACE_WEIGHT * found).mean()
        return distance


def _log_chances(network: nn.Module, picture: Tensor, factor: float) -> Tensor:
    """Logarithms of the chances of none and face, (N, 2, h, w), in a resized picture."""
    # As MTCNN resizes and scales what it looks at.
    seen = F.interpolate(picture, scale_factor=factor, mode="area") * (255 / 128) - 127.5 / 128
    logits: Tensor = network(seen.contiguous(memory_format=torch.channels_last))
    return logits.float().log_softmax(1)


def _of_all_windows(network: nn.Module) -> nn.Sequential:
    """One of MTCNN's networks up to its logits, with dense layers as convolutions."""
    layers: list[nn.Module] = []
    channels = 3
    for name, layer in network.named_children():
        if name.startswith("softmax"):  # what follows is for where a face is
            break
        if isinstance(layer, nn.Linear):
            layer = _dense(layer, channels)  # noqa: PLW2901
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        layers.append(layer)
    return nn.Sequential(*layers)


def _dense(layer: nn.Linear, channels: int) -> nn.Conv2d:
    """A dense layer that takes square maps, as width, height and channels, at every position."""
    side = isqrt(layer.in_features // channels)
    convolution = nn.Conv2d(channels, layer.out_features, side)
    kernels = layer.weight.detach().view(-1, side, side, channels).permute(0, 3, 2, 1)
    convolution.load_state_dict({"weight": kernels, "bias": layer.bias.detach()})
    return convolution
