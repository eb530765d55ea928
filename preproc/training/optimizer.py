"""The optimizers of a recipe: Adam, or Muon for kernels with Adam for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from preproc.training.recipe import Optimizer

_IMAGE_CHANNELS = 3  # kernels that read or write pixels stay with Adam
_MOMENTUM = 0.95  # Muon's own default
_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's, steepest at 0
_ITERATIONS = 5


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
    kernel is the matrix (outputs, inputs * height * width). ``torch.optim.Muon`` takes one matrix
    after another, two dozen small operations each; a network of blocks has few shapes of kernels,
    and here all of a shape are one batch.

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
        alike: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for kernel in filter(_is_kernel, parameters):
            alike[len(kernel), kernel[0].numel()].append(kernel)
        self._batches = list(alike.values())
        self._momenta = [
            kernels[0].new_zeros(len(kernels), *shape) for shape, kernels in alike.items()
        ]
        rest = [p for p in parameters if not _is_kernel(p)]
        self._adam = torch.optim.Adam(rest, lr=lr, betas=betas, eps=eps) if rest else None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - torch's
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        rate = self.param_groups[0]["lr"]
        for kernels, momentum in zip(self._batches, self._momenta, strict=True):
            gradients = torch.stack([_gradient(kernel) for kernel in kernels])
            momentum.lerp_(gradients, 1 - _MOMENTUM)
            steps = orthogonal(gradients.lerp_(momentum, _MOMENTUM))  # Nesterov's
            size = 0.2 * max(momentum.shape[1:]) ** 0.5  # root mean square of Adam's steps
            rows = [_rows(kernel, kernel) for kernel in kernels]
            apart = steps.to(rows[0].dtype).view(-1, *rows[0].shape).unbind()
            torch._foreach_add_(rows, apart, alpha=-rate * size)
        if self._adam is not None:
            self._adam.param_groups[0]["lr"] = rate
            self._adam.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the two."""
        adam = None if self._adam is None else self._adam.state_dict()
        return {"muon": self._momenta, "adam": adam}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for momentum, saved in zip(self._momenta, state_dict["muon"], strict=True):
            momentum.copy_(saved)
        if self._adam is not None:
            self._adam.load_state_dict(state_dict["adam"])


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices near the orthogonal ones nearest to those given, by Newton and Schulz's iteration.

    Five iterations with the coefficients of Jordan et al. 2024 ("Muon") bring singular values
    between 0.5 and 1.5, not to 1; training does not mind.

    Args:
        matrices: (N, rows, columns).

    Returns:
        The same shape, bfloat16.
    """
    a, b, c = _QUINTIC
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_(min=1e-7)  # singular values at most 1
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


def _is_kernel(parameter: Tensor) -> bool:
    return parameter.ndim == 4 and min(parameter.shape[:2]) > _IMAGE_CHANNELS


def _gradient(kernel: Tensor) -> Tensor:
    """A kernel's gradient as (outputs, rest); zeros if it has none."""
    gradient = torch.zeros_like(kernel) if kernel.grad is None else kernel.grad
    return _rows(gradient, kernel).reshape(len(kernel), -1)


def _rows(tensor: Tensor, kernel: Tensor) -> Tensor:
    """A kernel or its gradient, (outputs, ...), with the axes in the kernel's memory order."""
    return tensor if kernel.is_contiguous() else tensor.permute(0, 2, 3, 1)  # channels_last
