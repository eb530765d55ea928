from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from live_memory import LiveMemory
from PIL import Image

from preproc.blend import blend
from preproc.errors import OptionError
from preproc.resize import imresize


def picture(rng, *size):
    return rng.random((*size, 3), np.float32)


def plain(array, scale=4):
    x = torch.from_numpy(array).permute(2, 0, 1)
    return imresize(x, scale).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (40, 31), (300, 700)])
@pytest.mark.parametrize("options", [{}, {"tile": 96}])
def test_a_result_is_the_mean_of_the_networks_answer_and_plain_bicubic(make, rng, size, options):
    array = picture(rng, *size)
    answer = make(**options)(array)
    # What is mixed is the answer that the user would have got: within 0 to 1.
    expected = (0.7 * answer + 0.3 * plain(array)).clip(0, 1)
    np.testing.assert_allclose(make(strength=0.7, **options)(array), expected, atol=1e-6)


@pytest.mark.parametrize("strips", [True, False])
def test_at_the_inputs_size_it_is_mixed_with_the_input(make, rng, strips):
    array = picture(rng, 40, 31)
    answer = make(to_input_size=True, strips=strips)(array)
    mixed = make(to_input_size=True, strips=strips, strength=0.25)(array)
    np.testing.assert_allclose(mixed, 0.25 * answer + 0.75 * array, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_rounded_to_the_nearest(make, rng, dtype):
    peak = np.iinfo(dtype).max
    array = (picture(rng, 24, 20) * peak).round().astype(dtype)
    answer = make()(array).astype(np.float64)
    expected = (answer + plain(array.astype(np.float32) / peak) * peak) / 2
    mixed = make(strength=0.5)(array)
    assert mixed.dtype == dtype
    assert np.abs(mixed - expected.clip(0, peak)).max() <= 0.5 + peak * 1e-6


def test_grey_lists_and_regions_are_mixed_as_they_are_alone(make, rng):
    half = make(strength=0.5)
    grey = Image.fromarray((picture(rng, 30, 41)[..., 0] * 255).astype(np.uint8))
    assert half(grey).mode == "L"
    several = [picture(rng, *size) for size in ((20, 30), (23, 31), (30, 20))]
    for one, result in zip(several, half(several), strict=True):
        np.testing.assert_allclose(result, half(one), atol=1e-6)
    whole = picture(rng, 60, 80)
    (crop,) = half.regions(whole, [(20, 10, 50, 30)], margin=8)
    np.testing.assert_allclose(crop, half(whole)[40:120, 80:200], atol=1e-6)


def test_nothing_of_the_picture_is_overwritten(rng):
    color = torch.from_numpy(picture(rng, 9, 7)).permute(2, 0, 1)[None]
    enhanced, before = torch.zeros(1, 3, 36, 28), color.clone()
    assert blend(enhanced, color, 0.5) is enhanced
    torch.testing.assert_close(enhanced, (imresize(before, 4) / 2).clamp(0, 1))
    assert torch.equal(color, before)


def test_pictures_of_very_long_rows_are_mixed_too(rng):
    color = torch.from_numpy(rng.random((1, 1, 7, 40_000), np.float32))
    mixed = blend(torch.ones_like(color), color, 0.25)
    torch.testing.assert_close(mixed, 0.75 * color + 0.25)


@pytest.mark.parametrize("strength", [0, -0.1, 1.01, float("nan")])
def test_a_strength_out_of_range_is_a_sentence(make, strength):
    with pytest.raises(OptionError, match="strength must be above 0 and at most 1"):
        make(strength=strength)


@pytest.mark.parametrize(("count", "height"), [(1, 1000), (4, 250)])
def test_the_plain_enlargement_is_never_whole(count, height):
    color = torch.zeros(count, 3, height, 160, dtype=torch.uint8)
    enhanced = torch.zeros(count, 3, 4 * height, 640, dtype=torch.uint8)
    with LiveMemory() as memory:
        blend(enhanced, color, 0.5)
    assert max(map(math.prod, memory.shapes)) < enhanced.numel() / 3
