"""Where the scripts print: tables on standard output, errors and warnings on stderr."""

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


def error_console() -> Console:
    """Stderr, for sentences that may name any file: what looks like markup is printed as it is."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def facts(about: Mapping[str, str]) -> str:
    """What figures depend on, such as versions and devices, as one line."""
    return ", ".join(f"{name} {value}" for name, value in about.items())
