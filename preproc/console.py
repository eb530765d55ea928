"""How commands speak, on stderr, and how they end: messages, a progress bar and exit codes."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from preproc.errors import PreprocError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""


def error_console() -> Console:
    """For messages, on stderr; lines are wrapped by the terminal only.

    They may name any file, so that what looks like markup is printed as it is.
    """
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def tell_failure(error: PreprocError | OSError) -> int:
    """Say what ended a command, in one red sentence.

    Returns:
        The exit code, 1.

    Raises:
        OSError: the same, where the system has no words for it, so that it is a bug of ours.
    """
    sentence = str(error) if isinstance(error, PreprocError) else _system_sentence(error)
    error_console().print(Text(f"Error: {sentence}", "red"))
    return 1


def progress_bar(console: Console | None = None, *, transient: bool = False) -> Progress:
    """A progress bar, hidden where the console is not a terminal.

    Args:
        console: where it is drawn; by default an `error_console`.
        transient: whether it is gone when the work is done.
    """
    console = console or error_console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=600,  # one large picture may take minutes on a CPU
        transient=transient,
        disable=not console.is_terminal,
    )


def _system_sentence(error: OSError) -> str:
    """What the system refused."""
    if error.strerror is None:
        raise error
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}."
