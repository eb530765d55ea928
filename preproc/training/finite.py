"""Refusing numbers in a recipe that are infinite or none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from preproc.errors import RecipeError


def require_finite(table: Mapping[str, Any], name: str = "", *, but: str = "") -> None:
    """Make sure that all floats of a table are finite.

    Args:
        table: values by key; those of tables and lists in it are looked at, too.
        name: of the table in a recipe; empty for the outermost.
        but: a key that may be infinite.

    Raises:
        RecipeError: one is not.
    """
    for key, value in _floats({k: v for k, v in table.items() if k != but}, name):
        if not math.isfinite(value):
            raise RecipeError(f"{key} must be finite, but is {value}.")


def _floats(value: object, key: str) -> Iterator[tuple[str, float]]:
    """All floats of a table, with their keys."""
    if isinstance(value, float):
        yield key, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _floats(part, f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _floats(part, key)
