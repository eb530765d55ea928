"""Paths as users write them: ``~``, relative to a folder that may be gone, through links."""

from __future__ import annotations

import os
from pathlib import Path

from preproc.errors import OptionError, OutputError


def expanded(path: str | Path) -> Path:
    """The path with a leading ``~`` expanded; unchanged where the home folder is unknown.

    Raises:
        OptionError: it is no path, or an empty one.
    """
    _require_path(path)
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises there


def absolute_path(path: str | Path) -> Path:
    """The absolute path, with a leading ``~`` expanded.

    Raises:
        OptionError: it is no path, or an empty one.
        OutputError: the home or the working folder, from which it leads, is not known.
    """
    _require_path(path)
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise OutputError(f"The home folder in {path} is not known; give a whole path.") from error
    except OSError as error:
        raise OutputError(
            f"The working folder, from which {path} leads, is gone; give a whole path."
        ) from error


def real(path: Path) -> Path:
    """The path without links; unlike ``Path.resolve``, also where they lead nowhere but round."""
    return Path(os.path.realpath(path))


def _require_path(path: object) -> None:
    if not isinstance(path, str | os.PathLike) or path == "":
        raise OptionError(f"A path must be a text or a Path with something in it, not {path!r}.")
