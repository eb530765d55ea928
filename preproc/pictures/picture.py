"""What a picture of any kind becomes: samples, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from torch import Tensor

from preproc.errors import OptionError

ChannelOrder: TypeAlias = Literal["rgb", "bgr"]


def require_channel_order(order: str) -> None:
    """Refuse what is not a `ChannelOrder`.

    Raises:
        OptionError: it is not one.
    """
    if order not in get_args(ChannelOrder):
        raise OptionError(f"channel_order must be 'rgb' or 'bgr', but is {order!r}.")


@dataclass(frozen=True)
class Picture:
    """Samples of one picture, or of a batch of equal size, and the way back to their kind.

    Attributes:
        color: host tensor (N, C, H, W), C = 1 for grey and 3 for RGB, of dtype uint8, uint16 or
            float32 in [0, 1] (a little overshoot allowed).
        pack: takes (N, C, H', W') of the same C (or 3, where grey was stored as RGB) and dtype,
            float ones clamped to [0, 1], and gives what the user gets; brings along alpha and
            metadata. Of a part of the picture it also takes its box.
        alpha: opacity (N, 1, H, W) of the same dtype, or None where there is none; px that it
            hides have borrowed colours.
    """

    color: Tensor
    pack: Callable[..., Any]
    alpha: Tensor | None = None
