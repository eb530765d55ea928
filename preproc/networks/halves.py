"""Networks in two halves: a trunk at LR, and a tail that enlarges what it gives."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Splittable(Protocol):
    """A network of two halves: ``forward(x)`` is ``upsample(extract(x), x)``.

    Attributes:
        tail_radius: LR px that an output of ``upsample`` sees to each side.
    """

    tail_radius: int

    def extract(self, x: Tensor) -> Tensor:
        """Features (N, C, H, W) from (N, 3, H, W)."""
        ...

    def upsample(self, features: Tensor, x: Tensor) -> Tensor:
        """The picture (N, 3, s*H, s*W) from the features and what they came from."""
        ...
