"""Training: recipes in, weights out. Needs the extra ``train``; nothing but the CLI imports it."""

from __future__ import annotations
