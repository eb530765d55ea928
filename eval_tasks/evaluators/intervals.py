"""How sure a figure is: intervals from samples of the images, drawn with replacement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
"""Samples of the images for an interval."""


@dataclass(frozen=True)
class Interval:
    """A figure with the range that holds it for 95 % of samples of the images."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether its sign is the same all over the range."""
        return self.low > 0 or self.high < 0


def draw(images: int) -> NDArray[np.int64]:
    """How often each image is in each sample, (`DRAWS`, images); always the same, so runs pair."""
    rng = np.random.default_rng(0)
    return rng.multinomial(images, np.full(images, 1 / images), size=DRAWS)


def interval(value: float, samples: NDArray[np.float64]) -> Interval:
    """A figure and its values in the samples (N,); those that are NaN do not count."""
    known = samples[~np.isnan(samples)]
    if not len(known):
        return Interval(value, -np.inf, np.inf)
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(value, float(low), float(high))
