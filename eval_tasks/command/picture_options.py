"""Options that say which pictures of one's own are taken, and how they are degraded."""

from __future__ import annotations

import argparse
from pathlib import Path

from eval_tasks.command import arguments


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a script's parser the options for what to take, and how to degrade it."""
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="pictures, in any subfolders")
    add("--every", type=arguments.count, default=1, metavar="K", help="take every K-th picture")
    add("--reduce", type=int, choices=(1, 2, 3, 4), default=4, help="reduction (default: 4)")
    arguments.add_kernel(parser)
    add("--jpeg", type=arguments.quality, metavar="Q", help="save the reduced ones as JPEG")
