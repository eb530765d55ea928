"""PSNR and SSIM of restoring reduced, compressed photographs, beside the papers' rows.

Each image of a set is cut to a multiple of the scale, reduced (MATLAB bicubic, antialiased) and
saved as JPEG 4:2:0; bicubic enlargement and the models restore it. The papers measure by different
protocols, so figures are compared within one only.

    python eval_tasks/restoration.py --data DIR --set Set5 Set14 --jpeg 10 20 40 --model cajnn
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from eval_tasks.command import arguments
from eval_tasks.command.about import about
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.evaluators.paper_rows import printed_beside
from eval_tasks.evaluators.restored_sets import measure
from eval_tasks.pictures.restoration_sets import images_in
from eval_tasks.tables import console, restoration_tables
from eval_tasks.treatments.restorers import make_methods
from preproc.errors import OptionError
from preproc.metrics import PROTOCOLS
from preproc.networks import find
from preproc.reports import Value, require_report_files, write_csv, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation for ``argv``, by default the command line; gives the exit code."""
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
        action=arguments.Several,
        required=True,
        metavar="NAME",
        help="folders under DIR with high-resolution images of any format; Set5, Set14, BSD100, "
        "Urban100 and Manga109 are known to the papers, whose rows stand beside whole sets",
    )
    add(
        "--jpeg",
        type=arguments.quality,
        nargs="+",
        action=arguments.Several,
        default=[10, 20, 40],
        metavar="Q",
        help="JPEG qualities of the input, 1 to 100 (default: 10 20 40)",
    )
    add(
        "--model",
        nargs="*",
        action=arguments.Several,
        default=[],
        metavar="NAME",
        help="models to measure beside bicubic",
    )
    add("--self-ensemble", action="store_true", help="measure each model's x8 self-ensemble too")
    add("--weights", metavar="FILE", help="safetensors for the one model, in place of its own")
    add("--scale", type=int, choices=range(2, 5), default=4, help="reduction (default: 4)")
    add(
        "--protocol",
        choices=tuple(PROTOCOLS),
        default="cajnn",
        help="whose definition of PSNR and SSIM (default: cajnn)",
    )
    add("--dtype", choices=arguments.DTYPES, help=arguments.DTYPE_HELP)
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)")
    add("--json", type=Path, metavar="FILE", help="write all rows with versions, device and time")
    add("--csv", type=Path, metavar="FILE", help="write all rows as a flat table")
    return parser


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    protocol = PROTOCOLS[options.protocol]
    sets = {name: images_in(options.data / name) for name in dict.fromkeys(options.sets)}
    qualities = list(dict.fromkeys(options.jpeg))
    require_report_files(options.json, options.csv)
    models = list(dict.fromkeys(options.model))
    if options.weights and len({find(name).family for name in models}) != 1:
        raise OptionError(f"--weights belongs to one model, but --model names {len(models)}.")
    if options.dtype and not models:
        raise OptionError("--dtype is of a model, but --model names none; name one.")
    if options.self_ensemble and not models:
        raise OptionError("--self-ensemble is of a model, but --model names none; name one.")
    methods = make_methods(
        models,
        options.scale,
        weights=options.weights,
        device=options.device,
        dtype=options.dtype,
        self_ensemble=options.self_ensemble,
    )
    measured = measure(methods, sets, qualities, options.scale, protocol)
    printed = printed_beside(measured, protocol)
    restoration_tables.show(measured, printed, protocol)
    facts = about(
        options,
        options.data,
        {"protocol": protocol.name},
        devices=[method.device for method in methods if method.device] or ["cpu"],
        packages=(),
        start=start,
    )
    console.show(about=facts)
    rows: list[dict[str, Value]] = [asdict(row) for row in measured + printed]
    if options.json:
        write_json(options.json, {**facts, "rows": rows})
    if options.csv:
        # A row's seconds are its own.
        write_csv(options.csv, [{**row, **facts, **row} for row in rows])


if __name__ == "__main__":
    sys.exit(main())
