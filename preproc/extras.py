"""Libraries that only some parts need: what is said where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from preproc.errors import PreprocError


@contextmanager
def importing(library: str, install: str) -> Iterator[None]:
    """While a library is imported, turn its absence into a sentence.

    Args:
        library: its name.
        install: the command that installs it.

    Raises:
        PreprocError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise PreprocError(f"{library} is missing: {install}.") from error
