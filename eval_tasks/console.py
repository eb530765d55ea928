"""Where the scripts print their tables."""

from __future__ import annotations

from rich.console import Console

_WIDTH = 240


def table_console() -> Console:
    """Standard output, wide enough for any table where it is no terminal but a file or a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH  # or all would be folded at 80 columns
    return console
