"""Recipes in, weights out. Needs the extra ``train``; nothing that enhances imports it."""

from __future__ import annotations
