"""The squares of a set in which a restoration has its largest, median and smallest gain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from preproc.errors import ImageError
from preproc.metrics import y_channel
from preproc.samples import Pixels

SIDE = 192
"""Side of a square in HR px: whole LR px at x2, x3 and x4."""


@dataclass(frozen=True)
class Crop:
    """A square of `SIDE` px.

    Attributes:
        picture: the picture's file.
        left, top: its corner in HR px.
        gain: by how many dB of PSNR on Y the restoration is nearer to the reference than bicubic.
    """

    picture: Path
    left: int
    top: int
    gain: float

    def cut(self, pixels: Pixels) -> Pixels:
        """The square of a picture (H, W, 3)."""
        return pixels[self.top : self.top + SIDE, self.left : self.left + SIDE]


@dataclass(frozen=True)
class Gains:
    """What a restoration gains over bicubic in the squares of a set.

    Attributes:
        crops: all squares, from the greatest gain to the least.
    """

    crops: tuple[Crop, ...]

    @property
    def better(self) -> int:
        """In how many squares the restoration is nearer to the reference than bicubic."""
        return sum(crop.gain > 0 for crop in self.crops)

    @property
    def median(self) -> float:
        """The median gain in dB."""
        return median(crop.gain for crop in self.crops)

    def shown(self) -> dict[str, Crop]:
        """The squares of the greatest, the median and the least gain."""
        middle = self.crops[len(self.crops) // 2]
        return {"most": self.crops[0], "median": middle, "least": self.crops[-1]}


def gains(pictures: Iterable[tuple[Path, Pixels, Pixels, Pixels]]) -> Gains:
    """Compare a restoration with bicubic in every whole square of some pictures.

    Args:
        pictures: file, reference, bicubic and restoration, uint8 RGB of one shape (H, W, 3).
            Squares in which bicubic is exact, as in flat skies, say nothing and are left out.

    Raises:
        ImageError: no square is left.
    """
    crops = []
    for path, *versions in pictures:
        reference, plain, restored = map(y_channel, versions)
        for top in range(0, reference.shape[0] - SIDE + 1, SIDE):
            for left in range(0, reference.shape[1] - SIDE + 1, SIDE):
                square = np.s_[top : top + SIDE, left : left + SIDE]
                before, after = (
                    float(np.mean((picture[square] - reference[square]) ** 2))
                    for picture in (plain, restored)
                )
                if before and after:
                    crops.append(Crop(path, left, top, 10 * float(np.log10(before / after))))
    if not crops:
        raise ImageError(
            f"The pictures have no square of {SIDE} px in which bicubic errs; take photographs, "
            "and none smaller than that."
        )
    return Gains(tuple(sorted(crops, key=lambda crop: -crop.gain)))
