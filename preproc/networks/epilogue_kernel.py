"""The kernel of `preproc.networks.epilogue`, in Triton, which comes with torch for Nvidia GPUs."""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, N803 - a language of its own that looks like Python

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["slope"])
def epilogue_kernel(
    sums,
    bias,
    skip,
    out,
    row_length,
    row_stride,
    slope,
    CHANNELS: tl.constexpr,
    BIASED: tl.constexpr,
    ADDED: tl.constexpr,
    ACTIVATED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A block of a row's ``row_length`` values; rows of ``out`` begin ``row_stride`` apart."""
    line = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = at < row_length
    values = tl.load(sums + line * row_length + at, mask=there, other=0).to(tl.float32)
    if BIASED:
        values += tl.load(bias + at % CHANNELS).to(tl.float32)
    if ADDED:
        values += tl.load(skip + line * row_length + at, mask=there, other=0).to(tl.float32)
    if ACTIVATED:
        values = tl.where(values < 0, values * slope, values)
    tl.store(out + line * row_stride + at, values.to(out.dtype.element_ty), mask=there)
