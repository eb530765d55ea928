"""Random degradations of training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preproc.degrade import MCU, SUBSAMPLINGS, blur, double_jpeg, jpeg, resave, webp
from preproc.errors import RecipeError
from preproc.samples import Pixels
from preproc.training.finite import require_finite


@dataclass(frozen=True)
class Degradation:
    """A distribution of degradations of reduced pictures; `apply` draws one.

    Blur comes first, then exactly one of: nothing (``uncompressed``), JPEG twice
    (``double_jpeg``), JPEG at another size and again (``resave``), WebP (``webp``) or, with what
    is left of the probability, JPEG once. The default is CAJNN's: always JPEG, 4:2:0, quality
    uniform in 10 to 100, drawn anew for each sample.

    Attributes:
        quality: lowest and highest quality, both included.
        quality_skew: the quality is ``low + int((high - low + 1) * u ** quality_skew)`` with u
            uniform in [0, 1): 1 draws it uniformly; 2 puts a third of the draws from 10 to 100
            below 20.
        uncompressed: probability of no coding.
        double_jpeg: probability of two passes, the first on a grid shifted at random.
        resave: probability of two passes with a resize between.
        webp: probability of WebP.
        chroma: probability that JPEG uses 4:2:2 or 4:4:4 in place of 4:2:0.
        blur: probability of a blur.
        blur_sigma: smallest and largest standard deviation of the blur in LR px.
        resave_factor: smallest and largest relative size of the first file of ``resave``.
    """

    quality: tuple[int, int] = (10, 100)
    quality_skew: float = 1.0
    uncompressed: float = 0.0
    double_jpeg: float = 0.0
    resave: float = 0.0
    webp: float = 0.0
    chroma: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.2, 1.0)
    resave_factor: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        require_finite(vars(self), "degrade")
        for name in ("quality", "blur_sigma", "resave_factor"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise RecipeError(
                    f"degrade.{name} runs from low to high above 0, but is {low} to {high}."
                )
        if self.quality[1] > 100:
            raise RecipeError(f"degrade.quality goes up to 100, but is {self.quality[1]}.")
        if not self.quality_skew > 0:
            raise RecipeError(f"degrade.quality_skew must be above 0, but is {self.quality_skew}.")
        for name in ("uncompressed", "double_jpeg", "resave", "webp", "chroma", "blur"):
            chance = getattr(self, name)
            if not 0 <= chance <= 1:
                raise RecipeError(f"degrade.{name} lies between 0 and 1, but is {chance}.")
        coders = (self.uncompressed, self.double_jpeg, self.resave, self.webp)
        if sum(coders) > 1 + 1e-9:
            raise RecipeError(
                "uncompressed, double_jpeg, resave and webp exclude each other, so they sum to at "
                f"most 1, but come to {sum(coders):g}."
            )

    def apply(self, lr: Pixels, rng: np.random.Generator) -> Pixels:
        """Degrade an LR crop by one random draw; same size out.

        For a random grid phase in the final patch, cut ``lr`` at multiples of `MCU` with `MCU` px
        to spare on each side, and take the patch out of the result at any offset.

        Args:
            lr: uint8 (H, W, 3), reduced already.
            rng: the source of all randomness.
        """
        if rng.random() < self.blur:
            lr = blur(lr, rng.uniform(*self.blur_sigma))
        draw = rng.random()
        if draw < self.uncompressed:
            return lr
        draw -= self.uncompressed
        if draw < self.webp:
            return webp(lr, self._quality(rng))
        draw -= self.webp
        subsampling = SUBSAMPLINGS[0]
        if rng.random() < self.chroma:
            subsampling = SUBSAMPLINGS[rng.integers(1, len(SUBSAMPLINGS))]
        if draw < self.double_jpeg:
            down, right = rng.integers(0, MCU, 2).tolist()
            passes = self._quality(rng), self._quality(rng)
            return double_jpeg(lr, *passes, subsampling, (down, right))
        draw -= self.double_jpeg
        if draw < self.resave:
            factor = rng.uniform(*self.resave_factor)
            return resave(lr, factor, self._quality(rng), self._quality(rng), subsampling)
        return jpeg(lr, self._quality(rng), subsampling)

    def _quality(self, rng: np.random.Generator) -> int:
        low, high = self.quality
        return low + int((high - low + 1) * rng.random() ** self.quality_skew)
