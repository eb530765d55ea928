"""Regions of a picture through a network: cut, packed onto sheets, computed, and cut out again.

On a sheet every window gets the answer it gets alone: what lies between windows is zero in front of
every convolution (`preproc.mixing`), as beyond the border of a picture, and repeats the windows'
edges for a bilinear skip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from preproc.box import Box
from preproc.errors import ImageError
from preproc.images import upright
from preproc.landing import Landing
from preproc.packing import Sheet
from preproc.progress import Progress, Tally
from preproc.runtime import main_memory_says
from preproc.samples import to_float
from preproc.tiles import Apply, Job, Span, Tile, TilePolicy, paste, run_tiles

LEAST_GAP = 2
"""Px between windows that a bilinear skip needs: one of each window's edge."""


def size_of(img: object) -> tuple[int, int]:
    """Height and width of a PIL image, an array or a tensor.

    Raises:
        ImageError: it is none of these.
    """
    match img:
        case Image.Image():
            return img.height, img.width
        case np.ndarray() if img.ndim in (2, 3):
            return img.shape[0], img.shape[1]
        case Tensor() if img.ndim in (3, 4):
            return img.shape[-2], img.shape[-1]
    raise ImageError(
        f"Regions are cut from a PIL image, an array (H, W) or (H, W, C), or a tensor (C, H, W), "
        f"but got a {type(img).__name__}; open files and bytes first."
    )


def stand_up(img: object) -> object:
    """The picture as boxes see it: PIL images upright, as their EXIF says."""
    return upright(img) if isinstance(img, Image.Image) else img


def cut_out(color: Tensor, box: Box) -> Tensor:
    """A part of samples (..., H, W), in the same memory."""
    return color[..., box.top : box.bottom, box.left : box.right]


def run_sheets(
    pictures: Sequence[Tensor],
    canvases: Sequence[Tensor],
    sheets: Sequence[Sheet],
    apply: Apply,
    policy: TilePolicy,
    progress: Progress | None = None,
) -> None:
    """Put windows through ``apply`` sheet by sheet; where memory is full, one by one.

    Args:
        pictures: host tensors (1 or 3, H, W), those that the sheets place.
        canvases: for each the host tensor its result is written to, as in `tiles.run_tiles`.
        sheets: which pictures lie where.
        apply: as in `tiles.run_tiles`.
        policy: for windows that go one by one.
        progress: as in `tiles.run_tiles`; the px are those of the windows on the sheets.

    Raises:
        MemoryError: as in `tiles.run_tiles`.
    """
    px = [sum(pictures[n][0].numel() for n, _, _ in sheet.places) for sheet in sheets]
    tally = Tally(progress, sum(px))
    with Landing() as land:
        for sheet, of_sheet in zip(sheets, px, strict=True):
            try:
                results = apply(*_filled(sheet, pictures))
            except MemoryError:
                numbers = [number for number, _, _ in sheet.places]
                run_tiles(
                    [pictures[n] for n in numbers],
                    [canvases[n] for n in numbers],
                    apply,
                    policy,
                    progress=tally.part(),
                )
            else:
                _take_off(sheet, results, pictures, canvases, land)
                tally.add(of_sheet)


def _take_off(
    sheet: Sheet,
    results: Tensor,
    pictures: Sequence[Tensor],
    canvases: Sequence[Tensor],
    land: Landing,
) -> None:
    """Windows of a computed sheet (1, 3, s*H, s*W) to their canvases."""
    made = results.shape[-1] // sheet.width
    for number, top, left in sheet.places:
        picture = pictures[number]
        height, width = picture.shape[-2:]
        whole = Tile(Span(0, height, 0, height), Span(0, width, 0, width))
        rows = slice(made * top, made * (top + height))
        result = results[0, :, rows, made * left : made * (left + width)]
        with main_memory_says(
            f"The main memory has no room for a window of {height}x{width} px once it is "
            "computed; enhance fewer at a time."
        ):
            paste(Job(picture, canvases[number], whole), result, made, land)


def _filled(sheet: Sheet, pictures: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The sheet as a batch (1, 3, H, W), and which of its px are windows (1, 1, H, W)."""
    with main_memory_says(
        f"The main memory has no room for a sheet of {sheet.height}x{sheet.width} px; choose a "
        "smaller tile=."
    ):
        return _drawn(sheet, pictures)


def _drawn(sheet: Sheet, pictures: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    device = pictures[0].device
    batch = torch.zeros(1, 3, sheet.height, sheet.width, device=device)
    inside = torch.zeros(1, 1, sheet.height, sheet.width, device=device)
    for number, top, left in sheet.places:
        height, width = pictures[number].shape[-2:]
        bottom, right = top + height, left + width
        # One px of edge to each side, where the sheet has it: left, right, above, below.
        edges = [min(room, 1) for room in (left, sheet.width - right, top, sheet.height - bottom)]
        framed = F.pad(to_float(pictures[number])[None], edges, mode="replicate")
        rows = slice(top - edges[2], bottom + edges[3])
        batch[..., rows, left - edges[0] : right + edges[1]] = framed
        inside[..., top:bottom, left:right] = 1
    return batch, inside
