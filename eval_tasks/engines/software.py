"""The software that decides what an engine makes of a picture."""

from __future__ import annotations

from preproc import __version__
from preproc.environment import versions


def software(*packages: str) -> dict[str, str]:
    """Versions by name.

    Args:
        packages: whose versions matter besides those of all scripts.
    """
    return {"preproc": __version__, **versions("torch", "numpy", "pillow", *packages)}


def software_line(*packages: str) -> str:
    """The same as one line."""
    return ", ".join(f"{name} {version}" for name, version in software(*packages).items())
