"""`preproc bench`: speed and memory on this machine."""
# ruff: noqa: PLC0415 - commands import what they call, so that --help is quick

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preproc.cli.options import DType
from preproc.console import progress_bar

if TYPE_CHECKING:
    import torch

    from preproc.bench.contenders import Contender
    from preproc.bench.sizes import Size
    from preproc.bench.timing import Row, Timing


class Part(StrEnum):
    """What is timed."""

    NETWORK = "network"
    STAGE = "stage"


class Clock(StrEnum):
    """Which time is measured."""

    WALL = "wall"
    CPU = "cpu"


def bench(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Model to time, by default cajnn and cajnn-light; give it again for more.",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            "--sizes",
            metavar="WIDTHxHEIGHT",
            help="Size of the input, or one of the names word (100x32), 720p and 4k; give it again "
            "for more.",
        ),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Pictures at a time; give it again for more.")
    ] = None,
    dtype: Annotated[
        list[DType] | None,
        typer.Option(
            help="Precision of the models, by default what the device is fast in; give it again "
            "for more."
        ),
    ] = None,
    part: Annotated[
        Part | None, typer.Option(help="Time only the network, or only the whole stage.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; by default CUDA if available.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads on the CPU; by default torch's choice.")
    ] = None,
    peers: Annotated[
        bool, typer.Option(help="Time spandrel's ESRGAN x4 in the same run, if it is installed.")
    ] = True,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Time all of them compiled as well; the peer's takes minutes."
        ),
    ] = False,
    runs: Annotated[int, typer.Option(min=1, help="Warm runs of each, at most.")] = 20,
    seconds: Annotated[
        float, typer.Option(min=0, help="Stop after this many seconds, once 3 warm runs are done.")
    ] = 2.0,
    clock: Annotated[
        Clock,
        typer.Option(help="Wall time, or the process's CPU time (on busy CPUs)."),
    ] = Clock.WALL,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Save everything as JSON, too.")
    ] = None,
) -> None:
    """Measure speed and memory on this machine, next to a common alternative.

    The alternative is the network of Real-ESRGAN x4plus, by spandrel. By default a word crop and
    a small picture are timed on a CPU, which takes a minute or two, and on a GPU a word crop,
    512x512, 720p and 4K. *Network* is the network alone; *stage* is from a JPEG file to a JPEG
    file, returned to the input's size.

    **Examples**

        preproc bench

        preproc bench --model cajnn-light --size 720p --size 640x480 --no-peers --json speed.json
    """
    import torch

    from preproc.bench import sizes as known
    from preproc.bench import tables
    from preproc.bench.contenders import PEER, has_peer
    from preproc.bench.timing import Timing
    from preproc.execution.devices import choose_device
    from preproc.reports import require_report_files, write_json

    require_report_files(json_file)
    where = choose_device(device)
    if threads:
        torch.set_num_threads(threads)
    names = size or (known.CPU_SIZES if where.type == "cpu" else known.GPU_SIZES)
    sizes = [known.parse_size(name) for name in names]
    timing = Timing(where, runs, seconds, clock.value)
    contenders = _contenders(
        model or ["cajnn", "cajnn-light"], dtype or [None], where, peers=peers, compiled=compiled
    )
    contenders = [c for c in contenders if part is None or c.part == part]
    rows: list[Row] = []
    notes: list[str] = []
    if peers and not has_peer():
        notes.append(f"{PEER} is left out: spandrel is not installed.")

    def leave_results() -> None:
        report = tables.report(rows, notes, timing)
        _print_benchmark(report, *tables.table(rows))
        if json_file is not None:
            write_json(json_file, report)

    try:
        _measure(contenders, sizes, batch or [1], timing, rows, notes)
    except BaseException:  # Ctrl-C as well
        if rows:
            notes.append("It was stopped before all was measured.")
            leave_results()
        raise
    leave_results()


def _contenders(
    models: Sequence[str],
    precisions: Sequence[str | None],
    device: torch.device,
    *,
    peers: bool,
    compiled: bool,
) -> list[Contender]:
    """Our models in all precisions and then the peer, compiled as well if asked for."""
    from preproc.bench.contenders import has_peer, ours
    from preproc.bench.contenders import peers as peer_contenders

    contenders = [
        contender
        for name in models
        for precision in precisions
        for as_compiled in ([False, True] if compiled else [False])
        for contender in ours(name, device, precision, compiled=as_compiled)
    ]
    return contenders + (peer_contenders(device, compiled=compiled) if peers and has_peer() else [])


def _measure(
    contenders: Sequence[Contender],
    sizes: Sequence[Size],
    batches: Sequence[int],
    timing: Timing,
    rows: list[Row],
    notes: list[str],
) -> None:
    """Add all figures, and notes on those that are missing, with a progress bar meanwhile."""
    from preproc.bench.timing import Row, measure

    with progress_bar() as progress:
        task = progress.add_task("Measuring", total=len(contenders) * len(sizes) * len(batches))
        for found in measure(contenders, sizes, batches, timing):
            if isinstance(found, Row):
                rows.append(found)
            else:
                notes.append(found)
            progress.advance(task)


def _print_benchmark(
    report: Mapping[str, Any], header: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """A table for terminals and files of any width, headed by what its figures depend on."""
    facts = report["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    typer.echo(f"{facts['device']} ({facts['cpu']}, {facts['threads']} threads), {versions}")
    if report["clock"] == "cpu":
        typer.echo("Times are what the process computed, summed over its threads.")
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())
    for note in report["notes"]:
        typer.echo(f"Note: {note}")
