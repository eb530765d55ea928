"""Parts of a set: which items are taken, and what file names say of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def taken(every: int, limit: int | None = None) -> str:
    """A suffix for file names that says which part was taken.

    Such as ``-every10-limit20``; empty for all.
    """
    return (f"-every{every}" if every > 1 else "") + (f"-limit{limit}" if limit else "")


def spread(items: Sequence[T], most: int | None) -> list[T]:
    """At most so many, evenly spread over all; None takes all."""
    number = len(items) if most is None else min(most, len(items))
    return [items[k * len(items) // number] for k in range(number)]
