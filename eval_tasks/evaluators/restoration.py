"""Scores of restoration methods: pairs of arrays in, rows of a table out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean

from eval_tasks.pictures.restoration_sets import Pair
from eval_tasks.treatments.method import Method
from preproc.errors import ImageError
from preproc.metrics import Protocol, psnr, ssim


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
        psnr: mean PSNR of Y in dB; None, with a note, where that of an image is infinite, because
            it came out equal to its reference: a mean over the others would rate the method lower
            for it, and an infinite one would say nothing of the others.
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
"""The source of rows that are measured."""


def evaluate(
    methods: Sequence[Method],
    pairs: Iterable[Pair],
    *,
    dataset: str,
    quality: int,
    scale: int,
    protocol: Protocol,
) -> list[Row]:
    """Score every method on every pair.

    Args:
        methods: what to compare.
        pairs: the images; they are taken one by one, so that a set need not fit into memory.
        dataset: name of the set, for the rows.
        quality: JPEG quality of the degraded images, for the rows.
        scale: HR px per LR px.
        protocol: how PSNR and SSIM are computed.

    Returns:
        One row a method, in order.

    Raises:
        ImageError: a method's result has another shape than the reference, or an image is too
            small for a method or for the protocol; it is named.
    """
    scores: list[list[tuple[float, float, float]]] = [[] for _ in methods]
    for pair in pairs:
        for method, its_scores in zip(methods, scores, strict=True):
            try:
                its_scores.append(_scored(method, pair, protocol, scale))
            except ImageError as error:
                raise ImageError(f"{pair.name}, {method.name}: {error}") from error
    rows = []
    for method, its_scores in zip(methods, scores, strict=True):
        psnrs, ssims, times = zip(*its_scores, strict=True)
        infinite = psnrs.count(inf)
        rows.append(
            Row(
                HERE,
                method.name,
                dataset,
                scale,
                quality,
                images=len(its_scores),
                psnr=None if infinite else fmean(psnrs),
                ssim=fmean(ssims),
                seconds=sum(times),
                parameters=method.parameters,
                note=f"PSNR infinite in {infinite} of {len(psnrs)}" if infinite else "",
            )
        )
    return rows


def _scored(
    method: Method, pair: Pair, protocol: Protocol, scale: int
) -> tuple[float, float, float]:
    """PSNR in dB, SSIM, and the seconds that restoring took."""
    start = time.perf_counter()
    restored = method.restore(pair.degraded)
    seconds = time.perf_counter() - start
    return (
        psnr(restored, pair.reference, protocol, scale),
        ssim(restored, pair.reference, protocol, scale),
        seconds,
    )
