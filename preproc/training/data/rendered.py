"""Rendered text as a source of training patches."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from preproc.degrade import USUAL_KERNEL, mod_crop, reduce
from preproc.samples import Pixels
from preproc.training.data.folder import Folder, Pair
from preproc.training.data.text import text_picture

_TEXT_SIDE = 384  # HR px, or a larger patch's; several lines of text, and cheap to render


class Text:
    """Rendered text, each picture used ``reuse`` times before the next is drawn.

    Args:
        scale: HR px per LR px.
        reuse: draws from one picture.
        ground: photographs to write on, or None for plain grounds.
        kernel: of the reduction.
        smallest: side that LR pictures must have at least, in px.
    """

    def __init__(
        self,
        scale: int,
        reuse: int,
        ground: Folder | None,
        kernel: str = USUAL_KERNEL,
        smallest: int = 1,
    ) -> None:
        self._scale, self._reuse, self._photos, self._kernel = scale, reuse, ground, kernel
        self._side = max(_TEXT_SIDE, scale * smallest)
        self._left = 0
        self._pair: Pair | None = None

    def draw(self, rng: Generator) -> Pair:
        """The current picture, or a new one when it has been used up."""
        if self._pair is None or self._left == 0:
            ground = self._photo if self._photos else None
            hr = mod_crop(text_picture(rng, self._side, ground), self._scale)
            self._pair, self._left = (hr, reduce(hr, self._scale, self._kernel)), self._reuse
        self._left -= 1
        return self._pair

    def _photo(self, rng: Generator, size: int) -> Pixels:
        assert self._photos is not None
        hr, _ = self._photos.draw(rng)
        picture = hr
        while min(picture.shape[:2]) < size:
            picture = np.concatenate((picture, picture[::-1]))
            picture = np.concatenate((picture, picture[:, ::-1]), axis=1)
        y, x = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
        return np.array(picture[y : y + size, x : x + size])
