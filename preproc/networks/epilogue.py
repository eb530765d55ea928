"""The epilogue of a convolution on a GPU in one kernel: bias, skip, LeakyReLU, strided store.

After cuDNN's convolution torch adds the bias in one pass over the result, adds a skip or applies an
activation in a second, and copies it into a larger tensor in a third. Each pass is bound by memory
bandwidth; here everything is done between one read and one write.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from preproc.networks.trial import triton_works

_BLOCK = 2048  # values to a program
_CHANNEL_MULTIPLE = 16  # of the channels: rows are then aligned, and one compiled kernel serves all


def fused_epilogue(
    sums: Tensor,
    bias: Tensor | None = None,
    *,
    skip: Tensor | None = None,
    slope: float | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``leaky_relu(sums + bias + skip)``, computed in float32.

    Args:
        sums: (N, C, H, W) on a GPU, in channels_last; overwritten where there is no ``out``.
        bias: (C,), if any.
        skip: as ``sums``, if any.
        slope: of the LeakyReLU for negative values; None for no activation.
        out: a tensor to write to, as ``sums``, but its rows may all be further apart, as those of
            ``whole[:, :, ::2]`` of something in channels_last are.

    Returns:
        (N, C, H, W) in the dtype of ``sums``; ``out`` if given.
    """
    # Imported here, for there is no Triton on other systems.
    from preproc.networks.epilogue_kernel import epilogue_kernel  # noqa: PLC0415

    source = sums.permute(0, 2, 3, 1).contiguous()
    added = None if skip is None else skip.permute(0, 2, 3, 1).contiguous()
    target = source if out is None else out.permute(0, 2, 3, 1)
    count, height, width, channels = source.shape
    row_length = width * channels
    row_stride = row_length if out is None else target.stride(1)
    with torch.cuda.device_of(sums):  # type: ignore[no-untyped-call]
        epilogue_kernel[(count * height, -(-row_length // _BLOCK))](
            source,
            source if bias is None else bias,
            source if added is None else added,
            target,
            row_length,
            row_stride,
            0.0 if slope is None else slope,
            CHANNELS=channels,
            BIASED=bias is not None,
            ADDED=added is not None,
            ACTIVATED=slope is not None,
            BLOCK=_BLOCK,
        )
    return target.permute(0, 3, 1, 2)


def can_fuse_epilogue(weight: Tensor) -> bool:
    """Whether `fused_epilogue` suits a weight (C, C', kh, kw), and runs where that lies."""
    return (
        weight.device.type == "cuda"
        and len(weight) % _CHANNEL_MULTIPLE == 0
        and _works(weight.device)
    )


@cache
def _works(device: torch.device) -> bool:
    def trial() -> None:
        sums = torch.zeros(1, _CHANNEL_MULTIPLE, 1, 1, dtype=torch.float16, device=device)
        fused_epilogue(sums, sums.flatten(), slope=0.1)

    return triton_works("Epilogues of convolutions run", device, trial)
