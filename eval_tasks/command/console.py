"""Where the scripts print their tables: on standard output."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

_WIDTH = 240


def table_console() -> Console:
    """Standard output, wide enough for any table where it is no terminal but a file or a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH  # or all would be folded at 80 columns
    return console


def facts(about: Mapping[str, str]) -> str:
    """What figures depend on, such as versions and devices, as one line."""
    return ", ".join(f"{name} {value}" for name, value in about.items())
