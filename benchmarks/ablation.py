"""The papers' ablations, and our own, on small networks: all from scratch, one budget, seeds.

    python -m benchmarks.ablation --data DIR --output runs/ablation --seeds 3

Arms of one ablation share recipe, steps, data and seeds, so that differences are taken seed by
seed. Scores are PSNR on Y in dB over Kodak24. A run that is there already is not trained again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch.utils.data import DataLoader

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from preproc.metrics import CAJNN_PROTOCOL, psnr
from preproc.samples import to_float
from preproc.training.data.patches import ValidationSet
from preproc.training.initial_weights.network import make_network
from preproc.training.module import pixels_of
from preproc.training.recipe_file import load_recipe
from preproc.training.train import run

_RECIPES = Path(__file__).parent / "ablations"


@dataclass(frozen=True)
class Ablation:
    """Two arms: what the paper (or we) settled on, and what it compared that with.

    Attributes:
        name: what is compared, and where the papers print it.
        recipe: stem of the recipe.
        arms: lines that change the recipe, by what the arm is called; the paper's choice first.
        printed: the papers' gain in dB of the first arm over the second, if they have it.
    """

    name: str
    recipe: str
    arms: dict[str, tuple[str, ...]]
    printed: str


# Comes further in as many steps; see the last two.
_MUON = ('optimizer.kind="muon"', "optimizer.lr=2e-3")

ABLATIONS = (
    Ablation(
        "CAJNN's context, Table IV",
        "cajnn",
        {"ASPP": (), "none": ('network.context="none"',)},
        "at most 0.41 (its base lacks the long skip too)",
    ),
    Ablation(
        "CAJNN's context, Table IV, with Muon",
        "cajnn",
        {"ASPP": _MUON, "none": (*_MUON, 'network.context="none"')},
        "at most 0.41 (its base lacks the long skip too)",
    ),
    Ablation(
        "CAJNN's LR loss, Table V",
        "cajnn",
        {"lambda 0": (), "lambda 16": ("loss.lr_weight=16.0",)},
        "0.165",
    ),
    Ablation(
        "CISRNet's refinement, figure 9",
        "cisrnet",
        {"coarse and fine": (), "coarse": ("network.coarse_only=true",)},
        "0.066",
    ),
    Ablation(
        "CISRNet's coarse attention, Table 3",
        "cisrnet",
        {
            "PDAB": ("network.coarse_only=true",),
            "SDAB": ("network.coarse_only=true", 'network.coarse_attention="sdab"'),
        },
        "0.020",
    ),
    Ablation(
        "our optimizer",
        "cajnn",
        {"Muon": _MUON, "Adam": ()},
        "not in the papers",
    ),
    Ablation(
        "our optimizer at Adam's rate",
        "cajnn",
        {"Muon": ('optimizer.kind="muon"',), "Adam": ()},
        "not in the papers",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, and print one row an ablation.

    Returns:
        The exit code: 0, or 1 after an error message on stderr, or 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(description="Ablations on small networks.")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="holds train/open and sr_val")
    add("--output", type=Path, required=True, metavar="DIR", help="the runs are kept here")
    add(
        "--seeds",
        type=arguments.count,
        default=3,
        metavar="N",
        help="trainings of each arm (default: 3)",
    )
    add(
        "--steps",
        type=arguments.count,
        default=400,
        metavar="N",
        help="steps of each (default: 400)",
    )
    add(
        "--limit",
        type=arguments.count,
        default=8,
        metavar="N",
        help="pictures of Kodak24 (default: 8)",
    )
    add("--only", default="", metavar="TEXT", help="ablations whose names hold this")
    options = parser.parse_args(argv)
    chosen = [ablation for ablation in ABLATIONS if options.only in ablation.name]
    if not chosen:
        names = "; ".join(ablation.name for ablation in ABLATIONS)
        parser.error(f"no ablation's name holds {options.only!r}: {names}")
    return exit_code(lambda: _run(chosen, options), kept_in=options.output)


def _run(ablations: Sequence[Ablation], options: argparse.Namespace) -> None:
    budget = (f"schedule.length={options.steps}", f"validation.limit={options.limit}")
    lines = [
        f"torch {torch.__version__}, {options.steps} steps, {options.seeds} seeds, the first "
        f"{options.limit} pictures of Kodak24; gains with their standard error",
        "| ablation | arms | PSNR | gain of the first | printed |",
        "|---|---|---|---|---|",
    ]
    for ablation in ablations:
        scores = {
            arm: [
                _score(ablation.recipe, (*changes, *budget, f"seed={seed}"), options)
                for seed in range(1, options.seeds + 1)
            ]
            for arm, changes in ablation.arms.items()
        }
        lines.append(_row(ablation, scores))
    sys.stdout.write("\n".join(lines) + "\n")


def _score(recipe: str, changes: tuple[str, ...], options: argparse.Namespace) -> float:
    """Train unless it has been done; PSNR of the averaged weights."""
    file = _RECIPES / f"{recipe}.toml"
    # Arms without a change of their own are one run for all ablations that share them.
    name = "-".join("".join(c for c in change if c.isalnum()) for change in changes)
    folder = options.output / recipe
    overrides = (*changes, 'validation.path=""', f'name="{name}"')
    weights = run(file, output=folder, data=options.data, resume=True, overrides=overrides)
    (stage,) = load_recipe(file, changes)
    network = make_network(stage, str(weights)).eval()
    values = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for lr, hr, _ in DataLoader(ValidationSet(stage, options.data, folder / "cache")):
            out = network(to_float(lr).contiguous(memory_format=torch.channels_last))
            values.append(psnr(pixels_of(out), pixels_of(hr), CAJNN_PROTOCOL, stage.scale))
    return fmean(values)


def _row(ablation: Ablation, scores: dict[str, list[float]]) -> str:
    first, second = scores.values()
    gains = [a - b for a, b in zip(first, second, strict=True)]
    error = f" ± {stdev(gains) / sqrt(len(gains)):.3f}" if len(gains) > 1 else ""
    means = " / ".join(f"{fmean(values):.3f}" for values in scores.values())
    return (
        f"| {ablation.name} | {' / '.join(scores)} | {means} | {fmean(gains):+.3f}{error} | "
        f"{ablation.printed} |"
    )


if __name__ == "__main__":
    sys.exit(main())
