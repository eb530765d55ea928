"""What users give as numbers: whether it is one that can be used."""

from __future__ import annotations

from numbers import Integral


def is_whole_number(value: object, least: int) -> bool:
    """Whether a value is an integer of Python or NumPy from ``least`` on, and no truth value."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least
