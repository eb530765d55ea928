"""Methods of restoration, bicubic and models by name, and what they measure on sets of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from rich.markup import escape

from eval_tasks.evaluators.restoration import Method, Pair, Row, evaluate
from eval_tasks.pictures.restoration_sets import pair
from eval_tasks.treatments.arms import place_of
from preproc.console import progress_bar
from preproc.degrade import bicubic_up
from preproc.enhancer import Enhancer
from preproc.metrics import Protocol
from preproc.networks.counts import cost_of


def make_methods(
    models: Sequence[str],
    scale: int,
    *,
    weights: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    self_ensemble: bool = False,
) -> list[Method]:
    """Bicubic, and models by name, each followed by its self-ensemble where that is asked for.

    Args:
        models: registry names.
        scale: HR px per LR px.
        weights: safetensors for all of them, in place of the shipped ones.
        device: where the models run; by default CUDA where it is there.
        dtype: what they are computed in; by default what the device is fast in.
        self_ensemble: whether to make the x8 self-ensembles, too.

    Raises:
        ModelError: no such model, or not at that scale.
        OptionError: no such device or dtype.
        WeightsError: weights are missing, damaged, or for another network.
    """
    methods = [Method("bicubic", lambda lr: bicubic_up(lr, scale))]
    for model in models:
        for ensemble in (False, True) if self_ensemble else (False,):
            enhancer = Enhancer(
                model,
                scale=scale,
                weights=weights,
                device=device,
                dtype=dtype,
                self_ensemble=ensemble,
            )
            name = f"{model} self-ensemble" if ensemble else model
            millions = cost_of(enhancer.descriptor).parameters / 1e6
            methods.append(Method(name, enhancer, millions, place_of(enhancer)))
    return methods


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
