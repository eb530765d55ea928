"""How many images the sets have that figures are published for, so that a part is not taken for it.

The papers' rows, and what the manifest says of shipped weights, are means over whole sets.
"""

from __future__ import annotations

SET_SIZES = {
    "Kodak24": 24,
    "Set5": 5,
    "Set14": 14,
    "BSD100": 100,
    "Urban100": 100,
    "Manga109": 109,
}
"""Images in each set, by its name."""
