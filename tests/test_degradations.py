"""What the benchmarks do to a picture before it is read or searched, and what they call it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from eval_tasks.pictures.degradations import Degradation
from preproc.degrade import jpeg


def test_names_and_sizes(rng):
    img = rng.integers(0, 256, (41, 19, 3), np.uint8)
    assert [str(Degradation(r, q)) for r in (1, 2) for q in (None, 40)] == [
        "none",
        "JPEG 40",
        "/2",
        "/2, JPEG 40",
    ]
    assert Degradation(2, 40).slug == "x2-jpeg40"
    assert np.array_equal(Degradation().apply(img), img)
    assert Degradation(4).apply(img).shape == (10, 8, 3), "no side below 8 px"
    assert Degradation(4).apply(img[:5]).shape == (5, 8, 3), "but none grows"
    small = Degradation(2).apply(img)
    expected = Image.fromarray(img).resize((9, 20), Image.Resampling.BICUBIC)
    assert np.array_equal(small, np.asarray(expected))
    assert np.array_equal(Degradation(2, 40).apply(img), jpeg(small, 40))


def test_what_is_not_reduced_is_the_same_by_any_kernel():
    assert Degradation(1, 40, "lanczos") == Degradation(1, 40)


def test_another_kernel_is_named_and_used(rng):
    img = rng.integers(0, 256, (40, 60, 3), np.uint8)
    box = Degradation(2, 40, "box")
    assert (str(box), box.slug) == ("/2 box, JPEG 40", "x2box-jpeg40")
    assert box.sentence == "reduced x2 by box and saved as JPEG 40"
    means = img.reshape(20, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(Degradation(2, None, "box").apply(img) - means).max() <= 1, (
        "two passes are rounded"
    )
