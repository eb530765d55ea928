"""What tests of training share: a small recipe, its training, a batch, and no checkpoints."""

from __future__ import annotations

import torch

SMALL = """
model = "cajnn-light"
network = { features = 8, growth = 4, blocks = 1 }
ema = 0.5
[data]
patch = 8
batch = 2
[[data.source]]
path = "photos"
[[data.source]]
kind = "text"
path = "photos"
weight = 0.5
[schedule]
length = 4
[validation]
path = "photos"
quality = [10]
limit = 1
every = 1e-4
"""

SHAPE = {"features": 8, "growth": 4, "blocks": 1}
"""Of the network that `SMALL` describes."""

NO_CHECKPOINTS = [b"", b"nothing of the kind", b"text of another", b"X\1\0\0\0\xff"]
"""What files hold that `torch.load` cannot make anything of, each for a reason of its own."""


def recipe_file(tmp_path, text=SMALL):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    return file


def train(recipe, data, output, *changes, **options):
    """Train a recipe with changes, alike on every machine: on one device, in float32."""
    from preproc.training.train import run

    options |= {"overrides": changes, "precision": "32", "devices": 1}
    return run(recipe, data=data, output=output, **options)


def small_batch():
    torch.manual_seed(0)
    return tuple(torch.randint(0, 256, (2, 3, s, s), dtype=torch.uint8) for s in (8, 8, 32))
