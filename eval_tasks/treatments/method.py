"""A method of restoration, whatever it is that restores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from preproc.samples import Pixels


@dataclass(frozen=True)
class Method:
    """Something that restores a degraded image.

    Attributes:
        name: what the table calls it.
        restore: uint8 RGB (H, W, 3) to uint8 RGB (scale*H, scale*W, 3).
        parameters: trainable values in millions, or None if it has none.
        device: where it runs and in which dtype, where that is its choice.
    """

    name: str
    restore: Callable[[Pixels], Pixels]
    parameters: float | None = None
    device: str = ""
