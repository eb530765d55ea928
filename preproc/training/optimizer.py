"""The optimizers of a recipe: Adam, or Muon for kernels with Adam for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from preproc.training.recipe import Optimizer

_IMAGE_CHANNELS = 3  # kernels that read or write pixels stay with Adam
_MOMENTUM = 0.95
_ADAMS_SIZE = 0.2  # root mean square of Adam's steps, in learning rates
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan's quintic, steepest at zero
_ITERATIONS = 5
_EPS = 1e-7


def make_optimizer(
    settings: Optimizer, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer that a recipe names."""
    if settings.kind == "adam":
        return torch.optim.Adam(parameters, lr=settings.lr, betas=settings.betas, eps=settings.eps)
    return KernelMuon(parameters, settings.lr, settings.betas, settings.eps)


class KernelMuon(torch.optim.Optimizer):
    """Muon for the kernels of convolutions, Adam for biases, slopes and kernels at the pixels.

    Muon makes the momentum of a matrix orthogonal before it steps along it, so that directions
    which gradients seldom show are learned as fast as the common ones (Jordan et al. 2024; the step
    is scaled to the size of Adam's, after Liu et al. 2025, "Muon is scalable for LLM training"). A
    kernel is the matrix (outputs, inputs * height * width).

    torch's own Muon takes matrices only, and one at a time: for the 300 small kernels of a CISRNet
    that takes longer than the network. Here those of one shape are stacked.

    Args:
        parameters: what is trained.
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
        rest = [p for p in parameters if not _is_kernel(p)]
        self._adam = torch.optim.Adam(rest, lr=lr, betas=betas, eps=eps) if rest else None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - torch's
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        lr = self.param_groups[0]["lr"]
        shapes = defaultdict(list)
        for kernel in self._kernels:
            if kernel.grad is not None:
                shapes[kernel.shape].append(kernel)
        for kernels in shapes.values():
            self._step_alike(kernels, lr)
        if self._adam is not None:
            for group in self._adam.param_groups:
                group["lr"] = lr
            self._adam.step()
        return loss

    def _step_alike(self, kernels: list[nn.Parameter], lr: float) -> None:
        """Step kernels of one shape."""
        ahead = []
        for kernel in kernels:
            assert kernel.grad is not None
            state = self.state[kernel]
            if not state:
                state["momentum"] = torch.zeros_like(kernel)
            momentum = state["momentum"].lerp_(kernel.grad, 1 - _MOMENTUM)
            ahead.append(kernel.grad.lerp(momentum, _MOMENTUM).flatten(1))  # Nesterov's
        steps = orthogonal(torch.stack(ahead))
        rate = lr * _ADAMS_SIZE * max(steps.shape[1:]) ** 0.5
        for kernel, step in zip(kernels, steps, strict=True):
            kernel.sub_(step.view(kernel.shape), alpha=rate)

    def state_dict(self) -> dict[str, Any]:
        """The states of the two."""
        adam = None if self._adam is None else self._adam.state_dict()
        return {**super().state_dict(), "adam": adam}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "adam"})
        if self._adam is not None:
            self._adam.load_state_dict(state_dict["adam"])


def orthogonal(matrices: Tensor) -> Tensor:
    """Replace the singular values of matrices (N, rows, columns) by values from 0.5 to 1.5.

    Five steps of Newton and Schulz's iteration with a quintic that rises steeply from zero and does
    not settle at one, which does no harm (Jordan et al. 2024).
    """
    upright = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if upright else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + _EPS)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if upright else x
    return result


def _is_kernel(parameter: Tensor) -> bool:
    return parameter.ndim == 4 and min(parameter.shape[:2]) > _IMAGE_CHANNELS
