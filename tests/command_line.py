"""What tests of the command line share: calling it, and folders of pictures to call it with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest.mock import patch

from PIL import Image

from preproc import cli

ROOT = Path(__file__).parents[1]


def call(*args: object) -> int:
    """Run ``preproc ARGS`` in this process, as on a plain terminal; its exit code."""
    with (
        patch.object(sys, "argv", ["preproc", *map(str, args)]),
        patch.dict(os.environ, TERM="dumb"),
    ):
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red").save(folder / name)
    return folder
