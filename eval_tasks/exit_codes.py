"""How the scripts end: 0, or one sentence on stderr and 1."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from preproc.errors import PreprocError


def exit_code(run: Callable[[], None]) -> int:
    """Run a script's work and turn the errors it raises on purpose into a sentence.

    Returns:
        0, or 1 after an error message on stderr.
    """
    try:
        run()
    except PreprocError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(Text(f"Error: {error}", "red"))
        return 1
    return 0
