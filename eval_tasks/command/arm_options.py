"""Options that say which arms are compared."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from eval_tasks.command import arguments
from eval_tasks.treatments.arms import REALESRGAN, Arm, make_arms
from preproc.errors import OptionError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a script's parser the options that `arms_from` reads."""
    add = parser.add_argument_group("arms").add_argument
    add(
        "--enhance",
        action="store_true",
        help="measure a model, too: enlarged, and returned to the input's size",
    )
    add(
        "--model",
        nargs="+",
        action=arguments.Several,
        default=[],
        metavar="NAME",
        help="models to measure; implies --enhance (default: cajnn-light)",
    )
    add("--weights", metavar="FILE", help="safetensors for the one model, in place of its own")
    add(
        "--strength",
        type=arguments.share,
        nargs="+",
        action=arguments.Several,
        default=[1.0],
        metavar="S",
        help="each model's share in the result, the rest being plain bicubic; each of several is "
        "an arm of its own (default: 1)",
    )
    add(
        "--enlarged-only",
        action="store_true",
        help="leave out the arms in which a model's result returns to the input's size",
    )
    add(
        "--arm",
        dest="peers",
        nargs="+",
        action=arguments.Several,
        default=[],
        metavar="PATH",
        help="other networks to measure: any file that spandrel can load, A+B for two in a row, "
        f"and {REALESRGAN}",
    )
    add("--dtype", choices=arguments.DTYPES, help=arguments.DTYPE_HELP)
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)")


def arms_from(options: argparse.Namespace, taken: Sequence[str] = ()) -> list[Arm]:
    """The arms that a command line asks for; see `make_arms` for ``taken`` and the errors.

    Raises:
        OptionError: also where what is asked for is of a model, but none is to be measured.
    """
    models = options.model or (["cajnn-light"] if options.enhance else [])
    for option, given in (
        ("--strength", options.strength != [1.0]),
        ("--enlarged-only", options.enlarged_only),
        ("--dtype", options.dtype),
    ):
        if given and not models:
            raise OptionError(f"{option} is of a model, but none is to be measured; add --model.")
    return make_arms(
        models,
        options.weights,
        options.peers,
        options.device,
        options.strength,
        dtype=options.dtype,
        returned=not options.enlarged_only,
        taken=taken,
    )
