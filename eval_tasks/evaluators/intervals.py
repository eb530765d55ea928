"""95 % bootstrap intervals over the images, by the percentile method.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. With fewer than about
20 images such intervals are too narrow: with 10, about one gain in ten that is pure chance is
called sure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
"""Bootstrap samples for an interval."""

LEAST = 8
"""Images from which there is an interval: with fewer, chance would be called sure far too often."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval.

    Formatted, each of the three has the format given: ``f"{gain:+.2f}"`` is ``+0.30 (+0.10 to
    +0.50)``, or ``+0.30 (too few images)`` where the interval is unbounded.
    """

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    def __format__(self, spec: str) -> str:
        """See the class."""
        value, low, high = (format(x, spec) for x in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})" if isfinite(self.low) else f"{value} (too few images)"


def draw(images: int) -> NDArray[np.int64]:
    """How often each image is in each bootstrap sample, (`DRAWS`, images).

    The seed is fixed, so that the samples of two runs on the same images are paired.
    """
    rng = np.random.default_rng(0)
    return rng.multinomial(images, np.full(images, 1 / images), size=DRAWS)


def interval(value: float, samples: NDArray[np.float64], images: int) -> Interval:
    """A figure with the interval of its values in the samples.

    Args:
        value: the figure.
        samples: its values in the samples, (N,); NaN are left out.
        images: how many have anything to count. Samples of fewer than `LEAST` are too much alike to
            say anything of others: the interval is unbounded.
    """
    known = samples[~np.isnan(samples)]
    if images < LEAST or not len(known):
        return Interval(value, -np.inf, np.inf)
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(value, float(low), float(high))
