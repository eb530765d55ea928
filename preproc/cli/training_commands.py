"""`preproc train` and `preproc export`: from a recipe to weights, from weights to a card."""
# ruff: noqa: PLC0415 - commands import what they call, so that --help is quick

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from preproc.extras import from_extra, importing

_RECIPES = sorted(p.stem for p in Path(__file__).parents[1].glob("training/recipes/*.toml"))


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help=f"A recipe file (TOML), or the name of an included one: {', '.join(_RECIPES)}."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Weights, checkpoints, curve and samples go here, and pictures decoded once "
            "(cache/): about ten times what JPEGs take.",
        ),
    ],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that the recipe's paths start from.")
    ] = Path(),
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop cleanly after so long, with a checkpoint to resume from."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in the output folder, or begin one where there is none.",
        ),
    ] = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Start from a .safetensors file, a checkpoint or a model's name.",
        ),
    ] = None,
    devices: Annotated[str, typer.Option(help="Devices on each machine, or auto.")] = "auto",
    nodes: Annotated[int, typer.Option(min=1, help="How many machines.")] = 1,
    precision: Annotated[
        str | None,
        typer.Option(
            help="As Lightning names it: bf16-mixed, 32-true...; by default the mixed precision "
            "that the device is fast in, if any."
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile repeated blocks: a slow start, faster steps.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a value of the recipe; give it again for more.",
        ),
    ] = None,
) -> None:
    """Train a network by a recipe; stop at any time and go on with --resume.

    A recipe of your own, such as my.toml, can be as short as this. It trains the shipped weights on
    for an hour, on all pictures of a folder:

        model = "cajnn-light"
        init_from = "cajnn-light"
        data.source = [{ path = "." }]
        schedule = { unit = "minutes", length = 60 }

    The included recipes need the folders of pictures that docs/data.md lists.

    **Examples**

        preproc train my.toml -o runs/mine --data pictures/

        preproc train my.toml -o runs/mine --data pictures/ --resume

        preproc train my.toml -o runs/wide --data pictures/ --set data.patch=64 --minutes 10

        preproc train cajnn-light -o runs/light --data data/
    """
    changes = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    with importing("`preproc train`", from_extra("train")):
        from preproc.training.train import run

        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it advertises otherwise
        weights = run(
            recipe,
            output=output,
            data=data,
            minutes=minutes,
            init_from=init_from,
            resume=resume,
            devices=devices,
            nodes=nodes,
            precision=precision,
            compiled=compiled,
            overrides=changes,
        )
    typer.echo(f"Weights: {weights}")


def export(
    stages: Annotated[
        list[Path],
        typer.Argument(metavar="STAGE...", help="Folders of the run's stages, in their order."),
    ],
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the sets that the weights are measured on."),
    ],
    recipe: Annotated[
        str, typer.Option(help="Name or path of the recipe, for the manifest and the card.")
    ],
    licence: Annotated[str, typer.Option(help="Licence of the weights.")],
    notes: Annotated[
        str, typer.Option(help="Text for the card: what they are and are not good for.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Output folder; by default that of the shipped weights.",
        ),
    ] = None,
    quality: Annotated[
        list[int] | None,
        typer.Option(
            "--jpeg", min=1, max=100, help="JPEG quality to measure at; the paper's if not given."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace weights even if these are no better.")
    ] = False,
) -> None:
    """Turn a finished run into half-precision weights with a manifest entry and a measured card.

    **Example**

        preproc export runs/mine/train -o mine/ --data DIR --recipe my.toml --licence "CC BY-SA 4.0"

        preproc enhance photos/ -o enhanced/ --weights mine/cajnn-light-x4.safetensors
    """
    with importing("`preproc export`", from_extra("train")):
        from eval_tasks.export import export as measure_and_add

        weights = measure_and_add(
            stages,
            data=data,
            recipe=recipe,
            licence=licence,
            notes=notes,
            folder=output,
            quality=quality or (),
            force=force,
        )
    typer.echo(f"Weights: {weights}")
