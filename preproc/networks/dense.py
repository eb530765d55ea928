"""The dense block of CAJNN on a GPU: five kernels, and nothing between them.

A dense layer reads the outputs of all layers before it. Plain torch concatenates them in new
memory, adds the bias and applies the activation, each in a pass of its own, and every convolution
reads the whole stack again for a few output channels. Here each layer's output is convolved once,
for all layers that read it: partial sums of a layer are kept in its own channels of one buffer, and
once the last is added they become that layer's output there. A kernel is an implicit matrix
product: for each of nine taps it loads a shifted tile of px, which the GPU's Tensor Memory
Accelerator (TMA) fills with zeros beyond the picture.

Partial sums are kept in the trunk's dtype, which adds rounding, hardly more than the trunk's own:
0.039/255 instead of 0.031/255 (RMS) off float32 on a crop of a photograph, emulated on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from preproc.networks.convolution import Conv2d
from preproc.networks.trial import triton_works

_LAYERS = 5
_TMA = (9, 0)  # compute capability from which GPUs have it (Hopper)


class _Launch(NamedTuple):
    """How a kernel is cut: px of a tile, warps, and stages of the software pipeline."""

    rows: int
    columns: int
    warps: int
    stages: int


_LAUNCHES = {
    16: (
        _Launch(8, 16, 4, 4),
        _Launch(8, 16, 4, 4),
        _Launch(4, 16, 4, 3),
        _Launch(8, 16, 4, 4),
        _Launch(8, 16, 4, 4),
    ),
    32: (
        _Launch(8, 16, 4, 3),
        _Launch(8, 16, 4, 4),
        _Launch(8, 8, 4, 3),
        _Launch(8, 16, 4, 4),
        _Launch(4, 16, 4, 4),
    ),
}
"""By growth, for each layer; measured on an H200."""


class FusedDense:
    """A dense block for inference on a GPU, its weights in the order in which kernels read them.

    Args:
        convs: the block's five convolutions, as trained, with biases: ``growth`` channels each but
            for the last.
        scale: of the residual.
        slope: of the LeakyReLU behind all but the last.
        dtype: of weights and features: bfloat16 or float16.
    """

    def __init__(
        self, convs: Sequence[Conv2d], scale: float, slope: float, dtype: torch.dtype
    ) -> None:
        self.features, self.growth = convs[0].in_channels, convs[0].out_channels
        self.scale, self.slope = scale, slope
        scales = [1.0] * (_LAYERS - 1) + [scale]
        weights = [s * conv.weight.detach() for s, conv in zip(scales, convs, strict=True)]
        biases = [conv.bias for conv in convs if conv.bias is not None]
        scaled = [s * bias.detach() for s, bias in zip(scales, biases, strict=True)]
        self.bias = torch.cat(scaled).float()
        self.weights: list[Tensor] = []
        begin = 0
        for layer in range(_LAYERS):
            end = begin + (self.growth if layer else self.features)
            # Weights of all layers that read this piece, as (tap, channel in, channel out).
            reading = torch.cat([weight[:, begin:end] for weight in weights[layer:]])
            ordered = reading.permute(2, 3, 1, 0).flatten(0, 1)
            self.weights.append(ordered.to(dtype).contiguous())
            begin = end

    def __call__(self, x: Tensor, base: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The block's output, ``x`` included.

        Args:
            x: (N, features, H, W), in the dtype of the weights.
            base: of the same shape; if given, the result is scaled like the residual and added.
            mask: which px are pictures, (N, 1, H, W), as `preproc.networks.masking.current_mask`
                has it in the dtype of ``x``.

        Returns:
            (N, features, H, W) in channels_last.
        """
        if mask is not None:
            x = x * mask
        count, _, height, width = x.shape
        # As the kernels see them: (N, H, W, channels) without gaps.
        source = x.permute(0, 2, 3, 1).contiguous()
        below = None if base is None else base.permute(0, 2, 3, 1).contiguous()
        sums = x.new_empty(count, height, width, 4 * self.growth + self.features)
        out = torch.empty_like(source)
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            for layer in range(_LAYERS):
                self._launch(layer, source, sums, below, out, mask)
        return out.permute(0, 3, 1, 2)

    def _launch(
        self,
        layer: int,
        source: Tensor,
        sums: Tensor,
        base: Tensor | None,
        out: Tensor,
        mask: Tensor | None,
    ) -> None:
        """Run one layer's kernel.

        It adds what the layer's input contributes to the sums of this and all later layers; the
        last layer's kernel writes ``out``.
        """
        # Imported here, for there is no Triton on other systems.
        from triton.tools.tensor_descriptor import TensorDescriptor  # noqa: PLC0415

        from preproc.networks.dense_kernels import layer_kernel  # noqa: PLC0415

        launch = _LAUNCHES[self.growth][layer]
        weights = self.weights[layer]
        channels, outputs = weights.shape[1:]
        begin, last = layer * self.growth, layer == _LAYERS - 1
        count, height, width, pitch = sums.shape
        piece = source if layer == 0 else sums[..., begin - self.growth : begin]
        # Not the tensor's own strides, which may be anything along an extent of 1.
        px = self.features if layer == 0 else pitch
        strides = [height * width * px, width * px, px, 1]
        tile = [1, launch.rows, launch.columns, channels]
        down, across = -(-height // launch.rows), -(-width // launch.columns)
        wide = 1 << (outputs.bit_length() - 1)
        layer_kernel[(count * down * across,)](
            TensorDescriptor(piece, list(piece.shape), strides, tile),
            weights,
            self.bias,
            sums,
            source,
            source if base is None else base,
            out,
            source if mask is None else mask,
            height,
            width,
            down,
            across,
            begin,
            pitch,
            self.slope,
            self.scale,
            INPUTS=channels,
            WIDE=wide,
            NARROW=outputs - wide,
            FEATURES=self.features,
            GROWTH=self.growth,
            ROWS=launch.rows,
            COLUMNS=launch.columns,
            FIRST=layer == 0,
            LAST=last,
            ADDS_BASE=last and base is not None,
            MASKED=not last and mask is not None,
            STAGES=launch.stages,
            num_warps=launch.warps,
        )


def can_fuse(convs: Sequence[Conv2d], dtype: torch.dtype) -> bool:
    """Whether these kernels suit the convolutions of a dense block, and run where those lie."""
    device = convs[0].weight.device
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    features, growth = convs[0].in_channels, convs[0].out_channels
    # All layers' channels then are sums of two powers of two, as matrices here must be.
    return growth in _LAUNCHES and features == 2 * growth and _works(device, growth)


@cache
def _works(device: torch.device, growth: int) -> bool:
    if torch.cuda.get_device_capability(device) < _TMA:
        return False
    convs = [Conv2d((2 + k) * growth, growth if k < 4 else 2 * growth) for k in range(_LAYERS)]

    def trial() -> None:
        block = FusedDense([conv.to(device) for conv in convs], 1.0, 0.2, torch.float16)
        block(torch.zeros(1, 2 * growth, 4, 4, dtype=torch.float16, device=device))

    return triton_works("Dense blocks run", device, trial)
