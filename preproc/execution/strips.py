"""The high-resolution tail of a network, and the way back to input size, in strips of rows.

At x4 four fifths of the peak memory of a network is its tail, where every channel has 16 times the
px. The trunk's features are cut into strips of rows with as many real neighbours as the tail sees;
each strip goes through the tail and, where the result returns to the input's size, is shrunk at
once. Neither the tail's features nor the enlarged picture are then ever whole, and what is computed
twice is a few rows a strip. Inside a strip every px sees what it sees in the whole picture, so the
answer is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from preproc.execution.sizes import GPU
from preproc.execution.tiling import Span, spans
from preproc.networks.halves import Splittable
from preproc.networks.masking import current_mask, masked
from preproc.resize import BICUBIC_REACH, imresize

MIN_ROWS = 16
"""Fewest rows in a strip: with less, most of the work would be for neighbours."""


class Strips(nn.Module):
    """A network with its tail computed in strips.

    ``forward`` maps (N, 3, H, W) to (N, 3, s*H, s*W), or with ``shrink`` to (N, 3, H, W), but for
    batches of pictures of different sizes (`preproc.networks.masking`): each of those has an edge
    of its own to be mirrored in shrinking, so they are left enlarged.

    Args:
        network: a module that is `Splittable`.
        shrink: whether strips are shrunk to the input's size.
        pixels: LR px in a strip.
    """

    def __init__(
        self, network: Splittable, *, shrink: bool = False, pixels: int = GPU.strip
    ) -> None:
        super().__init__()
        self.network = network
        self.shrink = shrink
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        """Enhance a batch; see the class."""
        mask = current_mask()
        shrink = self.shrink and mask is None
        features = self.network.extract(x)
        strips = [
            self._strip(features, x, mask, rows, shrink=shrink)
            for rows in self.rows(len(x), x.shape[-2], x.shape[-1])
        ]
        return strips[0] if len(strips) == 1 else torch.cat(strips, -2)

    def rows(self, count: int, height: int, width: int) -> list[Span]:
        """How a batch of ``count`` pictures is cut, in LR rows."""
        halo = self.network.tail_radius + (BICUBIC_REACH if self.shrink else 0)
        least = max(MIN_ROWS, self.pixels // (count * width))
        return spans(height, least, halo)

    def _strip(
        self, features: Tensor, x: Tensor, mask: Tensor | None, rows: Span, *, shrink: bool
    ) -> Tensor:
        """The core of a strip."""
        with masked(None if mask is None else mask[..., rows.window, :]):
            picture = self.network.upsample(features[..., rows.window, :], x[..., rows.window, :])
        if shrink:
            picture = imresize(picture, size=(rows.length, x.shape[-1]))
        scale = picture.shape[-1] // x.shape[-1]
        return picture[..., rows.core(scale), :]
