"""`preproc models`: what there is to choose from, and the cards."""
# ruff: noqa: PLC0415 - commands import what they call, so that --help is quick

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from preproc.manifest import WeightsEntry
    from preproc.networks import ModelDescriptor

_Shipped = Mapping[tuple[str, int], "WeightsEntry"]


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this model and its card.")
    ] = None,
) -> None:
    """List the models; with a name, show what is known of one and the card of its weights.

    MAC/px is what a model costs: multiply-accumulates for each pixel of the input. Large pictures
    are cut into tiles, or go through whole, layer by layer, where a network pools over the whole
    picture. Weights are shipped under the licence shown, or have to be your own.

    **Examples**

        preproc models

        preproc models cajnn
    """
    from preproc.manifest import entries
    from preproc.networks import find, list_models

    shipped = entries()
    if name is None:
        Console().print(_model_table(list_models(), shipped))
        typer.echo("`preproc models NAME` tells more about one, with the card of its weights.")
        return
    find(name)  # a sentence for a name nobody knows
    for descriptor in list_models():
        if descriptor.name == name:
            _print_model(descriptor, shipped.get((descriptor.family, descriptor.scale)))


def _model_table(known: Iterable[ModelDescriptor], shipped: _Shipped) -> Table:
    # Without lines between columns a model takes one line of an 80-column terminal. On a narrower
    # one the licence may fold, the name to be typed may not.
    from preproc.networks.counts import cost_of

    table = Table(
        Column("Model", no_wrap=True),
        "Scale",
        Column("Parameters", justify="right"),
        Column("MAC/px", justify="right"),
        Column("Large pictures", max_width=8),
        "Weights",
        box=SIMPLE_HEAD,
    )
    for descriptor in known:
        cost = cost_of(descriptor)
        entry = shipped.get((descriptor.family, descriptor.scale))
        table.add_row(
            descriptor.name,
            f"x{descriptor.scale}",
            _with_prefix(cost.parameters),
            _with_prefix(cost.macs_per_pixel),
            descriptor.tiling.value,
            entry.licence if entry else "your own",
        )
    return table


def _with_prefix(count: int) -> str:
    """A count with three digits and an SI prefix, such as 16.8 M."""
    for size, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if float(f"{count:.3g}") >= size:  # rounded, for 999,999 is 1 M
            return f"{count / size:.3g} {prefix}"
    return str(count)


def _print_model(descriptor: ModelDescriptor, entry: WeightsEntry | None) -> None:
    from preproc.execution.devices import dtype_name
    from preproc.networks.counts import cost_of

    cost = cost_of(descriptor)
    facts = {
        "title": descriptor.title,
        "parameters": f"{cost.parameters:,}",
        "cost": f"{_with_prefix(cost.macs_per_pixel)} multiply-accumulates per input pixel",
        "large pictures": descriptor.tiling.value,
        "precision": ", ".join(["float32", *map(dtype_name, descriptor.dtypes)]),
        "weights": "none shipped; pass your own with --weights",
    }
    if entry is not None:
        facts["weights"] = f"{entry.file}, trained for {entry.steps:,} steps on " + ", ".join(
            f"{source.name} ({source.licence})" for source in entry.data
        )
        facts["licence"] = entry.licence
    typer.secho(str(descriptor), bold=True)
    for name, value in facts.items():
        if value:
            typer.echo(f"  {name:15}{value}")
    if entry is not None:
        from preproc.manifest import read_card

        typer.echo("\n" + read_card(entry))
