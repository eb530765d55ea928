"""A run of `preproc enhance` as a terminal shows it: progress, notes and the report at the end."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from preproc.batch.plan import Job, Plan
from preproc.batch.run import Summary, job_at_hand, run
from preproc.console import progress_bar
from preproc.pictures import heif

if TYPE_CHECKING:  # it imports torch, for which a run without pictures need not wait
    from preproc.enhancer import Enhancer


def run_with_progress(
    jobs: Sequence[Job],
    enhancer: Enhancer,
    save: Callable[[Any, Path], None],
    workers: int,
    console: Console,
    *,
    skip_existing: bool = False,
) -> Summary:
    """Enhance and save pictures; warnings become notes that name theirs, and show once each.

    SIGTERM ends it as cleanly as Ctrl-C does.
    """
    told: set[str] = set()

    def note(message: Warning | str, *_: object, **__: object) -> None:
        job = job_at_hand()
        text = f"{job.source}: {message}" if job else str(message)
        if text not in told:
            told.add(text)
            console.print(Text.assemble(("Note", "yellow"), f" {text}"))

    with _terminate_like_interrupt(), warnings.catch_warnings(), progress_bar(console) as progress:
        warnings.showwarning = note
        if not sys.warnoptions:
            for kind in (UserWarning, RuntimeWarning):
                warnings.simplefilter("always", kind)  # else equal ones of the next pictures go by
        task = progress.add_task("Enhancing", total=len(jobs))
        number = {job: n for n, job in enumerate(jobs, 1)}
        passed = 0  # enhanced or failed; the last of them are still being written

        def enhance(picture: Any) -> Any:  # noqa: ANN401 - any kind in, the same kind out
            nonlocal passed

            def tell(done: int, total: int) -> None:
                progress.update(task, completed=passed + done / total)

            result = enhancer(picture, progress=tell)
            passed += 1
            return result

        def count(job: Job) -> None:
            nonlocal passed
            passed = max(passed, number[job])
            progress.update(task, completed=passed)

        return run(
            jobs,
            enhance,
            save,
            scale=enhancer.scale,
            workers=workers,
            skip_existing=skip_existing,
            progress=count,
        )


@contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """Let a request to terminate end the run as cleanly as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def report(summary: Summary, plan: Plan, seconds: float, console: Console) -> None:
    """Say what failed and why, how many pictures went which way, and what was left out."""
    for failure in summary.failures:
        console.print(Text.assemble(("Failed", "red"), f" {failure.source}: {failure.reason}"))
    parts = [f"{len(summary.done)} enhanced"]
    if skipped := len(plan.skipped) + len(summary.skipped):
        parts.append(f"{skipped} skipped because their result is there")
    if summary.failures:
        parts.append(f"{len(summary.failures)} failed")
    if summary.left:
        parts.append(f"{summary.left} not tried")
    console.print(Text(f"{', '.join(parts)}, in {seconds:.1f} s."))
    if plan.unopened:
        extensions = {path.suffix.lower() for path in plan.unopened}
        files = "1 file was" if len(plan.unopened) == 1 else f"{len(plan.unopened)} files were"
        way_out = "convert to PNG, JPEG or TIFF first"
        if extensions & heif.EXTENSIONS:
            way_out += f"; for HEIC, {heif.INSTALL}"
        named = ", ".join(sorted(extensions))
        console.print(f"{files} left out: Pillow cannot open {named}; {way_out}.")
