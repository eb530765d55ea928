"""Names for files and folders that are others for other settings."""

from __future__ import annotations

import json
from hashlib import sha256
from re import sub


def name_for(beginning: str, settings: object) -> str:
    """A name that tells settings from all others.

    Args:
        beginning: what it begins with, for the eye: small letters, digits and dots are kept.
        settings: whatever JSON can hold; its digest ends the name.
    """
    code = sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    readable = sub(r"[^a-z0-9.]+", "-", beginning.lower()).strip("-")
    return f"{readable}-{code[:8]}"
