"""Libraries that only some parts need: what is said where one is not installed, or is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from preproc.errors import MissingLibraryError

_OWN = frozenset({"preproc", "integrations", "eval_tasks", "examples", "benchmarks"})
"""Our own packages: if an import from these fails, it is a bug and not a missing extra."""


def from_extra(name: str) -> str:
    """The command that installs what an extra of ours names; we are on no package index."""
    return f'pip install ".[{name}]" in the checkout'


@contextmanager
def importing(part: str, install: str) -> Iterator[None]:
    """While optional libraries are imported, turn a failure into a sentence.

    Args:
        part: what needs them, as the start of the sentence.
        install: the command that installs them.

    Raises:
        MissingLibraryError: one is not installed, or is but cannot be imported, as where it lacks
            a library of the system.
    """
    try:
        yield
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library in _OWN:
            raise
        library = library or "a library"  # some raise errors of their own, without a name
        if isinstance(error, ModuleNotFoundError):
            reason = f"which is not installed: {install}"
        else:
            reason = f"which is installed but cannot be imported ({error}); mend it, or {install}"
        raise MissingLibraryError(f"{part} needs {library}, {reason}.") from error
    except RuntimeError as error:
        if not str(error).startswith("operator torchvision::"):
            raise
        raise MissingLibraryError(
            f"{part} needs torchvision, which is installed but was built for another torch "
            f"({error}); install the two together: pip install --force-reinstall torch torchvision."
        ) from error
