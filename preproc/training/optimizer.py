"""The optimizers of a recipe: Adam, or Muon for kernels with Adam for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from preproc.training.recipe import Optimizer

_IMAGE_CHANNELS = 3  # kernels that read or write pixels stay with Adam
_MOMENTUM = 0.95  # Muon's own default


def make_optimizer(
    settings: Optimizer, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer that a recipe names.

    Args:
        settings: the recipe's table ``optimizer``.
        parameters: what is trained.
    """
    if settings.kind == "adam":
        return torch.optim.Adam(parameters, lr=settings.lr, betas=settings.betas, eps=settings.eps)
    return KernelMuon(parameters, settings.lr, settings.betas, settings.eps)


class KernelMuon(torch.optim.Optimizer):
    """Muon for the kernels of convolutions, Adam for biases, slopes and kernels at the pixels.

    Muon makes the momentum of a matrix orthogonal before it steps along it, so that directions
    which gradients seldom show are learned as fast as the common ones (Jordan et al. 2024; the step
    is scaled to the size of Adam's, after Liu et al. 2025, "Muon is scalable for LLM training"). A
    kernel is the matrix (outputs, inputs * height * width). torch's Muon takes matrices only, so it
    is given views of the kernels, which share their memory.

    Args:
        parameters: what is trained; kernels contiguous in either memory format.
        lr: of both; ``param_groups[0]["lr"]`` changes it.
        betas: Adam's decay rates.
        eps: Adam's epsilon.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        parameters = list(parameters)
        super().__init__(parameters, {"lr": lr})
        self._kernels = [p for p in parameters if _is_kernel(p)]
        self._views = [nn.Parameter(_rows(p.detach(), p).view(len(p), -1)) for p in self._kernels]
        rest = [p for p in parameters if not _is_kernel(p)]
        self._parts: dict[str, torch.optim.Optimizer] = {}
        if self._views:
            self._parts["muon"] = torch.optim.Muon(
                self._views,
                lr=lr,
                weight_decay=0,
                momentum=_MOMENTUM,
                adjust_lr_fn="match_rms_adamw",
            )
        if rest:
            self._parts["adam"] = torch.optim.Adam(rest, lr=lr, betas=betas, eps=eps)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - torch's
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for view, kernel in zip(self._views, self._kernels, strict=True):
            gradient = kernel.grad
            view.grad = None if gradient is None else _rows(gradient, kernel).reshape(view.shape)
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            part.step()
        for view in self._views:
            view.grad = None
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the two."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name, part in self._parts.items():
            part.load_state_dict(state_dict[name])


def _is_kernel(parameter: Tensor) -> bool:
    return parameter.ndim == 4 and min(parameter.shape[:2]) > _IMAGE_CHANNELS


def _rows(tensor: Tensor, kernel: Tensor) -> Tensor:
    """A kernel or its gradient, (outputs, ...), with the axes in the kernel's order in memory."""
    return tensor if kernel.is_contiguous() else tensor.permute(0, 2, 3, 1)  # channels_last
