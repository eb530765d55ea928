"""Many pictures through one enhancer: reading, enhancing and writing overlap."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from preproc.errors import ImageError, PreprocError
from preproc.plan import Failure, Job
from preproc.saving import DiskFullError, format_named, holding_mode

_STILLS_OF_MANY = frozenset({"ICO", "ICNS", "MPO", "PSD"})
"""Formats whose first frame is the picture, and the others sizes, previews or layers of it."""


@dataclass
class Summary:
    """What a run did.

    Attributes:
        done: outputs written, each of them whole.
        failures: inputs without an output, and why.
        left: how many inputs were not tried, because the run was stopped.
        interrupted: whether the user stopped it.
    """

    done: list[Path] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left: int = 0
    interrupted: bool = False


def run(
    jobs: Iterable[Job],
    enhance: Callable[[Image.Image], Image.Image],
    save: Callable[[Image.Image, Path], None],
    *,
    workers: int = 2,
    progress: Callable[[Job], None] = lambda _: None,
) -> Summary:
    """Enhance every picture; one that fails is noted and the others go on.

    ``enhance`` runs in the calling thread, one picture at a time, while threads read the next and
    write the last ones. At most ``2 * workers + 1`` pictures are in memory. A full disk stops the
    run, since every further picture would fail after all its work. ``KeyboardInterrupt`` stops it
    too, after the pictures already enhanced are written.

    Args:
        jobs: what to read and what to write.
        enhance: picture in, picture out.
        save: writes a picture to a path, wholly or not at all.
        workers: how many threads read, and how many write.
        progress: called in the calling thread after each picture, whether it worked or not.
    """
    return _Run(enhance, save, progress, workers).over(deque(jobs))


def load(job: Job) -> Image.Image:
    """Read a picture, and make sure that it can be written as planned before it is enhanced.

    Raises:
        ImageError: the file is empty, truncated, too large, or no picture that can be read.
        OutputError: the planned format cannot hold it.
        OSError: the system does not let the file be read.
    """
    try:
        with Image.open(job.source) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format not in _STILLS_OF_MANY:
                raise ImageError(
                    f"The file holds {frames} frames or pages, and only single pictures are "
                    "enhanced; split it into one file each."
                )
            if _loses_depth(image):
                warnings.warn(
                    f"{job.source}: 16-bit colour is read as 8-bit; only grey keeps 16 bits.",
                    stacklevel=1,
                )
            image.load()
            _carry_exif(image)
    except UnidentifiedImageError as error:
        empty = job.source.stat().st_size == 0
        raise ImageError(
            "The file is empty." if empty else "The file is no picture in a known format."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"The picture would be suspiciously large once read ({error}); if you trust it, cut "
            "or shrink it first."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, PreprocError) or getattr(error, "errno", None) is not None:
            raise
        raise ImageError(f"The picture is truncated or damaged ({error}).") from error
    holding_mode(image, format_named(job.target.suffix))
    return image


def _loses_depth(image: Image.Image) -> bool:
    """Whether Pillow is about to read 16-bit colour channels into 8-bit ones; call before load."""
    layouts = [part.args for part in getattr(image, "tile", ()) if part.args]
    names = [str(args if isinstance(args, str) else args[0]) for args in layouts]
    deep = any(name.endswith((";16B", ";16L", ";16N")) for name in names)
    return deep and not image.mode.startswith("I")


def _carry_exif(image: Image.Image) -> None:
    """Keep EXIF in ``image.info``, where every format's writer and ``getexif`` look for it."""
    try:
        exif = image.getexif()
        if exif:
            image.info.setdefault("exif", exif.tobytes())
    except Exception:  # Pillow raises many kinds; the pixels are good without it
        image.info.pop("exif", None)


class _Run:
    """The state of one run: what is being read and written at the moment, and what came out."""

    def __init__(
        self,
        enhance: Callable[[Image.Image], Image.Image],
        save: Callable[[Image.Image, Path], None],
        progress: Callable[[Job], None],
        workers: int,
    ) -> None:
        self.enhance, self.save, self.progress = enhance, save, progress
        self.workers = workers
        self.reading: deque[tuple[Job, Future[Image.Image]]] = deque()
        self.writing: deque[tuple[Job, Future[None]]] = deque()
        self.summary = Summary()

    def over(self, jobs: deque[Job]) -> Summary:
        total, summary = len(jobs), self.summary
        with (
            ThreadPoolExecutor(self.workers, "preproc-read") as readers,
            ThreadPoolExecutor(self.workers, "preproc-write") as writers,
        ):
            try:
                while jobs or self.reading:
                    while jobs and len(self.reading) < self.workers:
                        job = jobs.popleft()
                        self.reading.append((job, readers.submit(load, job)))
                    self._enhance_next(writers)
                self._finish_writing()
            except KeyboardInterrupt:
                summary.interrupted = True
            except DiskFullError:
                pass  # noted as the failure of its picture; the rest counts as left
            for _, future in self.reading:
                future.cancel()
            self._finish_writing(stop_when_full=False)
        summary.left = total - len(summary.done) - len(summary.failures)
        return summary

    def _enhance_next(self, writers: ThreadPoolExecutor) -> None:
        job, source = self.reading.popleft()
        try:
            result = self.enhance(source.result())
        except Exception as error:  # one bad picture never stops the rest
            self._note_failure(job, error)
            return
        self._finish_writing(keep=self.workers - 1)
        self.writing.append((job, writers.submit(self.save, result, job.target)))

    def _finish_writing(self, *, keep: int = 0, stop_when_full: bool = True) -> None:
        """Wait until at most ``keep`` pictures are still being written."""
        while len(self.writing) > keep:
            job, future = self.writing[0]
            error = future.exception()
            self.writing.popleft()
            if error is None:
                self.summary.done.append(job.target)
                self.progress(job)
            else:
                self._note_failure(job, error)
            if stop_when_full and isinstance(error, DiskFullError):
                raise error

    def _note_failure(self, job: Job, error: BaseException) -> None:
        self.summary.failures.append(Failure(job.source, _reason(error)))
        self.progress(job)


def _reason(error: BaseException) -> str:
    """A sentence for the summary; for an error nobody foresaw, its kind and message."""
    if isinstance(error, PreprocError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The picture does not fit into memory; cut it, or use fewer --workers."
    if isinstance(error, OSError) and error.strerror:
        return f"The file cannot be read: {error.strerror}."
    return f"Unexpected {type(error).__name__}: {error}"
