"""How the scripts end: 0, or one sentence on stderr and 1, or 130 after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preproc.console import error_console
from preproc.errors import PreprocError, system_sentence

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def exit_code(run: Callable[[], None], kept_in: Path | None = None) -> int:
    """Run a script's work and turn its errors, the system's and Ctrl-C into a sentence.

    Args:
        run: the work.
        kept_in: the folder that holds what is done already, for scripts that go on from there.

    Returns:
        0, or 1 after an error message on stderr, or 130 after Ctrl-C.
    """
    try:
        run()
    except PreprocError as error:
        error_console().print(f"Error: {error}", style="red")
        return 1
    except OSError as error:
        error_console().print(f"Error: {system_sentence(error)}", style="red")
        return 1
    except KeyboardInterrupt:
        kept = f" What was done is kept in {kept_in}; the same command goes on." if kept_in else ""
        error_console().print(f"Interrupted.{kept}")
        return INTERRUPTED
    return 0
