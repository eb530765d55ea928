"""Checks of the engine an adapter is given: of the right kind, without other options."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as short
from typing import TypeVar

from preproc.errors import OptionError

Engine = TypeVar("Engine")


def refuse_options(kind: str, options: Mapping[str, object]) -> None:
    """Refuse options that only an engine to be made can have, where one was given.

    Args:
        kind: what adapters call the engine, such as ``"reader"``.
        options: those that were given for it.

    Raises:
        OptionError: there are any.
    """
    if options:
        raise OptionError(
            f"The {kind} exists already, so {', '.join(options)} cannot be set here; "
            f"set it where that {kind} is made."
        )


def require_engine(engine: Engine | None, name: str, instead: str, *parts: str) -> Engine:
    """Refuse what is not an engine, where an adapter is made rather than at the first picture.

    Args:
        engine: what was given for one.
        name: its class, such as ``"facenet_pytorch.MTCNN"``.
        instead: what to do where none exists.
        parts: the attributes of it that are used.

    Returns:
        The engine.

    Raises:
        OptionError: it lacks one of them, or is a class.
    """
    lacking = [part for part in parts if not hasattr(engine, part)]
    if engine is None or isinstance(engine, type) or lacking:
        raise OptionError(f"The engine must be a {name}, but {short(engine)} was given; {instead}.")
    return engine
