"""PSNR and SSIM of restoring reduced, compressed photographs, beside the papers' rows.

Each image of a set is cut to a multiple of the scale, reduced (MATLAB bicubic, antialiased) and
saved as JPEG 4:2:0; bicubic enlargement and the models restore it. The papers measure by different
protocols, so figures are compared within one only.

    python eval_tasks/restoration.py --data DIR --set Set5 Set14 --quality 10 20 40 --model cajnn
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from eval_tasks.command import arguments
from eval_tasks.command.console import facts, table_console
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.command.progress import progress_bar
from eval_tasks.evaluators.paper_rows import paper_rows
from eval_tasks.evaluators.restoration import Method, Pair, Row, evaluate
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.treatments.arms import device_name
from preproc import __version__
from preproc.degrade import Pixels, bicubic_down, bicubic_up, jpeg
from preproc.enhancer import Enhancer
from preproc.errors import ImageError, ModelError
from preproc.execution.devices import choose_device
from preproc.metrics import PROTOCOLS, Protocol
from preproc.networks import find
from preproc.plan import picture_extensions
from preproc.reports import Value, require_report_files, versions, write_csv, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation; ``argv`` is the command line without the program's name.

    Returns:
        The exit code: 0, or 1 after an error message on stderr, or 130 after Ctrl-C.
    """
    return exit_code(lambda: _run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="restoration",
        description="PSNR and SSIM on Y of bicubic enlargement and of models on images that were "
        "reduced and saved as JPEG, beside what the papers print.",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder that holds the sets")
    add(
        "--set",
        dest="sets",
        nargs="+",
        required=True,
        metavar="NAME",
        help="folders under DIR with high-resolution images of any format; Set5, Set14, BSD100, "
        "Urban100 and Manga109 are known to the papers",
    )
    add(
        "--quality",
        type=arguments.quality,
        nargs="+",
        default=[10, 20, 40],
        metavar="Q",
        help="JPEG qualities of the input, 1 to 100 (default: 10 20 40)",
    )
    add("--model", nargs="*", default=[], metavar="NAME", help="models to measure beside bicubic")
    add("--self-ensemble", action="store_true", help="measure each model's x8 self-ensemble too")
    add("--weights", metavar="FILE", help="safetensors for the one model, in place of its own")
    add("--scale", type=int, choices=range(2, 5), default=4, help="reduction (default: 4)")
    add(
        "--protocol",
        choices=tuple(PROTOCOLS),
        default="cajnn",
        help="whose definition of PSNR and SSIM (default: cajnn)",
    )
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)")
    add("--json", type=Path, metavar="FILE", help="write all rows with versions, device and time")
    add("--csv", type=Path, metavar="FILE", help="write all rows as a flat table")
    return parser


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    protocol = PROTOCOLS[options.protocol]
    sets = {name: images_in(options.data / name) for name in dict.fromkeys(options.sets)}
    qualities = list(dict.fromkeys(options.quality))
    require_report_files(options.json, options.csv)
    models = list(dict.fromkeys(options.model))
    if options.weights and len({find(name).family for name in models}) != 1:
        raise ModelError(f"--weights belongs to one model, but --model names {len(models)}.")
    if options.self_ensemble and not models:
        raise ModelError("--self-ensemble is of a model, but --model names none; name one.")
    methods = make_methods(
        models,
        options.scale,
        weights=options.weights,
        device=options.device,
        self_ensemble=options.self_ensemble,
    )
    measured = measure(methods, sets, qualities, options.scale, protocol)
    printed = printed_beside(measured, protocol)
    about = {
        "protocol": protocol.name,
        "device": device_name(choose_device(options.device)) if models else "cpu",
        "preproc": __version__,
        **versions("torch", "numpy", "pillow"),
    }
    show(measured, printed, protocol)
    seconds = time.perf_counter() - start
    table_console().print(f"{seconds:.1f} s; {facts(about)}")
    rows: list[dict[str, Value]] = [asdict(row) for row in measured + printed]
    if options.json:
        write_json(options.json, {**about, "seconds": round(seconds, 3), "rows": rows})
    if options.csv:
        write_csv(options.csv, [{**row, **about} for row in rows])


def make_methods(
    models: Sequence[str],
    scale: int,
    *,
    weights: str | Path | None = None,
    device: str | None = None,
    self_ensemble: bool = False,
) -> list[Method]:
    """Bicubic, and models by name, each followed by its self-ensemble where that is asked for.

    Args:
        models: registry names.
        scale: HR px per LR px.
        weights: safetensors for all of them, in place of the shipped ones.
        device: where the models run; by default CUDA where it is there.
        self_ensemble: whether to make the x8 self-ensembles, too.

    Raises:
        ModelError: no such model, scale or device.
        WeightsError: weights are missing, damaged, or for another network.
    """
    methods = [Method("bicubic", lambda lr: bicubic_up(lr, scale))]
    for model in models:
        for ensemble in (False, True) if self_ensemble else (False,):
            enhancer = Enhancer(
                model, scale=scale, weights=weights, device=device, self_ensemble=ensemble
            )
            name = f"{model} self-ensemble" if ensemble else model
            millions = enhancer.descriptor.parameters / 1e6
            methods.append(Method(name, _restore(enhancer), millions))
    return methods


def _restore(enhancer: Enhancer) -> Callable[[Pixels], Pixels]:
    return lambda lr: np.asarray(enhancer(lr))


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
    with progress_bar() as progress:
        total = sum(map(len, sets.values())) * len(qualities) * len(methods)
        task = progress.add_task("", total=total)
        for name, paths in sets.items():
            for quality in qualities:
                progress.update(task, description=f"{escape(name)}, JPEG {quality}")
                rows += evaluate(
                    methods,
                    pairs(paths, scale, quality),
                    dataset=name,
                    quality=quality,
                    scale=scale,
                    protocol=protocol,
                    advance=lambda: progress.advance(task),
                )
    return rows


def printed_beside(measured: Sequence[Row], protocol: Protocol) -> list[Row]:
    """The rows that the protocol's paper prints for the sets, qualities and scales measured."""
    cases = {(row.dataset, row.quality, row.scale) for row in measured}
    return [
        row for row in paper_rows()[protocol.name] if (row.dataset, row.quality, row.scale) in cases
    ]


def images_in(folder: Path) -> list[Path]:
    """The images right below a folder, by name.

    Raises:
        ImageError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ImageError(f"There is no folder {folder}; --data names the folder above the sets.")
    known = picture_extensions()
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in known and p.is_file())
    if not paths:
        raise ImageError(f"There are no images in {folder}.")
    return paths


def pairs(paths: Sequence[Path], scale: int, quality: int) -> Iterator[Pair]:
    """Degraded image and reference of each file, uint8 RGB, by the file's path.

    Raises:
        ImageError: a file cannot be read, or is too small to be reduced.
    """
    for path in paths:
        reference = pixels(path, multiple=scale)
        yield Pair(str(path), jpeg(bicubic_down(reference, scale), quality), reference)


def show(measured: Sequence[Row], printed: Sequence[Row], protocol: Protocol) -> None:
    """Print one table a quality: what was measured here, then what the paper prints."""
    console = table_console()
    for quality in dict.fromkeys(row.quality for row in measured):
        here, papers = ([r for r in rows if r.quality == quality] for rows in (measured, printed))
        console.print(
            f"Y PSNR (dB) / SSIM by the {protocol.name} protocol, input reduced x{here[0].scale} "
            f"and saved as JPEG {quality}",
            style="bold",
        )
        console.print(_table(here, papers, protocol))
        doubts = {f"({r.dataset}) {r.method}: {r.note}" for r in papers if r.note and r.psnr}
        for doubt in sorted(doubts):
            console.print(f"not to be trusted {escape(doubt)}", style="dim")


def _table(here: list[Row], papers: list[Row], protocol: Protocol) -> Table:
    table = Table()
    sizes = {row.dataset: row.images for row in here}
    for heading in ("source", "method"):
        table.add_column(heading)
    table.add_column("M params", justify="right")
    for dataset, images in sizes.items():
        table.add_column(f"{dataset} (N={images})", justify="right")
    table.add_column("s here", justify="right")
    for rows, digits in ((here, (3, 4)), (papers, protocol.digits)):
        for method in dict.fromkeys(row.method for row in rows):
            its = {row.dataset: row for row in rows if row.method == method}
            first = next(iter(its.values()))
            table.add_row(
                escape(first.source),
                escape(method),
                "" if first.parameters is None else f"{first.parameters:.4g}",
                *(_cell(its.get(dataset), digits) for dataset in sizes),
                f"{sum(r.seconds or 0 for r in its.values()):.2f}" if rows is here else "",
                style="" if rows is here else "dim",
            )
        table.add_section()
    return table


def _cell(row: Row | None, digits: tuple[int, int]) -> str:
    """``PSNR/SSIM``, in brackets if not to be trusted; the reason if one is missing."""
    if row is None:
        return ""
    if row.psnr is None or row.ssim is None:
        return escape(row.note) + ("" if row.ssim is None else f", SSIM {row.ssim:.{digits[1]}f}")
    figures = f"{row.psnr:.{digits[0]}f}/{row.ssim:.{digits[1]}f}"
    return f"({figures})" if row.note else figures


if __name__ == "__main__":
    sys.exit(main())
