"""Names of the baseline arms, by which reports look them up."""

from __future__ import annotations

INPUT = "input"
"""The picture as the engine would get it."""

BICUBIC_SCALE = 4
"""Px of plain bicubic enlargement per px of the input."""

BICUBIC = f"bicubic x{BICUBIC_SCALE}"
"""Plain bicubic enlargement, which tells what size alone gives."""
