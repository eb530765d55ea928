"""Where a command's reports go, looked at before the work that fills them."""

from __future__ import annotations

from pathlib import Path

from preproc.errors import OutputError
from preproc.files import require_writable


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
        if path.resolve() in seen:
            raise OutputError(f"Two reports would be written to {path}; name two files.")
        seen.add(path.resolve())
