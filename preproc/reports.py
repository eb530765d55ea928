"""Reports as JSON and CSV files, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from preproc.errors import OutputError
from preproc.files import require_writable, write_text
from preproc.paths import real

Value = str | int | float | None


def require_report_files(*paths: Path | None) -> None:
    """Make sure that reports can be written, and that none would replace another.

    Args:
        paths: the files; None for a report that nobody asked for.

    Raises:
        OutputError: a folder cannot be written to, a path is a folder's, a name is too long, or two
            paths name one file.
    """
    seen: set[Path] = set()
    for path in filter(None, paths):
        require_writable(path.parent)
        try:
            is_folder = path.is_dir()
        except OSError as error:  # such as for a name that is too long
            raise OutputError(f"Cannot write the report {path}: {error.strerror}.") from error
        if is_folder:
            raise OutputError(
                f"A report must be a file, but {path} is a folder; name a file in it."
            )
        if real(path) in seen:
            raise OutputError(f"Two reports would be written to {path}; name two files.")
        seen.add(real(path))


def write_json(path: Path, report: Mapping[str, object]) -> None:
    """Write a report as JSON; numbers that it lacks are strings: ``inf``, ``-inf`` and ``nan``.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, json.dumps(_finite(report), indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Value]]) -> None:
    """Write rows that share their keys as CSV with a header; None becomes an empty cell.

    Raises:
        OutputError: the file cannot be written.
    """
    with io.StringIO(newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
