"""Optional libraries: which extra brings them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from preproc.errors import PreprocError


class MissingExtraError(PreprocError, ImportError):
    """A command needs an optional library that is not installed."""


@contextmanager
def needs_extra(extra: str, command: str) -> Iterator[None]:
    """Turn a missing optional library into a sentence that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "preproc", "eval_tasks"):
            raise
        raise MissingExtraError(
            f"`{command}` needs {library}, which is not installed; "
            f"install it with: pip install '.[{extra}]' in the checkout"
        ) from error
