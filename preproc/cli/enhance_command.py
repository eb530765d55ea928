"""`preproc enhance`: pictures, folders and globs, with a report at the end."""
# ruff: noqa: PLC0415 - commands import what they call, so that --help is quick

from __future__ import annotations

import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from preproc.cli.options import DType
from preproc.console import INTERRUPTED, error_console
from preproc.paths import expanded

_WHAT, _HOW, _FILES = "Enhancement", "Speed and memory", "Output files"


class Format(StrEnum):
    """The names that `preproc.pictures.formats` knows, here so that --help need not import it."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIF = "tif"
    AVIF = "avif"
    BMP = "bmp"
    JP2 = "jp2"
    PPM = "ppm"
    TGA = "tga"


def _path(name: str) -> str:
    """A path as it was given, with its home folder where the shell left a ``~``."""
    if not name:
        raise typer.BadParameter("A path is empty; name a file or folder.")
    if name == "-":
        raise typer.BadParameter("Pipes are neither read nor written; name a file or folder.")
    return str(expanded(name)) if name.startswith("~") else name


def enhance(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            parser=_path,
            help="Pictures, folders (searched with all their subfolders, but not through links) "
            "and quoted globs.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            parser=_path,
            help="Folder for the results, made if missing; for a single picture also a file name.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Name, see `preproc models`.", rich_help_panel=_WHAT),
    ] = "cajnn-light",
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            "-s",
            min=1,
            help="How many times larger; by default the most that the model can. Those called "
            "cisrnet take 2, 3 and 4, the others 4 only.",
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
    strength: Annotated[
        float,
        typer.Option(
            help="The network's share in the result, above 0 and up to 1; the rest is plain "
            "bicubic. In front of EasyOCR, Tesseract or MTCNN, take 0.5.",
            rich_help_panel=_WHAT,
        ),
    ] = 1.0,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble",
            help="Average over 8 flips and rotations: .05 to .09 dB better, 8 times slower.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda or cuda:1; by default CUDA if available.", rich_help_panel=_HOW
        ),
    ] = None,
    dtype: Annotated[
        DType | None,
        typer.Option(
            help="Precision; by default the fastest that is safe on the device.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side in input pixels of the tiles large pictures are cut into; 0 never cuts. "
            "Models called cisrnet pool over the whole picture: with this, only over a tile, and "
            "seams may show.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Input pixels of its neighbours that each tile sees; by default what the model "
            "needs, and with fewer seams may show.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    map_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="For cisrnet on pictures that need more memory than there is: a folder on a disk "
            "for its intermediate results.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the network first, in half a minute; slower on CPUs and on GPUs since "
            "Hopper, not measured on older ones.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            "-j",
            min=1,
            help="Pictures read, and pictures written, while one is enhanced.",
            rich_help_panel=_HOW,
        ),
    ] = 2,
    file_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="Format of the results; by default each input's own, or PNG if not in this list.",
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
            help="Skip pictures whose result exists, e.g. to go on after an interruption.",
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

    Every result is written whole or not at all. A bad picture never stops the others: it is
    reported at the end, and the exit code is then 1. Files that Pillow cannot open, such as raw
    data and .pdf, and .heic where pillow-heif is not installed, are left out of folders and counted
    at the end.

    Results keep format, transparency, EXIF, XMP, ICC profile and DPI, as far as the format written
    has a place for them; texts, gamma and primaries go from PNG to PNG, a comment from JPEG to
    JPEG; IPTC and thumbnails are left out. 16-bit grey stays 16-bit; 16-bit colour does so from
    PNG to PNG only, and is otherwise reduced to 8 bits, with a note.

    **Examples**

        preproc enhance sign.jpg -o sign_x4.png

        preproc enhance photos/ more/*.webp -o enhanced/ --format png

        preproc enhance "scans/**/*.tif" -o enhanced/ --to-input-size

        preproc enhance photos/ -o enhanced/ --skip-existing

        preproc enhance photos/ -o photos/ --suffix _x4

        preproc enhance signs/ -o enhanced/ --model cajnn-ocr --strength 0.5
    """
    from preproc.batch.plan import make_plan
    from preproc.batch.run import Summary, store
    from preproc.cli.enhance_run import report, run_with_progress
    from preproc.files import require_writable
    from preproc.pictures.formats import format_named

    if skip_existing and overwrite:
        raise typer.BadParameter("--skip-existing and --overwrite exclude each other.")
    chosen = format_named(file_format) if file_format else None
    if any(separator in suffix for separator in "/\\"):
        raise typer.BadParameter("--suffix is part of a file name and cannot hold a slash.")
    console = error_console()
    plan = make_plan(
        paths,
        output,
        file_format=chosen,
        suffix=suffix,
        overwrite=overwrite,
        skip_existing=skip_existing,
    )
    formats = {format_named(job.target.suffix) for job in plan.jobs}
    lossless = formats and not plan.skipped and not any(form.lossy for form in formats)
    if quality is not None and lossless:
        names = ", ".join(sorted({form.name for form in formats}))
        raise typer.BadParameter(f"--quality means nothing for {names}: results are lossless.")
    started = time.monotonic()
    summary = Summary()
    if plan.jobs:
        from preproc.enhancer import Enhancer
        from preproc.execution.devices import dtype_name

        enhancer = Enhancer(
            model,
            scale=scale,
            weights=weights,
            to_input_size=to_input_size,
            device=device,
            dtype=dtype,
            tile=tile,
            overlap=overlap,
            strength=strength,
            self_ensemble=self_ensemble,
            map_folder=map_folder,
            compiled=compiled,
        )
        for folder in {job.target.parent for job in plan.jobs}:
            require_writable(folder)
        console.print(
            f"Enhancing {len(plan.jobs)} with {enhancer.descriptor} on {enhancer.device} "
            f"({dtype_name(enhancer.dtype)})."
        )
        write = partial(store, quality=quality, overwrite=overwrite)
        summary = run_with_progress(
            plan.jobs, enhancer, write, workers, console, skip_existing=skip_existing
        )
    summary.failures[:0] = plan.failures
    report(summary, plan, time.monotonic() - started, console)
    if summary.interrupted or summary.left:
        how = "Interrupted" if summary.interrupted else "The disk is full"
        again = "again" if overwrite else "again with --skip-existing"
        console.print(
            f"{how}. Every result that was written is whole; run the same command {again} for the "
            "rest."
        )
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    if summary.failures or summary.left:
        raise typer.Exit(1)
