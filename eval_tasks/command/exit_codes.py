"""How the scripts end: 0, or one sentence on stderr and 1, or 130 after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preproc.console import INTERRUPTED, error_console, tell_failure
from preproc.errors import PreprocError


def exit_code(run: Callable[[], None], kept_in: Path | None = None) -> int:
    """Run a script's work and turn its errors, the system's and Ctrl-C into a sentence.

    Args:
        run: the work.
        kept_in: where finished work is kept, for scripts that resume.

    Returns:
        0, or 1 after an error message on stderr, or 130 after Ctrl-C.
    """
    try:
        run()
    except (PreprocError, OSError) as error:
        return tell_failure(error)
    except KeyboardInterrupt:
        kept = f" What was done is kept in {kept_in}; the same command goes on." if kept_in else ""
        error_console().print(f"Interrupted.{kept}")
        return INTERRUPTED
    return 0
