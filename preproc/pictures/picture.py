"""What a picture of any kind becomes: samples, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

from torch import Tensor

from preproc.box import Box
from preproc.errors import OptionError

ChannelOrder: TypeAlias = Literal["rgb", "bgr"]


def require_channel_order(order: str) -> None:
    """Refuse what is not a `ChannelOrder`.

    Raises:
        OptionError: it is not one.
    """
    if order not in get_args(ChannelOrder):
        raise OptionError(f"channel_order must be 'rgb' or 'bgr', but is {order!r}.")


class Pack(Protocol):
    """The way back from samples to what the user gets, with alpha and metadata."""

    def __call__(self, result: Tensor, part: Box | None = None, /) -> Any:  # noqa: ANN401
        """What the user gets.

        Args:
            result: (N, C, H', W') of the picture's dtype, float ones clamped to [0, 1], with its
                C, or 3 where grey was stored as RGB.
            part: the part of the picture that ``result`` shows, in px of the picture; None for all.
        """


@dataclass(frozen=True)
class Picture:
    """Samples of one picture, or of a batch of equal size, and the way back to their kind.

    Attributes:
        color: host tensor (N, C, H, W), C = 1 for grey and 3 for RGB, of dtype uint8, uint16 or
            float32 in [0, 1] (a little overshoot allowed).
        pack: gives what the user gets.
        alpha: opacity (N, 1, H, W) of the same dtype, or None where there is none; px that it
            hides have borrowed colours.
    """

    color: Tensor
    pack: Pack
    alpha: Tensor | None = None
