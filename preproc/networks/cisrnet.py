"""CISRNet: compressed image super-resolution in two stages, x2, x3 and x4.

The network of "CISRNet: Compressed Image Super-Resolution Network". A coarse stage super-resolves
at LR through residual groups of dual attention blocks; a fine stage of the same make works on its
result at HR and adds what is missing. Every block gates its channels by their mean over the whole
image, so an output depends on all of the input.

The paper's code feeds values of 0 to 255 where this one, like the rest of the package, feeds
[0, 1]. The architecture does not change by it, but two things do: weights trained on one range do
not suit the other, and L1 shrinks by 255 while the VGG loss stays, so that the code's
``L1 + 0.05 * VGG`` is ``L1 + 0.05 / 255 * VGG`` here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from preproc.errors import ModelError
from preproc.networks.blocks import SubPixel, upsampling_steps
from preproc.networks.convolution import Conv2d, ResidualConv2d
from preproc.networks.inference import Compilable
from preproc.networks.precision import Float32Conv2d, precise
from preproc.networks.registry import ModelDescriptor, Tiling, register
from preproc.networks.steps import Keep, Local, Pooled, Step, Stepwise

Attention = Literal["pdab", "sdab"]


class ChannelAttention(nn.Module):
    """A gate of 0 to 1 for each channel, from the channels' means (RCAN, without biases)."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = Conv2d(features, features // reduction, 1, bias=False, slope=0.0)
        self.excite = Conv2d(features // reduction, features, 1, bias=False)

    def forward(self, mean: Tensor) -> Tensor:
        """Gates (N, C, 1, 1) from the means (N, C, 1, 1) over the whole image."""
        return torch.sigmoid(self.excite(self.squeeze(mean)))


class SpatialAttention(nn.Module):
    """A gate of 0 to 1 for each position, from the maximum and mean of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv2d(2, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Gates (N, 1, H, W) from features (N, C, H, W)."""
        statistics = torch.cat((h.amax(1, keepdim=True), h.mean(1, keepdim=True)), dim=1)
        return torch.sigmoid(self.conv(statistics))


class DualAttentionBlock(nn.Module, ABC):
    """Two convolutions, channel and spatial attention, and a skip.

    ``forward`` is ``merge(x, h, channel(mean(h)))`` with ``h = extract(x)``. The mean is all that
    reaches beyond 3 px (2 in ``extract``, 1 in ``merge``), so whoever works in tiles can sweep
    twice, sum ``h`` in the first sweep and get the whole image's answer in the second.
    """

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(features, features, slope=0.0)
        self.conv2 = Conv2d(features, features)
        self.channel = ChannelAttention(features, reduction)
        self.spatial = SpatialAttention()

    def extract(self, x: Tensor) -> Tensor:
        """Features (N, C, H, W) before attention."""
        h: Tensor = self.conv2(self.conv1(x))
        return h

    @abstractmethod
    def merge(self, x: Tensor, h: Tensor, gates: Tensor) -> Tensor:
        """The output from the input, its features and their channels' gates (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        h = self.extract(x)
        return self.merge(x, h, self.channel(h.mean((2, 3), keepdim=True)))

    def step(self) -> Step:
        """The block as a step of `CISRNet.steps`."""
        return Pooled(self.extract, self.channel, self.merge, radius=2, merge_radius=1)


class PDAB(DualAttentionBlock):
    """Parallel dual attention: both gate the features, a 1x1 convolution fuses the two results."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__(features, reduction)
        self.fuse = ResidualConv2d(2 * features, features, 1)

    def merge(self, x: Tensor, h: Tensor, gates: Tensor) -> Tensor:
        """``x + fuse([spatial, channel])``."""
        fused: Tensor = self.fuse(torch.cat((h * self.spatial(h), h * gates), dim=1), x)
        return fused


class SDAB(DualAttentionBlock):
    """Sequential dual attention: the channels are gated first, then the positions."""

    def merge(self, x: Tensor, h: Tensor, gates: Tensor) -> Tensor:
        """``x + spatial(channel)``."""
        h = h * gates
        out: Tensor = x + h * self.spatial(h)
        return out


_BLOCKS: dict[str, type[PDAB] | type[SDAB]] = {"pdab": PDAB, "sdab": SDAB}


class ResidualGroup(nn.Module):
    """Attention blocks and a 3x3 convolution, with a skip around them."""

    def __init__(self, attention: Attention, features: int, reduction: int, blocks: int) -> None:
        super().__init__()
        make = _BLOCKS[attention]
        self.blocks = nn.Sequential(*(make(features, reduction) for _ in range(blocks)))
        self.conv = ResidualConv2d(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        out: Tensor = self.conv(self.blocks(x), x)
        return out

    def steps(self) -> Iterator[Step]:
        """The same, step by step."""
        yield Keep()
        for block in self.blocks:
            assert isinstance(block, DualAttentionBlock)
            yield block.step()
        yield Local(self.conv, radius=1, skip=True)


class Coarse(nn.Module):
    """The coarse stage: LR (N, 3, H, W) to a first HR picture (N, 3, s*H, s*W), float32 or better.

    It has a skip around all groups in feature space, and none around the stage.
    """

    def __init__(self, scale: int, features: int, groups: nn.Sequential) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = Conv2d(3, features)
        self.groups = groups
        self.conv_groups = ResidualConv2d(features, features)
        self.upsampler = nn.Sequential(*(SubPixel(features, r) for r in upsampling_steps(scale)))
        self.conv_last = Float32Conv2d(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve a batch."""
        first = self._first(x)
        return self._last(self.groups(first), first)

    def steps(self) -> Iterator[Step]:
        """The same, step by step."""
        yield Local(self._first, radius=1)
        yield Keep()
        for group in self.groups:
            assert isinstance(group, ResidualGroup)
            yield from group.steps()
        # conv_groups 1, less than 2 for the upsampler's convolutions, at most a half for the last.
        yield Local(self._last, radius=4, scale=self.scale, skip=True)

    def _first(self, x: Tensor) -> Tensor:
        first: Tensor = self.conv_first(x.to(self.conv_first.weight.dtype))
        return first

    def _last(self, h: Tensor, first: Tensor) -> Tensor:
        picture: Tensor = self.conv_last(self.upsampler(self.conv_groups(h, first)))
        return picture


class Fine(nn.Module):
    """The fine stage: adds detail to an HR picture (N, 3, H, W), in float32 or better."""

    def __init__(self, features: int, groups: nn.Sequential) -> None:
        super().__init__()
        self.conv_first = Conv2d(3, features)
        self.groups = groups
        self.conv_last = Float32Conv2d(features, 3)

    def forward(self, coarse: Tensor) -> Tensor:
        """Refine a batch."""
        return self._last(self.groups(self._first(coarse)), coarse)

    def steps(self) -> Iterator[Step]:
        """The same, step by step."""
        yield Keep()
        yield Local(self._first, radius=1)
        for group in self.groups:
            assert isinstance(group, ResidualGroup)
            yield from group.steps()
        yield Local(self._last, radius=1, skip=True)

    def _first(self, coarse: Tensor) -> Tensor:
        first: Tensor = self.conv_first(coarse.to(self.conv_first.weight.dtype))
        return first

    def _last(self, h: Tensor, coarse: Tensor) -> Tensor:
        refined: Tensor = precise(coarse) + self.conv_last(h)
        return refined


class CISRNet(nn.Module, Stepwise, Compilable):
    """CISRNet and its ablations (Tables 2 and 3).

    ``forward`` maps float (N, 3, H, W), RGB in [0, 1], to (N, 3, scale*H, scale*W) in float32, or
    float64 for that, not clamped. It is ``fine(coarse(x))``; training's first stage fits ``coarse``
    alone, whose keys are the same in a network that is coarse only.

    Args:
        scale: 2, 3 or 4.
        features: channels throughout.
        reduction: how many times fewer channels there are inside the channel attention.
        blocks: attention blocks in a residual group.
        coarse_groups: residual groups of the coarse stage (Table 2: 3 to 6).
        fine_groups: residual groups of the fine stage (Table 2: 1 to 3).
        coarse_attention: ``"pdab"`` (parallel) or ``"sdab"`` (sequential) blocks (Table 3).
        fine_attention: the same for the fine stage.
        coarse_only: leaves the fine stage out (Table 2's rows without it).

    Raises:
        ModelError: a value that is not one of those above.
    """

    def __init__(
        self,
        scale: int = 4,
        features: int = 96,
        reduction: int = 8,
        blocks: int = 8,
        *,
        coarse_groups: int = 4,
        fine_groups: int = 2,
        coarse_attention: Attention = "pdab",
        fine_attention: Attention = "sdab",
        coarse_only: bool = False,
    ) -> None:
        super().__init__()
        if min(blocks, coarse_groups, fine_groups) < 1 or not 1 <= reduction <= features:
            raise ModelError(
                "CISRNet needs at least one block and one group a stage, and a reduction between 1 "
                f"and its features, but got {blocks=}, {coarse_groups=}, {fine_groups=}, "
                f"{reduction=} and {features=}."
            )
        self.scale = scale

        def groups(attention: Attention, count: int) -> nn.Sequential:
            if attention not in _BLOCKS:
                raise ModelError(
                    f"CISRNet's attention must be one of {', '.join(_BLOCKS)}; got {attention!r}."
                )
            return nn.Sequential(
                *(ResidualGroup(attention, features, reduction, blocks) for _ in range(count))
            )

        self.coarse = Coarse(scale, features, groups(coarse_attention, coarse_groups))
        self.fine = (
            nn.Identity() if coarse_only else Fine(features, groups(fine_attention, fine_groups))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Enhance a batch; see the class."""
        picture: Tensor = self.fine(self.coarse(x))
        return picture

    def compile_blocks(self) -> None:
        """Compile the attention blocks; see `preproc.networks.inference`."""
        for module in self.modules():
            if isinstance(module, DualAttentionBlock):
                module.compile(dynamic=True)

    def steps(self) -> list[Step]:
        """The same as steps that are local but for means over the image (`networks.steps`)."""
        steps = list(self.coarse.steps())
        if isinstance(self.fine, Fine):
            steps += self.fine.steps()
        return steps


def _descriptors(
    name: str,
    scale: int,
    features: int,
    parameters: tuple[int, int],
    macs_per_pixel: tuple[int, int],
    title: str,
) -> tuple[ModelDescriptor, ModelDescriptor]:
    """The whole network and its coarse stage; counts in that order."""
    whole = ModelDescriptor(
        name=name,
        scale=scale,
        build=partial(CISRNet, scale=scale, features=features),
        parameters=parameters[0],
        macs_per_pixel=macs_per_pixel[0],
        tiling=Tiling.WHOLE,
        # Without a skip around the whole, zeros beyond a white border darken it.
        border=4,
        dtypes=(torch.bfloat16,),
        title=title,
    )
    coarse = replace(
        whole,
        name=f"{name}-coarse",
        build=partial(CISRNet, scale=scale, features=features, coarse_only=True),
        parameters=parameters[1],
        macs_per_pixel=macs_per_pixel[1],
        title=f"{name}'s coarse stage alone, from the same weights",
        part_of=whole.name,
    )
    return whole, coarse


_PAPER = ("cisrnet", 96, "CISRNet as in the paper: coarse and fine stage, gated by the whole image")
_LIGHT = ("cisrnet-light", 32, "CISRNet with a third of the features, at a ninth of the cost")
# Parameters and multiply-accumulates per LR px, each of the whole network and of its coarse stage.
_COUNTS = {
    (_PAPER, 2): ((9_600_198, 6_734_403), (17_960_544, 6_658_272)),
    (_PAPER, 3): ((10_015_398, 7_149_603), (32_516_064, 7_085_952)),
    (_PAPER, 4): ((9_932_358, 7_066_563), (53_225_568, 8_016_480)),
    (_LIGHT, 2): ((1_072_774, 752_195), (2_004_640, 743_200)),
    (_LIGHT, 3): ((1_119_014, 798_435), (3_631_840, 793_600)),
    (_LIGHT, 4): ((1_109_766, 789_187), (5_946_784, 901_024)),
}
register(
    *(
        descriptor
        for ((name, features, title), scale), counts in _COUNTS.items()
        for descriptor in _descriptors(name, scale, features, *counts, title)
    )
)
