"""The networks, and the registry that finds them by name."""

from __future__ import annotations

from preproc.networks import cajnn, cisrnet  # noqa: F401 - they register themselves
from preproc.networks.registry import (
    ModelDescriptor,
    SizeRule,
    Tiling,
    find,
    list_models,
    register,
)

__all__ = ["ModelDescriptor", "SizeRule", "Tiling", "find", "list_models", "register"]
