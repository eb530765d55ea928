"""Progress of a call in LR px: counted where they are computed, reported to the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the LR px that are done and those of the whole call; the first never falls, and at
the end both are equal. The call comes from the thread that computes, which it keeps waiting."""

_advance: ContextVar[Callable[[float], None]] = ContextVar("advance", default=lambda _: None)


class Tally:
    """Counts LR px over the passes of a call.

    Args:
        progress: who is told; None tells nobody.
        total: LR px of the whole call.
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._done = self._told = 0

    def add(self, px: int) -> None:
        """Count px that are done."""
        self._done += px
        self._tell(self._done)

    @contextmanager
    def during(self, px: int) -> Iterator[None]:
        """Report progress in a pass over ``px`` px, as `advance` tells it."""
        share = 0.0

        def further(more: float) -> None:
            nonlocal share
            share = min(share + more, 1.0)  # more than all where a pass had to be made twice
            self._tell(self._done + int(share * px))

        token = _advance.set(further)
        try:
            yield
        finally:
            _advance.reset(token)

    def _tell(self, done: int) -> None:
        """Tell, unless as much was told before a pass ran out of memory and began again."""
        if self._progress is not None and done > self._told:
            self._told = done
            self._progress(done, self._total)


@contextmanager
def scaled(factor: float) -> Iterator[None]:
    """While a part of a pass is computed, let it `advance` in units of its own.

    Args:
        factor: what one unit of the part is worth in the pass (or part) around it: 1/8 if the part
            is one of eight calls, 1/n if it counts n px one by one.
    """
    around = _advance.get()
    token = _advance.set(lambda more: around(factor * more))
    try:
        yield
    finally:
        _advance.reset(token)


def advance(share: float) -> None:
    """Say that a further share of the pass being computed, or of its `scaled` part, is done."""
    _advance.get()(share)
