"""What adapters say of an engine that is not installed, or that exists and takes no options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from preproc.errors import PreprocError


@contextmanager
def importing(engine: str, install: str) -> Iterator[None]:
    """While an engine is imported, turn its absence into a sentence.

    Args:
        engine: its name.
        install: the command that installs it.

    Raises:
        PreprocError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise PreprocError(f"{engine} is missing: {install}.") from error


def refuse_options(kind: str, options: Mapping[str, object]) -> None:
    """Refuse options that only an engine to be made can have, where one was given.

    Args:
        kind: what adapters call the engine, such as ``"reader"``.
        options: those that were given for it.

    Raises:
        PreprocError: there are any.
    """
    if options:
        raise PreprocError(
            f"The {kind} exists already, so {', '.join(options)} cannot be set here; "
            f"set it where that {kind} is made."
        )
