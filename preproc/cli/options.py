"""Values that options of several commands take."""

from __future__ import annotations

from enum import StrEnum


class DType(StrEnum):
    """Precision of a network."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
