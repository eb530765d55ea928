"""The errors users meet: each message says what was wrong, with what, and what to do."""

from __future__ import annotations


class PreprocError(Exception):
    """Base of every error this package raises on purpose; ``str(error)`` is one clear sentence."""


class ImageError(PreprocError, ValueError):
    """The input is no image this package can read, or its shape, dtype or values are wrong."""


class ModelError(PreprocError, ValueError):
    """No such model, scale or option, or a descriptor that contradicts itself."""


class WeightsError(PreprocError, ValueError):
    """A weights file or the manifest is missing, truncated, altered or for another network."""


class OutputError(PreprocError, OSError):
    """A result could not be written: unwritable folder, full disk or unknown format."""


class RecipeError(PreprocError, ValueError):
    """A training recipe holds an unknown key or a value out of range."""


def system_sentence(error: OSError) -> str:
    """What the system refused, as a sentence.

    Raises:
        OSError: the same, where the system has no words for it, so that it is a bug of ours.
    """
    if error.strerror is None:
        raise error
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}."
