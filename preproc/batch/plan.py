"""Which files become which files: outputs named, and conflicts refused before work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preproc.batch.inputs import Found, find
from preproc.errors import OutputError
from preproc.paths import real
from preproc.pictures.formats import FileFormat, format_named, format_names, writable_format


@dataclass(frozen=True)
class Job:
    """One picture to be enhanced: read from ``source``, written to ``target``."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failure:
    """What could not be done, and a sentence that says why."""

    source: Path
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        jobs: pictures to be enhanced, in a stable order.
        skipped: pictures whose output is there already.
        failures: paths that led to no picture.
        unopened: pictures in folders and patterns that Pillow cannot open, and so left out.
    """

    jobs: tuple[Job, ...]
    skipped: tuple[Job, ...]
    failures: tuple[Failure, ...]
    unopened: tuple[Path, ...] = ()


def make_plan(
    paths: Sequence[str],
    out: str | Path,
    *,
    file_format: FileFormat | None = None,
    suffix: str = "",
    overwrite: bool = False,
    skip_existing: bool = False,
) -> Plan:
    """Find the inputs and name the outputs, without touching any file.

    Folders are searched recursively for pictures, hidden files and links to folders left out, and
    keep their structure below ``out``. A link to a file has a result of its own. A single file may
    be given an output file name instead of a folder.

    Args:
        paths: files, folders and globs (``**`` matches any folders).
        out: the output folder, or the output file for a single input file. With a slash at the end
            it is a folder, whatever its name looks like.
        file_format: what to write; by default the input's format, or PNG where results cannot be
            written in that.
        suffix: added to the names of the outputs, before the extension.
        overwrite: whether outputs that exist are replaced.
        skip_existing: whether inputs whose output exists are left out.

    Raises:
        OutputError: two inputs have one output, an output is also an input, an output exists and
            neither ``overwrite`` nor ``skip_existing`` is set, or ``out`` is a new file's name in
            no format that can be written.
    """
    failures: list[Failure] = []
    slash, out = str(out).endswith(("/", os.sep)), Path(out)
    every = find(paths, out, lambda path, why: failures.append(Failure(path, why)))
    found = [f for f in every if not f.foreign]
    # Where no picture was found there is no result to name, only failures to report.
    is_folder = slash or out.is_dir() or not found
    target = None if is_folder else _single_target(paths, out, file_format, suffix)
    jobs = [Job(f.path, target or _target(f, out, file_format, suffix)) for f in found]
    if not overwrite:
        # Leave out what an earlier run wrote into the same folder. With --overwrite it stays an
        # input and is refused below, since it might be the user's own picture.
        made = {real(job.target) for job in jobs if real(job.target) != real(job.source)}
        named = {f.path for f in found if f.named}
        jobs = [job for job in jobs if job.source in named or real(job.source) not in made]
    _refuse_conflicts(jobs, suffix)
    existing = [job for job in jobs if is_there(job.target)]
    if existing and not (overwrite or skip_existing):
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise OutputError(
            f"{existing[0].target} exists already{more}; pass --skip-existing to go on where an "
            "earlier run stopped, or --overwrite to replace what is there."
        )
    skipped = existing if skip_existing else []
    done = set(skipped)
    todo = [job for job in jobs if job not in done]
    unopened = tuple(f.path for f in every if f.foreign)
    return Plan(tuple(todo), tuple(skipped), tuple(failures), unopened)


def _single_target(
    paths: Sequence[str], out: Path, file_format: FileFormat | None, suffix: str
) -> Path | None:
    """``out`` itself if it is meant as the name of a picture, else None for a folder."""
    named, from_one = writable_format(out), len(paths) == 1 and Path(paths[0]).is_file()
    if named is None:
        if from_one and out.suffix:
            raise OutputError(
                f"{out} looks like the name of a picture, but results cannot be written as "
                f"{out.suffix}; end it in one of {', '.join('.' + n for n in format_names())}, or "
                "in a slash if it is to be a folder."
            )
        return None
    if not from_one:
        raise OutputError(
            f"{out} is the name of one picture, but the input is not one file; give a folder."
        )
    if file_format not in (None, named):
        raise OutputError(f"{out} does not fit the format asked for; leave one of the two out.")
    return out.with_stem(out.stem + suffix)


def _target(found: Found, out: Path, file_format: FileFormat | None, suffix: str) -> Path:
    relative = found.relative
    extension = relative.suffix
    if file_format is not None and writable_format(relative) != file_format:
        extension = file_format.extension
    elif writable_format(relative) is None:
        extension = format_named("png").extension
    return out / relative.with_name(relative.stem + suffix + extension)


def _refuse_conflicts(jobs: Sequence[Job], suffix: str) -> None:
    inputs = {_identity(job.source): job.source for job in jobs}
    makers: dict[Path, Path] = {}
    both: list[tuple[Path, Job]] = []
    for job in jobs:
        spoilt = inputs.get(_identity(job.target)) if is_there(job.target) else None
        if spoilt is not None:
            way_out = "or leave out what an earlier run made" if suffix else "or add a --suffix"
            raise OutputError(
                f"Writing {job.target} would replace the input {spoilt}; choose another output "
                f"folder, {way_out}."
            )
        other = makers.setdefault(real(job.target), job.source)
        if other != job.source:
            both.append((other, job))
    if both:
        other, job = both[0]
        more = f" (and {len(both) - 1} more like them)" if len(both) > 1 else ""
        raise OutputError(
            f"{other} and {job.source} would both be written to {job.target}{more}; enhance them "
            "into different folders, or rename one."
        )


def is_there(path: Path) -> bool:
    """Whether a path exists; one that the system cannot look at counts as absent."""
    return os.path.exists(path)  # noqa: PTH110


def _identity(path: Path) -> tuple[int, int] | Path:
    """What two names of one file have in common, links and letter case of the disk included."""
    try:
        status = path.stat()
    except OSError:
        return real(path)
    return status.st_dev, status.st_ino
