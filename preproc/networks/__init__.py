"""The networks, and the registry that finds them by name."""

from __future__ import annotations

from preproc.networks.registry import (
    ModelDescriptor,
    SizeRule,
    Tiling,
    find,
    list_models,
    register,
)

__all__ = ["ModelDescriptor", "SizeRule", "Tiling", "find", "list_models", "register"]
