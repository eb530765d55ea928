"""Scores of restoration methods on sets of image files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from rich.markup import escape

from eval_tasks.evaluators.restoration import Row, evaluate
from eval_tasks.pictures.restoration_sets import Pair, pair
from eval_tasks.treatments.method import Method
from preproc.console import progress_bar
from preproc.metrics import Protocol


def measure(
    methods: Sequence[Method],
    sets: Mapping[str, Sequence[Path]],
    qualities: Sequence[int],
    scale: int,
    protocol: Protocol,
) -> list[Row]:
    """Score methods on sets of image files, with a progress bar on stderr.

    Args:
        methods: what to compare.
        sets: the files by the name of their set.
        qualities: JPEG qualities of the degraded images.
        scale: HR px per LR px.
        protocol: how PSNR and SSIM are computed.

    Returns:
        A row for each set, quality and method, in this order.

    Raises:
        ImageError: a file cannot be read, or is too small.
    """
    rows = []
    with progress_bar(transient=True) as progress:
        task = progress.add_task("", total=sum(map(len, sets.values())) * len(qualities))

        def pairs(paths: Sequence[Path], quality: int) -> Iterator[Pair]:
            for path in paths:
                yield pair(path, scale, quality)
                progress.advance(task)

        for (name, paths), quality in product(sets.items(), qualities):
            progress.update(task, description=f"{escape(name)}, JPEG {quality}")
            rows += evaluate(
                methods,
                pairs(paths, quality),
                dataset=name,
                quality=quality,
                scale=scale,
                protocol=protocol,
            )
    return rows
