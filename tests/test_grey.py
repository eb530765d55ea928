"""Grey pictures stay grey, however they are stored and whatever the network makes of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sample_pictures import encoded

from preproc.pictures.images import decode
from preproc.samples import PEAK, from_float, is_grey, to_float


@pytest.mark.parametrize("kind", ["array", "bgr", "float", "alpha", "tensor", "PIL", "JPEG"])
def test_grey_stored_as_rgb_goes_in_as_grey_and_comes_out_as_rgb(photo, kind):
    grey = np.asarray(photo.convert("L"))
    rgb = np.stack([grey] * 3, axis=-1)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=40)
    given = {
        "array": rgb,
        "bgr": rgb,
        "float": rgb.astype(np.float32) / 255,
        "alpha": np.concatenate([rgb, np.full_like(rgb[..., :1], 90)], axis=-1),
        "tensor": torch.from_numpy(rgb).permute(2, 0, 1),
        "PIL": Image.fromarray(rgb),
        "JPEG": file.getvalue(),
    }[kind]
    picture = decode(given, "bgr" if kind == "bgr" else "rgb")
    assert picture.color.shape[1] == 1
    packed = picture.pack(picture.color.repeat(1, 1, 2, 2))
    assert type(packed) is type(given)
    back = decode(packed)
    assert back.color.shape[1] == 1, "three equal planes came out"
    shape = np.asarray(Image.open(io.BytesIO(packed)) if kind == "JPEG" else packed).shape
    assert sorted(shape)[0] == (4 if kind == "alpha" else 3)
    # A crop of a coloured picture may be grey by chance; the result of the whole is not.
    assert decode(packed).pack(torch.cat([back.color] * 3, 1)) is not None
    if kind not in ("PIL", "JPEG"):
        planes = packed if kind == "tensor" else np.moveaxis(packed, -1, 0)
        planes[0] = 0
        assert (planes[1] > 0).any(), "each plane is one of its own"


@pytest.mark.parametrize("odd", range(3))
def test_two_equal_planes_are_no_grey(rng, odd):
    array = np.repeat(rng.integers(0, 200, (6, 8, 1), np.uint8), 3, 2)
    array[..., odd] += 50
    assert decode(array).color.shape[1] == 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("returns", [True, False])
def test_a_grey_picture_is_the_same_beside_coloured_ones_as_alone(make, rng, dtype, returns):
    grey, coloured = rng.random((2, 3, 30, 40)).astype(np.float32).round()  # black and white
    grey[:] = grey[0]
    batch = from_float(torch.from_numpy(np.stack([grey, coloured])), dtype)
    enhance = make(to_input_size=returns, strength=0.9)
    results = enhance(batch)
    for one, result in zip(batch, results, strict=True):
        off = to_float(result) - to_float(enhance(one))
        assert off.abs().max() <= 1.01 / PEAK.get(dtype, 1e5)
    assert is_grey(results[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_under_holes_of_any_colour_is_grey(rng, dtype):
    peak = 1 if dtype is np.float32 else np.iinfo(dtype).max
    array = (rng.random((37, 29, 4)) * peak).astype(dtype)
    array[..., 1] = array[..., 2] = array[..., 0]
    array[10:20, 5:25, 3], array[10:20, 5:25, 0] = 0, peak
    assert decode(array).color.shape[1] == 1


def test_a_network_that_tints_does_not_tint_grey(make):
    paper = Image.new("RGB", (40, 24), "white")
    ImageDraw.Draw(paper).text((2, 5), "Grey", fill="black")
    scan = Image.open(io.BytesIO(encoded(paper, "JPEG", quality=40)))
    assert scan.mode == "RGB"
    for given in (scan, np.asarray(scan), [scan, np.asarray(scan).astype(np.uint16) * 257]):
        results = make()(given)
        for result in results if isinstance(given, list) else [results]:
            samples = np.asarray(result).astype(int)
            assert samples.shape == (96, 160, 3)
            assert np.ptp(samples, axis=2).max() == 0


def test_a_grey_region_of_a_coloured_picture_is_what_the_whole_has_there(make, rng):
    img = rng.integers(0, 256, (40, 60, 3), np.uint8)
    img[10:20, 20:40] = img[10:20, 20:40, :1]
    enhancer = make()
    [crop] = enhancer.regions(img, [(20, 10, 40, 20)])
    np.testing.assert_array_equal(crop, enhancer(img)[40:80, 80:160])
    assert np.ptp(crop.astype(int), axis=2).max() > 0, "its neighbours colour it"
