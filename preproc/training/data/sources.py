"""The sources that a recipe names."""

from __future__ import annotations

from pathlib import Path

from preproc.degrade import USUAL_KERNEL
from preproc.errors import RecipeError
from preproc.training.data.folder import Folder
from preproc.training.data.rendered import Text
from preproc.training.recipe import Source, Stage


def make_sources(stage: Stage, data: Path, cache: Path) -> list[Folder | Text]:
    """The sources of a recipe.

    Raises:
        RecipeError: there is none, or one has no picture.
    """
    if not stage.data.source:
        raise RecipeError(f"{stage.name}: a recipe needs at least one [[data.source]].")
    cache.mkdir(parents=True, exist_ok=True)

    scale, patch = stage.scale, stage.data.patch

    def folder(s: Source, kernel: str = USUAL_KERNEL) -> Folder:
        return Folder(data / s.path, scale, s.shrink, patch, cache, kernel)

    return [
        folder(s, s.kernel)
        if s.kind == "folder"
        else Text(scale, stage.data.reuse, folder(s) if s.path else None, s.kernel, patch)
        for s in stage.data.source
    ]
