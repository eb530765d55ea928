"""Networks in two halves: a trunk at LR, and a tail that enlarges what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Splittable(ABC):
    """A network of two halves: ``forward(x)`` is ``upsample(extract(x), x)``.

    Attributes:
        tail_radius: LR px that an output of ``upsample`` sees to each side.
    """

    tail_radius: int

    @abstractmethod
    def extract(self, x: Tensor) -> Tensor:
        """Features (N, C, H, W) from (N, 3, H, W)."""

    @abstractmethod
    def upsample(self, features: Tensor, x: Tensor) -> Tensor:
        """The picture (N, 3, s*H, s*W) from the features and what they came from."""
