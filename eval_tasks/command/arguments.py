"""Checked types for the scripts' options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import TypeVar

from preproc.degrade import KERNELS, USUAL_KERNEL

T = TypeVar("T")

DTYPES = ("float32", "bfloat16", "float16")
DTYPE_HELP = "precision of the models (default: what the device is fast in)"


class Several(argparse.Action):
    """Takes values as often as the option is given; its default is for where it is not."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,  # noqa: ARG002 - argparse's
    ) -> None:
        """Add values to those given before; called by argparse."""
        known = getattr(namespace, self.dest)
        before = [] if known is self.default else known
        setattr(namespace, self.dest, [*before, *(values or ())])


def _number(
    kind: Callable[[str], T], fits: Callable[[T], bool], sentence: str
) -> Callable[[str], T]:
    """What turns an option's text into a number, or refuses it with a sentence."""

    def parse(text: str) -> T:
        with suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{sentence}, not {text!r}")

    return parse


quality = _number(int, lambda value: 1 <= value <= 100, "must be a JPEG quality of 1 to 100")
count = _number(int, lambda value: value >= 1, "must be a whole number of 1 or more")
seed = _number(int, lambda value: value >= 0, "must be a whole number of 0 or more")
length = _number(float, lambda value: 0 < value < inf, "must be a number of px above 0")
share = _number(float, lambda value: 0 <= value <= 1, "must be a number from 0 to 1")


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """Give a parser ``--kernel``, by which pictures are reduced."""
    parser.add_argument(
        "--kernel",
        choices=tuple(KERNELS),
        default=USUAL_KERNEL,
        help=f"kernel of the reduction (default: {USUAL_KERNEL})",
    )
