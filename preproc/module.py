"""The stage as a layer: float tensors in and out, on one device, with gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from preproc.errors import ImageError
from preproc.execution.forks import compute_on_one_thread_after_forks
from preproc.execution.tiles import require_scaled
from preproc.execution.windows import pad
from preproc.networks import find
from preproc.resize import imresize
from preproc.weights import load_network


class EnhancerModule(nn.Module):
    """An enhancer to put in front of another network and differentiate through.

    No tiles, no border, no clamping, no rounding, no dtype policy: it runs where its parameters and
    input are, under the caller's autocast, and its parameters train unless
    ``requires_grad_(False)``. Processes forked after it was made compute on one thread
    (`preproc.execution.forks`).

    Attributes:
        descriptor: what is known about the network.
        scale: output px per input px: the network's, or 1 with ``to_input_size``.
        network: the network itself.
    """

    def __init__(
        self,
        model: str = "cajnn-light",
        *,
        scale: int | None = None,
        weights: str | Path | None = None,
        to_input_size: bool = False,
    ) -> None:
        """Load a network; the arguments mean what they mean for `preproc.Enhancer`.

        Raises:
            ModelError: no such model or scale.
            WeightsError: the weights are missing, damaged, or for another network.
        """
        super().__init__()
        self.descriptor = find(model, scale)
        self.scale = 1 if to_input_size else self.descriptor.scale
        compute_on_one_thread_after_forks()
        self.network = load_network(self.descriptor, weights)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A module that comes from another process is as safe to fork with as one made here."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        compute_on_one_thread_after_forks()

    def forward(self, x: Tensor) -> Tensor:
        """Enhance a batch.

        Args:
            x: float (N, 3, H, W), RGB in [0, 1], of any size.

        Returns:
            (N, 3, scale*H, scale*W), not clamped, of ``x``'s dtype.

        Raises:
            ImageError: not a tensor, or of another shape or dtype.
            ModelError: the network does not keep to its scale.
        """
        _require_batch(x)
        height, width = x.shape[-2:]
        rule, scale = self.descriptor.size, self.descriptor.scale
        padded = pad(x, rule.padded(height), rule.padded(width))
        y: Tensor = self.network(padded)
        require_scaled(y, padded, scale)
        y = y[..., : scale * height, : scale * width]
        y = imresize(y, size=(height, width)) if self.scale < scale else y
        return y.to(x.dtype)


def _require_batch(x: object) -> None:
    if not isinstance(x, Tensor):
        got = f"a {type(x).__name__}"
    elif x.ndim != 4 or x.shape[1] != 3 or 0 in x.shape or not x.is_floating_point():
        got = f"{x.dtype} of shape {tuple(x.shape)}"
    else:
        return
    raise ImageError(f"EnhancerModule takes a float tensor (N, 3, H, W) in [0, 1], but got {got}.")
