"""CAJNN: context-aware joint compression artifact removal and super-resolution, x4.

The network of "A Context-Aware Joint Network for Compressed Image Super-Resolution"; the paper
leaves the tail open, and the one used here is the only one that agrees with its parameter count
(14.8 M), its long skip and its training recipe at once. One convolution, an atrous pyramid that
sees the 8x8 JPEG grid, a trunk of residual-in-residual dense blocks, sub-pixel upsampling, and the
bilinearly upscaled input added at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preproc.errors import ModelError
from preproc.networks.blocks import SubPixel, upsampling_steps
from preproc.networks.context import ASPP, NonLocal, SequentialAtrous
from preproc.networks.convolution import Conv2d, ResidualConv2d, scaled_sum
from preproc.networks.dense import FusedDense, can_fuse
from preproc.networks.halves import Splittable
from preproc.networks.inference import Compilable, Preparable
from preproc.networks.masking import current_mask
from preproc.networks.precision import Float32Conv2d, precise
from preproc.networks.registry import ModelDescriptor, register
from preproc.networks.stacks import Stacks

Context = Literal["aspp", "nonlocal", "sequential", "none"]
Upsampling = Literal["pixelshuffle", "upconvolution"]
Tail = Literal["msr", "literal"]

RESIDUAL_SCALE = 0.2
_DENSE_SLOPE = 0.2
_SLOPE = 0.1


class DenseBlock(nn.Module, Preparable):
    """Residual dense block: five 3x3 convolutions on a growing stack, scaled by 0.2 and added."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        grown = (Conv2d(features + k * growth, growth, slope=_DENSE_SLOPE) for k in range(4))
        last = ResidualConv2d(features + 4 * growth, features, scale=RESIDUAL_SCALE)
        self.convs = nn.ModuleList([*grown, last])
        self._fused: FusedDense | None = None

    def forward(
        self, x: Tensor, stacks: Stacks | None = None, base: Tensor | None = None
    ) -> Tensor:
        """Map (N, features, H, W) to the same shape.

        Args:
            x: the features.
            stacks: memory to use, if any.
            base: of the same shape; if given, the result is scaled by 0.2 and added to it.
        """
        # A compiler cannot look into the kernels.
        if not torch.compiler.is_compiling() and self._fused is not None:
            return self._fused(x, base, current_mask(x.dtype))
        stack = x
        for conv in self.convs[:4]:
            grown = conv(stack)
            stack = torch.cat((stack, grown), 1) if stacks is None else stacks.join(stack, grown)
        out: Tensor = self.convs[4](stack, x)
        return out if base is None else scaled_sum(base, out, RESIDUAL_SCALE)

    def prepare(self, dtype: torch.dtype) -> None:
        """Take the form for inference; see `preproc.networks.inference`."""
        convs = cast("list[Conv2d]", list(self.convs))
        if can_fuse(convs, dtype):
            self._fused = FusedDense(convs, RESIDUAL_SCALE, _DENSE_SLOPE, dtype)


class RRDB(nn.Module):
    """Residual in residual dense block: ``x + 0.2 * D3(D2(D1(x)))`` (ESRGAN)."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(features, growth) for _ in range(3)))

    def forward(self, x: Tensor, stacks: Stacks | None = None) -> Tensor:
        """Map (N, features, H, W) to the same shape; ``stacks`` is memory to use, if any."""
        first, second, third = self.dense
        out: Tensor = third(second(first(x, stacks), stacks), stacks, x)
        return out


class UpConv(nn.Module):
    """Nearest-neighbour upscaling, then a 3x3 convolution (the "upconvolution" of Table IV)."""

    def __init__(self, features: int, factor: int, *, slope: float) -> None:
        super().__init__()
        self.factor = factor
        self.conv = Conv2d(features, features, slope=slope)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, factor*H, factor*W)."""
        size = (x.shape[2] * self.factor, x.shape[3] * self.factor)
        out: Tensor = self.conv(F.interpolate(x, size=size, mode="nearest"))
        return out


_CONTEXTS: dict[str, Callable[[int], nn.Module]] = {
    "aspp": ASPP,
    "nonlocal": NonLocal,
    "sequential": SequentialAtrous,
    "none": lambda _: nn.Identity(),
}
_UPSAMPLERS: dict[str, Callable[..., nn.Module]] = {
    "pixelshuffle": SubPixel,
    "upconvolution": UpConv,
}


class CAJNN(nn.Module, Splittable, Preparable, Compilable):
    """CAJNN and its ablations (Table IV).

    ``forward`` maps float (N, 3, H, W), RGB in [0, 1], to (N, 3, scale*H, scale*W) in float32, or
    float64 for that, not clamped. It is ``upsample(extract(x), x)``; the two halves are public
    because the trunk works at LR and the tail, four fifths of the peak memory at x4, can be
    computed in strips. An output of ``upsample`` sees ``tail_radius`` LR px to each side.

    Args:
        scale: 2, 3 or 4 (the paper trains 4 only).
        features: channels of the trunk.
        growth: channels each dense convolution adds.
        blocks: number of RRDBs.
        context: what gathers context before the trunk.
        upsampling: sub-pixel convolution or upconvolution.
        tail: ``"msr"`` keeps all channels up to HR (14.8 M parameters, as the paper's);
            ``"literal"`` reads eq. 3 and 4 literally, with 3 channels after one PixelShuffle.
        long_skip: whether the bilinearly upscaled input is added to the output (eq. 5).

    Raises:
        ModelError: a value that is not one of those above.
    """

    # 3x3 before each upsampling step and two at HR: at most two LR px at any scale.
    tail_radius = 2

    def __init__(
        self,
        scale: int = 4,
        features: int = 64,
        growth: int = 32,
        blocks: int = 20,
        *,
        context: Context = "aspp",
        upsampling: Upsampling = "pixelshuffle",
        tail: Tail = "msr",
        long_skip: bool = True,
    ) -> None:
        super().__init__()
        if min(features, growth) < 1 or blocks < 0:
            raise ModelError(
                "CAJNN's features and growth must be at least 1 and its blocks at least 0, but got "
                f"{features}, {growth} and {blocks}."
            )
        _require("context", context, _CONTEXTS)
        _require("upsampling", upsampling, _UPSAMPLERS)
        _require("tail", tail, ("msr", "literal"))
        if tail == "literal" and upsampling == "upconvolution":
            raise ModelError("The literal tail is defined for PixelShuffle only; use tail='msr'.")
        factors = upsampling_steps(scale)
        self.scale = scale
        self.long_skip = long_skip
        self.conv_first = Conv2d(3, features, slope=_SLOPE)
        self.context = _CONTEXTS[context](features)
        self.trunk = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        if tail == "literal":
            width = 3
            self.upsampler = nn.ModuleList([SubPixel(features, scale, width, _SLOPE)])
        else:
            width = features
            step = _UPSAMPLERS[upsampling]
            self.upsampler = nn.ModuleList(step(features, r, slope=_SLOPE) for r in factors)
        self.conv_hr = Conv2d(width, width, slope=_SLOPE)
        self.conv_last = Float32Conv2d(width, 3)
        self._widest_stack = features + 4 * growth
        self._shares_stacks = False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming initialisation for the slopes, times 0.1 in the dense blocks and the last layer.

        Scaling every layer by 0.1, as the training code of ESRGAN does with the same trunk, starves
        the first layers: behind the atrous pyramid their gradients start below Adam's epsilon.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                dense = ".dense." in name
                linear = name.startswith("context") or name == "conv_last"
                slope = 1.0 if linear else _DENSE_SLOPE if dense else _SLOPE
                nn.init.kaiming_normal_(module.weight, a=slope)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
                if dense or name == "conv_last":
                    with torch.no_grad():
                        module.weight.mul_(0.1)

    def extract(self, x: Tensor) -> Tensor:
        """Features at LR, (N, features, H, W), of an input (N, 3, H, W)."""
        features: Tensor = self.context(self.conv_first(x.to(self.conv_first.weight.dtype)))
        stacks = Stacks(self._widest_stack) if self._shares_stacks else None
        for block in self.trunk:
            features = block(features, stacks)
        return features

    def upsample(self, features: Tensor, x: Tensor) -> Tensor:
        """The picture (N, 3, scale*H, scale*W) from the features and the input they came from."""
        h = features
        for step in self.upsampler:
            h = step(h)
        residual: Tensor = self.conv_last(self.conv_hr(h))
        if not self.long_skip:
            return residual
        size = residual.shape[2:]
        skip = F.interpolate(precise(x), size=size, mode="bilinear", align_corners=False)
        return residual + skip

    def forward(self, x: Tensor) -> Tensor:
        """Enhance a batch; see the class."""
        return self.upsample(self.extract(x), x)

    def prepare(self, dtype: torch.dtype) -> None:
        """Take the form for inference; see `preproc.networks.inference`."""
        self._shares_stacks = True
        if self.long_skip:
            self.conv_last.split(dtype)

    def compile_blocks(self) -> None:
        """Compile the trunk; see `preproc.networks.inference`."""
        self._shares_stacks = False  # a compiler plans memory itself
        for block in self.trunk:
            block.compile(dynamic=True)


def _require(option: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ModelError(f"{option} must be one of {', '.join(choices)}, but is {value!r}.")


def _descriptor(
    name: str, shape: tuple[int, int, int], parameters: int, macs_per_pixel: int, title: str
) -> ModelDescriptor:
    return ModelDescriptor(
        name=name,
        scale=4,
        build=partial(CAJNN, scale=4, features=shape[0], growth=shape[1], blocks=shape[2]),
        parameters=parameters,
        macs_per_pixel=macs_per_pixel,
        maskable=True,
        # Half precision is as fast on a GPU and ten times nearer to float32.
        dtypes=(torch.float16, torch.bfloat16),
        title=title,
    )


_LIGHT = ((32, 16, 4), 835_843, 1_096_032)

_PAPER = ((64, 32, 20), 14_847_491, 15_856_320)

register(
    _descriptor("cajnn", *_PAPER, "CAJNN as in the paper"),
    _descriptor("cajnn-light", *_LIGHT, "CAJNN at 1/14 of the cost, for CPUs"),
    _descriptor("cajnn-ocr", *_LIGHT, "cajnn-light trained for words, in front of OCR"),
    _descriptor("cajnn-faces", *_LIGHT, "cajnn-light trained for faces, in front of detectors"),
)
