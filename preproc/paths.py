"""Paths as users write them: ``~``, relative to a folder that may be gone, through links."""

from __future__ import annotations

import os
from pathlib import Path

from preproc.errors import OutputError


def expanded(path: str | Path) -> Path:
    """The path with a leading ``~`` expanded; unchanged where the home folder is unknown."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises there


def absolute_path(path: str | Path) -> Path:
    """The absolute path, with a leading ``~`` expanded.

    Raises:
        OutputError: the home or the working folder, from which it leads, is not known.
    """
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
