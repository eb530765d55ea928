"""How the numbered parts of a small network, such as blocks, become those of a deeper one."""

from __future__ import annotations

from collections.abc import Iterable

from preproc.errors import RecipeError


def count(keys: Iterable[str], prefix: str) -> int:
    """How many numbered parts there are below a prefix, such as ``"trunk."``."""
    return len({key.removeprefix(prefix).split(".")[0] for key in keys if key.startswith(prefix)})


def spread(few: int, many: int) -> dict[int, int]:
    """The old number of each part that is not new, by its number among more, spread evenly.

    Raises:
        RecipeError: there are fewer now, or were none.
    """
    if not 0 < few <= many:
        raise RecipeError(f"A network of {few} groups or blocks does not grow into one of {many}.")
    return {(k + 1) * many // few - 1: k for k in range(few)}
