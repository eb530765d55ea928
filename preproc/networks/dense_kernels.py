"""The kernels of `preproc.networks.dense`, in Triton, which comes with torch for Nvidia GPUs."""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, N803, N806 - a language of its own that looks like Python

import triton
import triton.language as tl


# Extents are no reason to compile anew, whatever they are divisible by.
@triton.jit(do_not_specialize=["height", "width", "down", "across", "slope", "scale"])
def layer_kernel(
    piece,
    weights,
    bias,
    sums,
    source,
    base,
    out,
    inside,
    height,
    width,
    down,
    across,
    begin,
    pitch,
    slope,
    scale,
    INPUTS: tl.constexpr,
    WIDE: tl.constexpr,
    NARROW: tl.constexpr,
    FEATURES: tl.constexpr,
    GROWTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    ADDS_BASE: tl.constexpr,
    MASKED: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One tile of px of a layer's input: its part of the sums of this layer and all later ones."""
    tile = tl.program_id(0)
    n = tile // (down * across)
    top = tile // across % down * ROWS
    left = tile % across * COLUMNS
    PX: tl.constexpr = ROWS * COLUMNS
    OUTPUTS: tl.constexpr = WIDE + NARROW
    # Sides of matrices are powers of two, so that 3 * 2^k outputs are two matrices.
    SECOND: tl.constexpr = NARROW if NARROW > 0 else 16
    channel = tl.arange(0, INPUTS)[:, None] * OUTPUTS
    wide_at = channel + tl.arange(0, WIDE)[None, :]
    narrow_at = channel + WIDE + tl.arange(0, SECOND)[None, :]
    wide = tl.zeros((PX, WIDE), tl.float32)
    narrow = tl.zeros((PX, SECOND), tl.float32)
    for tap in tl.range(0, 9, num_stages=STAGES):
        at = [n, top + tap // 3 - 1, left + tap % 3 - 1, 0]
        pixels = piece.load(at).reshape(PX, INPUTS)
        own = weights + tap * INPUTS * OUTPUTS
        wide = tl.dot(pixels, tl.load(own + wide_at), wide)
        if NARROW > 0:
            narrow = tl.dot(pixels, tl.load(own + narrow_at), narrow)
    px = tl.arange(0, PX)
    y = top + px // COLUMNS
    x = left + px % COLUMNS
    there = (y < height) & (x < width)
    at = (n.to(tl.int64) * height + y) * width + x
    _epilogue(
        wide, 0, at, there, bias, sums, source, base, out, inside, begin, pitch, slope, scale,
        WIDE, FEATURES, GROWTH, FIRST, LAST, ADDS_BASE, MASKED,
    )  # fmt: skip
    if NARROW > 0:
        _epilogue(
            narrow, WIDE, at, there, bias, sums, source, base, out, inside, begin, pitch, slope,
            scale, NARROW, FEATURES, GROWTH, FIRST, LAST, ADDS_BASE, MASKED,
        )  # fmt: skip


@triton.jit
def _epilogue(
    products,
    offset,
    px,
    there,
    bias,
    sums,
    source,
    base,
    out,
    inside,
    begin,
    pitch,
    slope,
    scale,
    COUNT: tl.constexpr,
    FEATURES: tl.constexpr,
    GROWTH: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    ADDS_BASE: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Add the sums so far; store them again, as this layer's output, or as the block's."""
    column = offset + tl.arange(0, COUNT)[None, :]
    waiting = px[:, None] * pitch + begin + column
    written = px[:, None] * FEATURES + column
    valid = there[:, None]
    if FIRST:
        products += tl.load(bias + column)
    else:
        products += tl.load(sums + waiting, mask=valid, other=0).to(tl.float32)
    if LAST:
        products += tl.load(source + written, mask=valid, other=0).to(tl.float32)
        if ADDS_BASE:
            below = tl.load(base + written, mask=valid, other=0)
            products = products * scale + below.to(tl.float32)
        tl.store(out + written, products.to(out.dtype.element_ty), mask=valid)
    else:
        grown = tl.where(products < 0, products * slope, products)
        if MASKED:
            grown *= tl.load(inside + px, mask=there, other=0).to(tl.float32)[:, None]
        products = tl.where(column < GROWTH, grown, products)
        tl.store(sums + waiting, products.to(sums.dtype.element_ty), mask=valid)
