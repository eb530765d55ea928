"""Pictures of nearly one size as one batch, with a mask of what is theirs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def stack(pictures: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Make one batch of pictures (C, H, W).

    Returns:
        (N, C, H', W') with the largest height and width there are, smaller pictures at the top
        left, filled up with their edges; and a mask of the px that are a picture's own,
        (N, 1, H', W') of zeros and ones (`networks.masking`), or None where all are.
    """
    shapes = [picture.shape[-2:] for picture in pictures]
    height, width = (max(extents) for extents in zip(*shapes, strict=True))
    if all(shape == (height, width) for shape in shapes):
        return torch.stack(list(pictures)), None
    batch = pictures[0].new_empty(len(pictures), pictures[0].shape[0], height, width)
    device = batch.device
    mask = torch.zeros(len(pictures), 1, height, width, device=device)
    rows, columns = (torch.arange(extent, device=device) for extent in (height, width))
    for n, (picture, (h, w)) in enumerate(zip(pictures, shapes, strict=True)):
        batch[n] = picture[:, rows.clamp(max=h - 1)][..., columns.clamp(max=w - 1)]
        mask[n, :, :h, :w] = 1
    return batch, mask
