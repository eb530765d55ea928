"""Values of the scripts' options, refused with a sentence, and which of many to take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TypeVar

from preproc.degrade import KERNELS, USUAL_KERNEL

T = TypeVar("T")

DTYPES = ("float32", "bfloat16", "float16")
DTYPE_HELP = "precision of the models (default: what the device is fast in)"


def quality(text: str) -> int:
    """A JPEG quality on the IJG scale.

    Raises:
        ArgumentTypeError: it is not one of 1 to 100.
    """
    if not (text.isdecimal() and 1 <= int(text) <= 100):
        raise argparse.ArgumentTypeError(f"a JPEG quality is 1 to 100, not {text!r}")
    return int(text)


def count(text: str) -> int:
    """How many.

    Raises:
        ArgumentTypeError: it is not 1 or more.
    """
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"a number of them is 1 or more, not {text!r}")
    return int(text)


def seed(text: str) -> int:
    """A seed of random numbers.

    Raises:
        ArgumentTypeError: it is not a whole number of 0 or more.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number of 0 or more, not {text!r}")
    return int(text)


def length(text: str) -> float:
    """A length in px.

    Raises:
        ArgumentTypeError: it is not above 0, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a length is above 0 px, not {text!r}")
    return value


def share(text: str) -> float:
    """A share, score or probability.

    Raises:
        ArgumentTypeError: it is not within 0 to 1.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"a share is 0 to 1, not {text!r}")
    return value


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """Give a parser ``--kernel``, by which pictures are reduced."""
    parser.add_argument(
        "--kernel",
        choices=tuple(KERNELS),
        default=USUAL_KERNEL,
        help=f"kernel of the reduction (default: {USUAL_KERNEL})",
    )


def taken(every: int, limit: int | None = None) -> str:
    """What was taken of many, for file names, such as ``-every10-limit20``; ``""`` is all."""
    return (f"-every{every}" if every > 1 else "") + (f"-limit{limit}" if limit else "")


def spread(items: Sequence[T], most: int | None) -> list[T]:
    """At most so many, evenly spread over all; None takes all."""
    taken = len(items) if most is None else min(most, len(items))
    return [items[k * len(items) // taken] for k in range(taken)]
