"""Many pictures through one enhancer: reading, enhancing and writing overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from PIL import Image

from preproc.batch.plan import Failure, Job, is_there
from preproc.errors import DepthWarning, DiskFullError, PreprocError, warn
from preproc.files import write_bytes
from preproc.pictures.formats import format_named, holding_mode, require_size
from preproc.pictures.opening import open_picture
from preproc.pictures.saving import save

Loaded: TypeAlias = Image.Image | bytes
"""What is enhanced: a Pillow image, or a file's bytes where Pillow would lose depth."""

_Result = TypeVar("_Result")
_JOB_AT_HAND: ContextVar[Job | None] = ContextVar("_JOB_AT_HAND", default=None)
_OUT_OF_MEMORY = "The picture does not fit into memory; cut it, or use fewer --workers."


@dataclass
class Summary:
    """What a run did.

    Attributes:
        done: outputs written, each of them whole.
        skipped: outputs that another run has written meanwhile.
        failures: inputs without an output, and why.
        left: how many inputs were not tried, because the run was stopped.
        interrupted: whether the user stopped it.
    """

    done: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left: int = 0
    interrupted: bool = False


def run(
    jobs: Iterable[Job],
    enhance: Callable[[Any], Any],
    save: Callable[[Any, Path], None],
    *,
    scale: int = 1,
    workers: int = 2,
    skip_existing: bool = False,
    progress: Callable[[Job], None] = lambda _: None,
) -> Summary:
    """Enhance every picture; one that fails is noted and the others go on.

    ``enhance`` runs in the calling thread, one picture at a time, while threads read the next and
    write the last ones. At most ``2 * workers + 1`` pictures are in memory. A full disk stops the
    run, since every further picture would fail after all its work. ``KeyboardInterrupt`` stops it
    too, after the pictures already enhanced are written.

    Args:
        jobs: what to read and what to write.
        enhance: maps what `load` returns to the same kind.
        save: writes that to a path, wholly or not at all.
        scale: how many times larger ``enhance`` makes pictures.
        workers: how many threads read, and how many write.
        skip_existing: whether an output that is there by then, because another run has the same
            folder, is no failure.
        progress: called in the calling thread after each picture, whether it worked or not.
    """
    return _Run(enhance, save, progress, workers, scale, skip_existing).over(deque(jobs))


def load(job: Job, scale: int = 1) -> Loaded:
    """Read a picture, and make sure that it can be written as planned before it is enhanced.

    Args:
        job: what to read, and what will be written.
        scale: how many times larger the result will be.

    Returns:
        A Pillow image, converted from a palette to full colours, since the result needs colours
        that the palette lacks. For a PNG of 16-bit colour, or of 16-bit grey with alpha, whose
        result is a PNG too, the file's bytes: Pillow has no mode for such samples. Other files with
        more bits than Pillow keeps give a `DepthWarning`.

    Raises:
        ImageError: the file is empty, truncated, too large, or no picture that can be read.
        OutputError: the planned format cannot hold it, or nothing as large as its result.
        OSError: the system does not let the file be read.
    """
    with job.source.open("rb") as file:
        image, depth = open_picture(file)
    image = _without_palette(image)
    target = format_named(job.target.suffix)
    holding_mode(image, target)
    require_size((scale * image.width, scale * image.height), target)
    if depth.reader == "png16" and target.name == "PNG":
        return job.source.read_bytes()
    if depth.reader != "Pillow":
        warn(
            f"The file has {depth.bits} bits a colour, but its result has 8; only from PNG to PNG "
            "are they kept.",
            DepthWarning,
        )
    return image


def store(
    result: Loaded, path: Path, *, quality: int | None = None, overwrite: bool = False
) -> None:
    """Write what `load` gave and an enhancer made of it: a picture, or a whole file's bytes.

    Args and errors: as `preproc.pictures.saving.save`.
    """
    if isinstance(result, bytes):
        write_bytes(path, result, overwrite=overwrite)
    else:
        save(result, path, quality=quality, overwrite=overwrite)


def job_at_hand() -> Job | None:
    """The job that the calling thread is at, so that warnings can name its file."""
    return _JOB_AT_HAND.get()


def _at(job: Job, work: Callable[..., _Result], *arguments: object) -> _Result:
    """Do a part of a job's work with the job at hand."""
    token = _JOB_AT_HAND.set(job)
    try:
        return work(*arguments)
    finally:
        _JOB_AT_HAND.reset(token)


def _without_palette(image: Image.Image) -> Image.Image:
    if image.mode not in {"P", "PA"}:
        return image
    palette = image.getpalette() or []
    # A profile that a palette has is one of RGB.
    grey = palette[0::3] == palette[1::3] == palette[2::3] and "icc_profile" not in image.info
    if image.has_transparency_data:
        return image.convert("RGBA").convert("LA" if grey else "RGBA")
    return image.convert("L" if grey else "RGB")


@dataclass
class _Run:
    """The state of one run: what is being read and written at the moment, and what came out."""

    enhance: Callable[[Any], Any]
    save: Callable[[Any, Path], None]
    progress: Callable[[Job], None]
    workers: int
    scale: int
    skip_existing: bool
    reading: deque[tuple[Job, Future[Loaded]]] = field(default_factory=deque)
    writing: deque[tuple[Job, Future[None]]] = field(default_factory=deque)
    summary: Summary = field(default_factory=Summary)
    disk_full: bool = False

    def over(self, jobs: deque[Job]) -> Summary:
        total, summary = len(jobs), self.summary
        with (
            ThreadPoolExecutor(self.workers, "preproc-read") as readers,
            ThreadPoolExecutor(self.workers, "preproc-write") as writers,
        ):
            try:
                self._read_ahead(jobs, readers)
                while self.reading and not self.disk_full:
                    job, source = self.reading.popleft()
                    self._read_ahead(jobs, readers)
                    self._enhance(job, source, writers)
                self._finish_writing()
            except KeyboardInterrupt:
                summary.interrupted = True
            self._finish_writing()
        tried = len(summary.done) + len(summary.skipped) + len(summary.failures)
        summary.left = total - tried
        return summary

    def _read_ahead(self, jobs: deque[Job], readers: ThreadPoolExecutor) -> None:
        while jobs and len(self.reading) < self.workers:
            job = jobs.popleft()
            self.reading.append((job, readers.submit(_at, job, load, job, self.scale)))

    def _enhance(self, job: Job, source: Future[Loaded], writers: ThreadPoolExecutor) -> None:
        if self.skip_existing and is_there(job.target):
            self._note_skipped(job)
            return
        try:
            result = _at(job, self.enhance, source.result())
        except Exception as error:  # one bad picture never stops the rest
            self._note_failure(job, error)
            return
        self._finish_writing(keep=self.workers - 1)
        if not self.disk_full:  # else what is not written counts as left
            self.writing.append((job, writers.submit(_at, job, self.save, result, job.target)))

    def _finish_writing(self, *, keep: int = 0) -> None:
        """Wait until at most ``keep`` pictures are still being written."""
        while len(self.writing) > keep:
            job, future = self.writing[0]
            error = future.exception()
            self.writing.popleft()
            if error is None:
                self.summary.done.append(job.target)
                self.progress(job)
            elif self.skip_existing and is_there(job.target):
                self._note_skipped(job)
            else:
                self._note_failure(job, error)
                self.disk_full |= isinstance(error, DiskFullError)

    def _note_skipped(self, job: Job) -> None:
        self.summary.skipped.append(job.target)
        self.progress(job)

    def _note_failure(self, job: Job, error: BaseException) -> None:
        self.summary.failures.append(Failure(job.source, _reason(error)))
        self.progress(job)


def _reason(error: BaseException) -> str:
    """A sentence for the summary; for an error nobody foresaw, its kind and message."""
    if isinstance(error, PreprocError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"The file cannot be read: {error.strerror}."
    # Imported late: planning needs no torch, and after an error of torch's it is imported already.
    from preproc.execution.memory import is_out_of_memory  # noqa: PLC0415

    if is_out_of_memory(error):
        return _OUT_OF_MEMORY
    return f"Unexpected {type(error).__name__}: {error}"
