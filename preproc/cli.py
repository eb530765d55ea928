"""The command line: parses, calls, reports. Torch is imported once a command needs it."""
# ruff: noqa: PLC0415 - commands import what they call, so that --help is quick

from __future__ import annotations

import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from preproc import __version__
from preproc.errors import PreprocError

if TYPE_CHECKING:
    from preproc.batch import Summary
    from preproc.enhancer import Enhancer
    from preproc.networks import ModelDescriptor
    from preproc.plan import Job, Plan
    from preproc.weights import WeightsEntry

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""

_EVAL_TASKS = {
    "restoration": "PSNR and SSIM on Set5, Set14 and BSD100, beside the papers' rows",
    "icdar2013": "words of ICDAR2013 that EasyOCR or RapidOCR reads right, before and after",
    "wider": "faces of WIDER FACE val that MTCNN finds, before and after, by the official rules",
    "report": "weights/README.md: the shipped weights beside the papers' rows, with crops",
}


class MissingExtraError(PreprocError, ImportError):
    """A command needs an optional library that is not installed."""


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""See better before you read or detect.

preproc removes compression artifacts from small, JPEG-compressed pictures and enlarges them in one
pass, so that OCR and detectors (and people) see more in them.

**Start here**

    preproc enhance photo.jpg -o better.png      one picture, four times larger

    preproc enhance photos/ -o enhanced/         a folder, with its sub-folders

    preproc models                               what there is to choose from

Each command explains itself: `preproc enhance --help`.
""",
)


class _DType(StrEnum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class _Part(StrEnum):
    NETWORK = "network"
    STAGE = "stage"


class _Clock(StrEnum):
    WALL = "wall"
    CPU = "cpu"


class _Format(StrEnum):
    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIF = "tif"
    AVIF = "avif"
    BMP = "bmp"
    JP2 = "jp2"
    PPM = "ppm"
    TGA = "tga"


_WHAT, _HOW, _FILES = "Enhancement", "Speed and memory", "Output files"


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"preproc {__version__}")
        raise typer.Exit


@app.command(no_args_is_help=True)
def enhance(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Pictures, folders (searched with all their sub-folders) and quoted globs.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Folder for the results, made if missing; for a single picture also a file name.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Name of the model.", rich_help_panel=_WHAT),
    ] = "cajnn-light",
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            "-s",
            min=1,
            help="How many times larger; by default the model's largest.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    to_input_size: Annotated[
        bool,
        typer.Option(
            "--to-input-size",
            help="Shrink each result back to the size of its input.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Your own weights (.safetensors) instead of the shipped ones.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble",
            help="Average over 8 flips and rotations: a little better, 8 times slower.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or cuda:1; by default CUDA when there.", rich_help_panel=_HOW),
    ] = None,
    dtype: Annotated[
        _DType | None,
        typer.Option(
            help="Precision; by default the fastest that is safe there.", rich_help_panel=_HOW
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side in input pixels of the tiles large pictures are cut into; 0 never cuts.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Input pixels of its neighbours that each tile sees.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the network first, in half a minute; for many pictures on a GPU.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            "-j",
            min=1,
            help="Pictures read, and pictures written, at the same time as one is enhanced.",
            rich_help_panel=_HOW,
        ),
    ] = 2,
    file_format: Annotated[
        _Format | None,
        typer.Option(
            "--format",
            "-f",
            help="Format of the results; by default each input's own, or PNG if it is not here.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            "-q",
            min=1,
            max=100,
            help="Quality of JPEG, WebP and AVIF; 95 if not given.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    suffix: Annotated[
        str,
        typer.Option(
            help="Added to the names: with _x4, a.png becomes a_x4.png.", rich_help_panel=_FILES
        ),
    ] = "",
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Leave out pictures whose result is there: go on after an interruption.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace results that are there; an input is never replaced.",
            rich_help_panel=_FILES,
        ),
    ] = False,
) -> None:
    """Enhance pictures: single files, whole folders, or everything a pattern matches.

    Results keep format, transparency, EXIF, XMP, ICC profile and DPI, as far as the format written
    has a place for them; texts go from PNG to PNG, and IPTC, comments and thumbnails are left
    out. 16 bits stay 16 in grey, and in colour from PNG to PNG; else it gets 8, with a note. Every
    result is written whole or not at all. A bad picture is reported at the end and never stops the
    others; the exit code is then 1. Files such as .heic, which Pillow cannot open, are left out of
    folders and counted at the end.

    **Examples**

        preproc enhance sign.jpg -o sign_x4.png

        preproc enhance photos/ more/*.webp -o enhanced/ --format png

        preproc enhance 'scans/**/*.tif' -o enhanced/ --to-input-size

        preproc enhance photos/ -o enhanced/ --skip-existing

        preproc enhance photos/ -o photos/ --suffix _x4 --model cajnn-light
    """
    from preproc.batch import Summary
    from preproc.plan import make_plan
    from preproc.saving import format_named, require_writable, save

    if skip_existing and overwrite:
        raise typer.BadParameter("--skip-existing and --overwrite exclude each other.")
    chosen = format_named(file_format.value) if file_format else None
    if quality is not None and chosen is not None and not chosen.quality:
        raise typer.BadParameter(f"--quality means nothing for {chosen.name}, which is lossless.")
    if any(separator in suffix for separator in "/\\"):
        raise typer.BadParameter("--suffix is part of a file name and cannot hold a slash.")
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    plan = make_plan(
        paths,
        output,
        file_format=chosen,
        suffix=suffix,
        overwrite=overwrite,
        skip_existing=skip_existing,
    )
    started = time.monotonic()
    summary = Summary()
    if plan.jobs:
        for folder in {job.target.parent for job in plan.jobs}:
            require_writable(folder)
        from preproc.enhancer import Enhancer

        enhancer = Enhancer(
            model,
            scale=scale,
            weights=weights,
            to_input_size=to_input_size,
            device=device,
            dtype=dtype.value if dtype else None,
            tile=tile,
            overlap=overlap,
            self_ensemble=self_ensemble,
            compiled=compiled,
        )
        write = partial(save, quality=quality, overwrite=overwrite)
        summary = _run_with_progress(plan.jobs, enhancer, write, workers, console)
    summary.failures[:0] = plan.failures
    _report(summary, plan, time.monotonic() - started, console)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    if summary.failures or summary.left:
        raise typer.Exit(1)


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this model and its card.")
    ] = None,
    card: Annotated[
        str | None, typer.Option("--card", metavar="NAME", help="The same as NAME.")
    ] = None,
) -> None:
    """List the models; with a name, show what is known of one and the card of its weights.

    **Examples**

        preproc models

        preproc models cajnn
    """
    from preproc.networks import find, list_models
    from preproc.weights import entries

    shipped = {(entry.model, entry.scale): entry for entry in entries()}
    shown = name or card
    if shown is None:
        Console().print(_model_table(list_models(), shipped))
        typer.echo("`preproc models NAME` tells more about one, with the card of its weights.")
        return
    find(shown)  # a sentence for a name nobody knows
    for descriptor in list_models():
        if descriptor.name == shown:
            _print_model(descriptor, shipped.get((descriptor.family, descriptor.scale)))


@app.command(no_args_is_help=True)
def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file (TOML), or the name of one that comes along.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Weights, checkpoints, curve and samples go here."
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
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Start from a .safetensors file, a checkpoint or a model's name.",
        ),
    ] = None,
    devices: Annotated[str, typer.Option(help="How many devices, or auto.")] = "auto",
    nodes: Annotated[int, typer.Option(min=1, help="How many machines.")] = 1,
    precision: Annotated[
        str, typer.Option(help="As Lightning names it: bf16-mixed, 32-true...")
    ] = "bf16-mixed",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network: a slow start, faster steps.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe."),
    ] = None,
) -> None:
    """Train a network by a recipe; stop at any time and go on with --resume.

    **Examples**

        preproc train cajnn-light -o runs/light --data pictures/ --minutes 60

        preproc train cajnn-light -o runs/light --data pictures/ --resume

        preproc train my-recipe.toml -o runs/mine --init-from cajnn --set data.patch=64
    """
    changes = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    with _extra("train", "preproc train"):
        weights = import_module("preproc.training.train").run(
            recipe,
            output=output,
            data=data,
            minutes=minutes,
            init_from=init_from,
            resume=resume,
            devices=int(devices) if devices.isdecimal() else devices,
            nodes=nodes,
            precision=precision,
            compiled=compiled,
            overrides=changes,
        )
    typer.echo(f"Weights: {weights}")


@app.command(no_args_is_help=True)
def export(
    stages: Annotated[
        list[Path],
        typer.Argument(metavar="STAGE...", help="Folders of the run's stages, in their order."),
    ],
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the sets that the weights are measured on."),
    ],
    recipe: Annotated[str, typer.Option(help="Recipe to be named in the manifest.")],
    licence: Annotated[str, typer.Option(help="Licence of the weights.")],
    notes: Annotated[
        str, typer.Option(help="Text for the card: what they are and are not good for.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the manifest; by default the shipped."
        ),
    ] = None,
    quality: Annotated[
        list[int] | None,
        typer.Option(min=1, max=100, help="JPEG quality to measure at; the paper's if not given."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace weights even if these are no better.")
    ] = False,
) -> None:
    """Turn a finished run into half-precision weights with a manifest entry and a measured card.

    **Example**

        preproc export runs/light/main --data data/ --recipe cajnn-light --licence CC-BY-4.0
    """
    with _extra("train", "preproc export"):
        weights = import_module("preproc.training.export").export(
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


@app.command()
def bench(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model to time; give it again for more."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            "--sizes",
            metavar="WIDTHxHEIGHT",
            help="Size of the input, or word, 512x512, 720p, 4k; give it again for more.",
        ),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Pictures at a time; give it again for more.")
    ] = None,
    dtype: Annotated[
        list[_DType] | None,
        typer.Option(help="Precision of the models; give it again for more."),
    ] = None,
    part: Annotated[
        _Part | None, typer.Option(help="Time only the network, or only the whole stage.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; by default CUDA when there.")
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
    runs: Annotated[int, typer.Option(min=1, help="Most warm runs of each.")] = 20,
    seconds: Annotated[
        float, typer.Option(min=0, help="Make no more than 3 warm runs beyond these seconds.")
    ] = 2.0,
    clock: Annotated[
        _Clock,
        typer.Option(help="Time that passes, or time that the process computes (on busy CPUs)."),
    ] = _Clock.WALL,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Save everything as JSON, too.")
    ] = None,
) -> None:
    """Measure speed and memory on this machine, beside what people use in our place.

    By default a word crop and a small picture on a CPU, which takes about a minute, and all sizes
    up to 4K on a GPU.

    **Examples**

        preproc bench

        preproc bench --model cajnn-light --size 720p --size 640x480 --no-peers --json speed.json
    """
    import torch

    from preproc import bench as benchmark
    from preproc.contenders import PEER, has_peer, ours
    from preproc.contenders import peers as peer_contenders
    from preproc.runtime import choose_device

    where = choose_device(device)
    if threads:
        torch.set_num_threads(threads)
    names = size or (benchmark.CPU_SIZES if where.type == "cpu" else benchmark.GPU_SIZES)
    sizes = [benchmark.parse_size(name) for name in names]
    timing = benchmark.Timing(where, runs, seconds, clock.value)
    contenders = [
        contender
        for name in model or ["cajnn", "cajnn-light"]
        for precision in ([kind.value for kind in dtype] if dtype else [None])
        for as_compiled in ([False, True] if compiled else [False])
        for contender in ours(name, where, precision, compiled=as_compiled)
    ]
    rows: list[benchmark.Row] = []
    notes: list[benchmark.Note] = []
    if peers and has_peer():
        contenders += peer_contenders(where, compiled=compiled)
    elif peers:
        notes.append(benchmark.Note(f"{PEER} is left out: spandrel is not installed."))
    contenders = [c for c in contenders if part is None or c.part == part.value]
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    total = len(contenders) * len(sizes) * len(batch or [1])
    with _progress(console) as progress:
        task = progress.add_task("Measuring", total=total)
        for found in benchmark.measure(contenders, sizes, batch or [1], timing):
            (rows if isinstance(found, benchmark.Row) else notes).append(found)  # type: ignore[arg-type]
            progress.advance(task)
    _print_benchmark(benchmark.report(rows, notes, where, timing), *benchmark.table(rows))
    if json_file is not None:
        from eval_tasks.evaluators.reports import write_json

        write_json(json_file, benchmark.report(rows, notes, where, timing))


@app.command(
    "eval",
    no_args_is_help=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def evaluate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Which evaluation to run.")],
    args: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTIONS]...", help="Options of the task.")
    ] = None,
) -> None:
    """Measure on a public data set, as the papers do.

    **Tasks**

        restoration      PSNR and SSIM on Set5, Set14 and BSD100, beside the papers' rows

        icdar2013        words of ICDAR2013 that EasyOCR or RapidOCR reads right, before and after

        wider            faces of WIDER FACE val that MTCNN finds, before and after

        report           weights/README.md: the shipped weights beside the papers' rows, with crops

    **Examples**

        preproc eval restoration --help

        preproc eval restoration --data data/ --set Set5 --quality 10 20 40 --model cajnn

        preproc eval icdar2013 --data icdar2013/ --enhance --reduce 2 4 --quality 40
    """
    if task not in _EVAL_TASKS:
        raise typer.BadParameter(
            f"There is no task {task!r}; choose one of {', '.join(_EVAL_TASKS)}."
        )
    with _extra("eval", f"preproc eval {task}"):
        code = import_module(f"eval_tasks.{task}").main(args or [])
    raise typer.Exit(code or 0)


def main() -> None:
    """Run the command line; an error made for users is one red sentence and exit code 1."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        app()
    except PreprocError as error:
        console.print(Text(f"Error: {error}", "red"))
    except OSError as error:
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        console.print(Text(f"Error: {where}{error.strerror}.", "red"))
    else:
        return
    sys.exit(1)


def _run_with_progress(
    jobs: Sequence[Job],
    enhancer: Enhancer,
    save: Callable[[Any, Path], None],
    workers: int,
    console: Console,
) -> Summary:
    from preproc.batch import run

    def note(message: Warning | str, *_: object, **__: object) -> None:
        console.print(Text.assemble(("Note", "yellow"), f" {message}"))

    with _terminate_like_interrupt(), warnings.catch_warnings(), _progress(console) as progress:
        warnings.showwarning = note
        task = progress.add_task("Enhancing", total=len(jobs))
        finished = 0

        def enhance(picture: Any) -> Any:  # noqa: ANN401 - any kind in, the same kind out
            def tell(done: int, total: int) -> None:
                progress.update(task, completed=finished + done / total)

            return enhancer(picture, progress=tell)

        def count(_: Job) -> None:
            nonlocal finished
            finished += 1
            progress.update(task, completed=finished)

        return run(jobs, enhance, save, scale=enhancer.scale, workers=workers, progress=count)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=600,  # one large picture may take minutes on a CPU
        disable=not console.is_terminal,
    )


@contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """Let a request to terminate end the run as cleanly as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(summary: Summary, plan: Plan, seconds: float, console: Console) -> None:
    for failure in summary.failures:
        console.print(Text.assemble(("Failed", "red"), f" {failure.source}: {failure.reason}"))
    parts = [f"{len(summary.done)} enhanced"]
    if plan.skipped:
        parts.append(f"{len(plan.skipped)} skipped because their result is there")
    if summary.failures:
        parts.append(f"{len(summary.failures)} failed")
    if summary.left:
        parts.append(f"{summary.left} not tried")
    console.print(Text(f"{', '.join(parts)}, in {seconds:.1f} s."))
    if plan.unopened:
        endings = ", ".join(sorted({path.suffix.lower() for path in plan.unopened}))
        files = "1 file was" if len(plan.unopened) == 1 else f"{len(plan.unopened)} files were"
        console.print(
            f"{files} left out: Pillow cannot open {endings}; convert to PNG, JPEG or TIFF first."
        )
    if summary.interrupted:
        console.print(
            "Interrupted. Every result that was written is whole; run the same command again with "
            "--skip-existing to go on."
        )


_MODEL_COLUMNS = ("Scale", "Parameters", "MAC/px", "Large pictures", "Weights")
_Shipped = Mapping[tuple[str, int], "WeightsEntry"]


def _model_table(known: Iterable[ModelDescriptor], shipped: _Shipped) -> Table:
    # The licence may fold on a narrow terminal, the name to be typed may not.
    table = Table(Column("Model", no_wrap=True), *_MODEL_COLUMNS)
    for descriptor in known:
        entry = shipped.get((descriptor.family, descriptor.scale))
        table.add_row(
            descriptor.name,
            f"x{descriptor.scale}",
            f"{descriptor.parameters:,}",
            _metric(descriptor.macs_per_pixel),
            descriptor.tiling.value,
            f"shipped, {entry.licence}" if entry else "your own",
        )
    return table


def _print_model(descriptor: ModelDescriptor, entry: WeightsEntry | None) -> None:
    facts = {
        "title": descriptor.title,
        "parameters": f"{descriptor.parameters:,}",
        "cost": f"{_metric(descriptor.macs_per_pixel)} multiply-accumulates per input pixel",
        "large pictures": descriptor.tiling.value,
        "precision": ", ".join(
            ["float32", *(str(dtype).removeprefix("torch.") for dtype in descriptor.dtypes)]
        ),
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
        from preproc.weights import read_card

        typer.echo("\n" + read_card(entry))


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


def _metric(count: int) -> str:
    """A count with three digits and an SI prefix, such as 16.8 M."""
    for size, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {prefix}"
    return str(count)


@contextmanager
def _extra(extra: str, command: str) -> Iterator[None]:
    """Turn a missing optional library into a sentence that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "preproc", "eval_tasks"):
            raise
        raise MissingExtraError(
            f"`{command}` needs {library}, which is not installed; "
            f"install it with: pip install 'preproc[{extra}]'"
        ) from error
