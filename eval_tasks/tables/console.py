"""Where the scripts print their tables: on standard output."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from preproc.reports import Value

_WIDTH = 240


def show(*parts: Table | Text | str, about: Mapping[str, Value] | None = None) -> None:
    """Print tables and lines, one below the other.

    Args:
        parts: tables, headings (`heading`) and sentences, which only a terminal wraps.
        about: what the figures depend on, for a last, dim line.
    """
    console = table_console()
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))
    if about:
        console.print(Text(facts(about), "dim"), soft_wrap=True)


def heading(text: str) -> Text:
    """A bold line."""
    return Text(text, "bold")


def table_console() -> Console:
    """Standard output, wide enough for any table where it is not a terminal but a file or a pipe.

    What looks like markup, as names of files may, is printed as it is.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH  # or all would be folded at 80 columns
    return console


def facts(about: Mapping[str, Value]) -> str:
    """What figures depend on, such as versions and devices, as one line."""
    return ", ".join(f"{name} {value}" for name, value in about.items())
