"""The errors and warnings users meet: each says what was wrong, with what, and what to do."""

from __future__ import annotations

import sys
import warnings

_BETWEEN = ("preproc", "integrations", "torch", "torchvision", "contextlib")


class PreprocError(Exception):
    """Base of every error this package raises on purpose; ``str(error)`` is one clear sentence."""


class ImageError(PreprocError, ValueError):
    """The input is not an image this package can read, or its shape, dtype or values are wrong."""


class AnnotationError(PreprocError, ValueError):
    """Boxes, masks or keypoints cannot be enlarged with their picture."""


class OptionError(PreprocError, ValueError):
    """An option is of the wrong kind, out of range, or at odds with another or with its place."""


class ModelError(PreprocError, ValueError):
    """No such model or scale, or a network, or its descriptor, that contradicts itself."""


class WeightsError(PreprocError, ValueError):
    """A weights file or the manifest is missing, truncated, altered or for another network."""


class OutputError(PreprocError, OSError):
    """A result could not be written: unwritable folder, full disk or unknown format."""


class DiskFullError(OutputError):
    """There is no room for a result, so going on with others would be in vain."""


class DeviceMemoryError(PreprocError, MemoryError):
    """The device's memory, or the host's, is too small for what was asked at once."""


class MissingLibraryError(PreprocError, ImportError):
    """An optional library is not installed, or cannot be imported."""


class RecipeError(PreprocError, ValueError):
    """A training recipe, what it names, or a run of it cannot be used."""


class PreprocWarning(UserWarning):
    """Base of every warning this package gives."""


class DeviceWarning(PreprocWarning):
    """There is a GPU that cannot be used, so the CPU is."""


class PrecisionWarning(PreprocWarning):
    """A network's output was not finite in a 16-bit dtype; it runs in float32 from then on."""


class DepthWarning(PreprocWarning):
    """A file holds more bits than the kind of the result can."""


class MetadataWarning(PreprocWarning):
    """Metadata of a picture does not fit into its file."""


class CacheWarning(PreprocWarning):
    """An entry of a cache was damaged, or the cache can take no other."""


def cause_of(error: Exception) -> str:
    """The first sentence of another library's error, without the advice that torch's go on with."""
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".")


def warn(sentence: str, kind: type[PreprocWarning]) -> None:
    """Warn as if from the user's line that called the package, so filters by module find it."""
    level, frame = 1, sys._getframe()
    while frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN and frame.f_back:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, kind, stacklevel=level)
