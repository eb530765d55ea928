"""What the commands share: the console, the progress bar, and how counts are written."""

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
    """For messages, on stderr; lines are wrapped by the terminal only."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def progress_bar(console: Console) -> Progress:
    """A progress bar, hidden where the console is no terminal."""
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
        disable=not console.is_terminal,
    )


def with_prefix(count: int) -> str:
    """A count with three digits and an SI prefix, such as 16.8 M."""
    for size, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {prefix}"
    return str(count)
