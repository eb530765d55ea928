"""How commands speak while they work: messages and a progress bar, both on stderr."""

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


def error_console() -> Console:
    """For messages, on stderr; lines are wrapped by the terminal only.

    They may name any file, so that what looks like markup is printed as it is.
    """
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def progress_bar(console: Console | None = None, *, transient: bool = False) -> Progress:
    """A progress bar, hidden where the console is no terminal.

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
