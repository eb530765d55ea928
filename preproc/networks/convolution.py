"""The convolutions of the networks' trunks, each with the activation or the sum that follows it.

A layer that knows what follows can apply it while its result is still in registers. On x86 CPUs
oneDNN does so, with weights that were reordered for it once instead of in every call; the operators
are those that torch's own compiler calls, since torch has no public ones. On GPUs a kernel of our
own does the whole epilogue in one pass (`preproc.networks.epilogue`). Everywhere else, in training
and in other dtypes the layers are plain torch.
"""

from __future__ import annotations

import logging
import platform
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preproc.networks.epilogue import can_fuse_epilogue, fused_epilogue
from preproc.networks.inference import Preparable

_log = logging.getLogger(__name__)


class Conv2d(nn.Conv2d, Preparable):
    """A convolution, zero-padded to its input's extent, and a LeakyReLU if one follows.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: its side in px, odd.
        dilation: px from one of its weights to the next.
        bias: whether each output has a constant of its own.
        slope: of the LeakyReLU for negative values, 0 for ReLU; None for no activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        dilation: int = 1,
        bias: bool = True,
        slope: float | None = None,
    ) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=bias)
        self.slope = slope
        self._packed: Tensor | None = None
        self._fuses_epilogue = False

    def forward(self, input: Tensor, out: Tensor | None = None) -> Tensor:  # noqa: A002
        """Map (N, inputs, H, W) to (N, outputs, H, W).

        Args:
            input: features, by torch's name for them.
            out: a tensor to write to, for inference; channels_last, but its rows may be further
                apart.
        """
        if self._fuses_epilogue_for(input):
            sums = self._conv_forward(input, self.weight, None)
            return fused_epilogue(sums, self.bias, slope=self.slope, out=out)
        if self._is_packed_for(input):
            # oneDNN's "leaky_relu" with a slope of 0 is its ReLU.
            what, of = ("none", []) if self.slope is None else ("leaky_relu", [self.slope])
            result: Tensor = torch.ops.mkldnn._convolution_pointwise(
                input, self._packed, self.bias, *self._geometry(), what, of, ""
            )
        else:
            result = super().forward(input)
            if self.slope is not None:
                result = F.leaky_relu(result, self.slope, inplace=True)
        return result if out is None else out.copy_(result)

    def prepare(self, dtype: torch.dtype) -> None:
        """Take the form for inference; see `preproc.networks.inference`."""
        self.cast(dtype)
        self.pack()

    def cast(self, dtype: torch.dtype) -> None:
        """Cast the parameters once; without gradients autocast would do it in every call."""
        for name, value in list(self.named_parameters(recurse=False)):
            cast = nn.Parameter(value.detach().to(dtype), requires_grad=False)
            setattr(self, name, cast)

    def pack(self) -> None:
        """Fuse the epilogue with the convolution, where it can be, for inputs of its dtype."""
        weight = self.weight.detach()
        followed = self.bias is not None or self.slope is not None
        self._fuses_epilogue = followed and can_fuse_epilogue(weight)
        if weight.device.type == "cpu" and _has_fused_onednn(weight.dtype):
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *self._geometry())

    def __getstate__(self) -> dict[str, object]:
        """Whether there are reordered weights, which themselves cannot be copied."""
        return {**self.__dict__, "_packed": self._packed is not None}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Reorder the weights anew where they were."""
        super().__setstate__({**state, "_packed": None})  # type: ignore[no-untyped-call]
        if state["_packed"]:
            self.pack()

    def _fuses_epilogue_for(self, input: Tensor) -> bool:  # noqa: A002
        if torch.compiler.is_compiling() or not self._fuses_epilogue:
            return False
        return input.is_cuda and input.dtype == self.weight.dtype

    def _is_packed_for(self, input: Tensor) -> bool:  # noqa: A002
        # A compiler fuses by itself, and cannot look into what oneDNN ordered, not even for None.
        if torch.compiler.is_compiling() or self._packed is None:
            return False
        # An extent of 1 may have any stride for torch, but not for older versions of oneDNN.
        return input.dtype == self.weight.dtype and min(input.shape[-2:]) > 1

    def _geometry(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
        assert isinstance(self.padding, tuple)
        return self.padding, self.stride, self.dilation, self.groups


class ResidualConv2d(Conv2d):
    """A convolution whose scaled result is added to something: ``skip + scale * conv(input)``.

    Args:
        inputs: channels in.
        outputs: channels out, and of the skip.
        kernel: its side in px, odd.
        scale: factor of the convolution's result.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, scale: float = 1.0) -> None:
        super().__init__(inputs, outputs, kernel)
        self.scale = scale

    def forward(self, input: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]  # noqa: A002
        """Map (N, inputs, H, W) and the skip (N, outputs, H, W) to the skip's shape."""
        if self._fuses_epilogue_for(input) and skip.dtype == input.dtype:
            sums = self._conv_forward(input, self.weight, None)
            return fused_epilogue(sums, self.bias, skip=skip)
        if self._is_packed_for(input) and skip.dtype == input.dtype:
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
                input, skip, self._packed, self.bias, *self._geometry(), "add", None, None, [], None
            )
            return fused
        return scaled_sum(skip, nn.Conv2d.forward(self, input), self.scale)

    def prepare(self, dtype: torch.dtype) -> None:
        """Take the form for inference, the scale among the weights."""
        self.fold()
        super().prepare(dtype)

    def fold(self) -> None:
        """Multiply the parameters by the scale, which then is 1."""
        for name, value in list(self.named_parameters(recurse=False)):
            setattr(self, name, nn.Parameter(self.scale * value.detach(), requires_grad=False))
        self.scale = 1.0


def scaled_sum(skip: Tensor, residual: Tensor, scale: float) -> Tensor:
    """``skip + scale * residual``, in the residual's memory where no derivative needs that."""
    if torch.compiler.is_compiling():  # which plans memory itself
        return torch.add(skip, residual, alpha=scale)
    # Tangents and torch.func's batches also need it, which no attribute of a tensor says.
    free = torch.is_inference_mode_enabled() and residual.dtype == skip.dtype
    return torch.add(skip, residual, alpha=scale, out=residual if free else None)


@cache
def _has_fused_onednn(dtype: torch.dtype) -> bool:
    """Whether this CPU and this torch have oneDNN's convolution with what follows it, in a dtype.

    Found out by trying, since torch does not promise to keep these operators as they are.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    x, at = torch.ones(1, 2, 2, 2, dtype=dtype, device="cpu"), ((0, 0), (1, 1), (1, 1), 1)
    mkldnn = torch.ops.mkldnn
    try:
        if dtype == torch.bfloat16 and not mkldnn._is_mkldnn_bf16_supported():
            return False
        weight = mkldnn._reorder_convolution_weight(x.new_ones(2, 2, 1, 1), *at)
        mkldnn._convolution_pointwise(x, weight, None, *at, "leaky_relu", [0.1], "")
        mkldnn._convolution_pointwise.binary(x, x, weight, None, *at, "add", None, None, [], None)
    except (AttributeError, RuntimeError, TypeError) as error:
        _log.info("oneDNN's fused convolution is not used in %s: %s", dtype, error)
        return False
    return True
