"""Scores of restoration methods: pairs of arrays in, rows of a table out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from preproc.metrics import Pixels, Protocol, psnr, ssim


@dataclass(frozen=True)
class Method:
    """Something that restores a degraded image.

    Attributes:
        name: what the table calls it.
        restore: uint8 RGB (H, W, 3) to uint8 RGB (scale*H, scale*W, 3).
        parameters: trainable values in millions, or None if it has none.
    """

    name: str
    restore: Callable[[Pixels], Pixels]
    parameters: float | None = None


@dataclass(frozen=True)
class Row:
    """One method on one set at one quality; None is what is not known.

    Attributes:
        source: ``here`` if measured, else the paper and table it is copied from.
        method: name of the method.
        dataset: name of the set.
        scale: HR px per LR px.
        quality: JPEG quality of the input.
        images: how many images the means are over.
        psnr: mean PSNR of Y in dB.
        ssim: mean SSIM of Y.
        seconds: time to restore the set.
        parameters: trainable values in millions.
        note: why a figure is missing or not to be trusted, else empty.
    """

    source: str
    method: str
    dataset: str
    scale: int
    quality: int
    images: int | None = None
    psnr: float | None = None
    ssim: float | None = None
    seconds: float | None = None
    parameters: float | None = None
    note: str = ""


HERE = "here"


def evaluate(
    methods: Sequence[Method],
    pairs: Iterable[tuple[Pixels, Pixels]],
    *,
    dataset: str,
    quality: int,
    scale: int,
    protocol: Protocol,
    advance: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Score every method on every pair.

    Args:
        methods: what to compare.
        pairs: degraded image and reference, uint8 RGB, the reference ``scale`` times as large;
            they are taken one by one, so that a set need not fit into memory.
        dataset: name of the set, for the rows.
        quality: JPEG quality of the degraded images, for the rows.
        scale: HR px per LR px.
        protocol: how PSNR and SSIM are computed.
        advance: called after each method on each pair.

    Returns:
        One row a method, in order.

    Raises:
        ImageError: a method's result has another shape than the reference.
    """
    scores: list[list[tuple[float, float, float]]] = [[] for _ in methods]
    for degraded, reference in pairs:
        for method, its_scores in zip(methods, scores, strict=True):
            start = time.perf_counter()
            restored = method.restore(degraded)
            seconds = time.perf_counter() - start
            its_scores.append(
                (
                    psnr(restored, reference, protocol, scale),
                    ssim(restored, reference, protocol, scale),
                    seconds,
                )
            )
            advance()
    rows = []
    for method, its_scores in zip(methods, scores, strict=True):
        psnrs, ssims, times = zip(*its_scores, strict=True)
        rows.append(
            Row(
                HERE,
                method.name,
                dataset,
                scale,
                quality,
                images=len(its_scores),
                psnr=fmean(psnrs),
                ssim=fmean(ssims),
                seconds=sum(times),
                parameters=method.parameters,
            )
        )
    return rows
