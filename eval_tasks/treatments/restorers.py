"""Methods of restoration: bicubic, and models by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval_tasks.treatments.arms import place_of
from eval_tasks.treatments.method import Method
from preproc.degrade import bicubic_up
from preproc.enhancer import Enhancer
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
