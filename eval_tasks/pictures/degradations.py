"""How the scripts degrade source pictures: reduction by Pillow, then JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from preproc.degrade import KERNELS, USUAL_KERNEL, jpeg
from preproc.samples import Pixels

MIN_SIDE = 8
"""Smallest side in px that a reduction leaves: one block of JPEG."""


@dataclass(frozen=True)
class Degradation:
    """A reduction and a compression; the default is neither.

    Attributes:
        reduction: source px per px, along each side.
        quality: of the JPEG (4:2:0, IJG scale), or None for no compression.
        kernel: of the reduction, one of `KERNELS`; the usual one where nothing is reduced, so that
            what is the same has one name.
    """

    reduction: int = 1
    quality: int | None = None
    kernel: str = USUAL_KERNEL

    def __post_init__(self) -> None:
        if self.reduction == 1:
            object.__setattr__(self, "kernel", USUAL_KERNEL)

    def __str__(self) -> str:
        by = "" if self.kernel == USUAL_KERNEL else f" {self.kernel}"
        reduced = [] if self.reduction == 1 else [f"/{self.reduction}{by}"]
        coded = [] if self.quality is None else [f"JPEG {self.quality}"]
        return ", ".join(reduced + coded) or "none"

    @property
    def slug(self) -> str:
        """The same for file names, such as ``x2-jpeg40``."""
        return str(self).replace("/", "x").replace(", ", "-").replace(" ", "").lower()

    @property
    def sentence(self) -> str:
        """The same for titles, such as ``reduced x4 and saved as JPEG 40``."""
        by = "" if self.kernel == USUAL_KERNEL else f" by {self.kernel}"
        reduced = f"reduced x{self.reduction}{by}" if self.reduction > 1 else "not reduced"
        return reduced if self.quality is None else f"{reduced} and saved as JPEG {self.quality}"

    def apply(self, img: Pixels) -> Pixels:
        """Degrade an image.

        Args:
            img: uint8 RGB (H, W, 3).

        Returns:
            uint8 RGB (H // reduction, W // reduction, 3); sides are reduced to `MIN_SIDE` px at
            least.
        """
        if self.reduction > 1:
            height, width = (
                max(side // self.reduction, min(side, MIN_SIDE)) for side in img.shape[:2]
            )
            small = Image.fromarray(img).resize((width, height), KERNELS[self.kernel])
            img = np.array(small)
        return img if self.quality is None else jpeg(img, self.quality)
