"""A network as a list of steps, each local but for means over the whole image.

A network that pools over the image cannot be tiled, but each of its layers can, once the means are
known. Such a network lists its layers as steps, each of which maps the current feature map to the
next; a stack keeps those that a later step adds as a skip. The steps say how far they see and
nothing of how they are run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor


@dataclass(frozen=True)
class Keep:
    """Put a copy of the current map on the stack."""


@dataclass(frozen=True)
class Local:
    """A function of a neighbourhood.

    Attributes:
        apply: maps the current map (1, C, H, W) and, with ``skip``, the one taken off the stack to
            the next map (1, C', scale*H, scale*W).
        radius: px of the current map that an output sees to each side.
        scale: px out per px in.
        skip: whether the second argument is there.
    """

    apply: Callable[..., Tensor]
    radius: int
    scale: int = 1
    skip: bool = False


@dataclass(frozen=True)
class Pooled:
    """A block that is ``merge(x, h, gates(mean(h)))`` with ``h = extract(x)``, shapes unchanged.

    Attributes:
        extract: maps (1, C, H, W) to features of the same extent.
        gates: maps their means (1, C, 1, 1) over the whole image to what ``merge`` needs of them.
        merge: maps the input, its features and the gates to the output.
        radius: px that an output of ``extract`` sees to each side.
        merge_radius: px that ``merge`` adds.
    """

    extract: Callable[[Tensor], Tensor]
    gates: Callable[[Tensor], Tensor]
    merge: Callable[[Tensor, Tensor, Tensor], Tensor]
    radius: int
    merge_radius: int


Step: TypeAlias = Keep | Local | Pooled


class Stepwise(ABC):
    """A network that can list its steps; run in order, they do what ``forward`` does."""

    @abstractmethod
    def steps(self) -> Sequence[Step]:
        """The steps from (1, 3, H, W) to (1, 3, s*H, s*W)."""
