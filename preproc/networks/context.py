"""What gathers context before CAJNN's trunk: its atrous pyramid, and the rivals of Table IV."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preproc.networks.convolution import Conv2d

_DILATIONS = (1, 3, 4)


class ASPP(nn.Module):
    """Parallel atrous 3x3 convolutions (dilation 1, 3, 4), concatenated and fused by a 1x1 (eq. 2).

    Maps (N, C, H, W) to the same shape; no activation and no normalisation.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Conv2d(features, features, dilation=d) for d in _DILATIONS)
        self.fuse = Conv2d(len(_DILATIONS) * features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gather context around every position."""
        fused: Tensor = self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))
        return fused


class SequentialAtrous(nn.Sequential):
    """The same atrous convolutions one after the other (row 4 of Table IV)."""

    def __init__(self, features: int) -> None:
        super().__init__(*(Conv2d(features, features, dilation=d) for d in _DILATIONS))


class NonLocal(nn.Module):
    """Embedded-Gaussian non-local block (row 1 of Table IV), channels halved inside.

    Memory grows with the square of H*W, and every output sees the whole input.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        inner = features // 2
        self.query = Conv2d(features, inner, 1)
        self.key = Conv2d(features, inner, 1)
        self.value = Conv2d(features, inner, 1)
        self.fuse = Conv2d(inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add to every position the average of all others, weighted by similarity."""
        query, key, value = (f(x).flatten(2).mT for f in (self.query, self.key, self.value))
        # The original block has no temperature, hence scale 1.
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        out: Tensor = x + self.fuse(mixed.mT.reshape(*x.shape[:1], -1, *x.shape[2:]))
        return out
