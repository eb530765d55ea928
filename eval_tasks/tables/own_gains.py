"""What arms gain over the input and over plain bicubic, which come first among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol, TypeVar

from eval_tasks.evaluators.intervals import Interval


class _Named(Protocol):
    @property
    def name(self) -> str: ...


S = TypeVar("S", bound=_Named)


def gains_of(
    scores: Sequence[S], one: S, gain: Callable[[S, S], Interval | None]
) -> dict[str, Interval | None]:
    """What an arm gains, by what it is compared with; None where there is nothing to compare."""
    return {base.name: None if base is one else gain(one, base) for base in scores[:2]}


def kept(gains: Mapping[str, Interval | None]) -> dict[str, object]:
    """Gains as JSON has them; those that are None are left out."""
    return {base: asdict(gain) for base, gain in gains.items() if gain}


def cells(gains: Mapping[str, Interval | None], spec: str) -> list[str]:
    """Gains as a table has them, each in a format; those that are None are empty."""
    return [format(gain, spec) if gain else "" for gain in gains.values()]
