"""Picture files that tests make, and batches of them with a stand-in for an enhancer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from preproc.batch import run as batch
from preproc.batch.plan import Plan
from preproc.pictures.saving import save


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 6), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], bands), np.uint8)
    Image.fromarray(values if bands > 1 else values[..., 0]).convert(mode).save(path, **options)
    return path


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def double(image: Image.Image) -> Image.Image:
    """Stands in for an enhancer: any callable that maps a picture to a picture does."""
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)


def failing(error: BaseException, at: int) -> Callable[[Image.Image], Image.Image]:
    """An enhancer that raises on its ``at``-th picture."""
    calls = iter(range(1, 1000))

    def enhance(image: Image.Image) -> Image.Image:
        if next(calls) == at:
            raise error
        return double(image)

    return enhance


def run(plan: Plan, enhance: Callable[[Image.Image], Image.Image] = double) -> batch.Summary:
    return batch.run(plan.jobs, enhance, save)
