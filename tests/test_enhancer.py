"""An Enhancer gives what the network gives, of every kind and size of picture, with any options."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import batches, tiled_difference
from PIL import Image
from sample_pictures import smooth

from preproc import Enhancer, EnhancerModule
from preproc.errors import ModelError, OptionError
from preproc.networks import ModelDescriptor, register, registry
from preproc.resize import BICUBIC_REACH, imresize
from preproc.weights import load_network, save_state


def network_answer(enhancer, weights, array):
    """What the network says of a picture when there is no stage around it."""
    x = torch.from_numpy(array).permute(2, 0, 1)[None]
    with torch.no_grad():
        y = load_network(enhancer.descriptor, weights)(x)
    return y.clamp(0, 1)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(48, 64), (150, 131), (7, 29), (1, 1)])
def test_the_stage_gives_the_networks_answer(make, tiny_weights, rng, size):
    array = smooth(rng, *size)
    enhancer = make()
    np.testing.assert_allclose(
        enhancer(array), network_answer(enhancer, tiny_weights, array), atol=1e-6
    )


@pytest.mark.parametrize(
    "make_img",
    [
        Image.fromarray,
        lambda a: Image.fromarray(a).convert("L"),
        lambda a: a,
        lambda a: a[..., 0],
        lambda a: a.astype(np.uint16) * 257,
        lambda a: a.astype(np.float64) / 255,
        lambda a: torch.from_numpy(a).permute(2, 0, 1),
        lambda a: torch.from_numpy(a).permute(2, 0, 1)[None].repeat(3, 1, 1, 1) / 255,
    ],
)
def test_same_kind_four_times_the_size(make, rng, make_img):
    img = make_img((smooth(rng, 20, 30) * 255).round().astype(np.uint8))
    out = make()(img)
    assert type(out) is type(img)
    if isinstance(img, Image.Image):
        assert (out.mode, out.size) == (img.mode, (120, 80))
    else:
        assert out.dtype == img.dtype
        sizes = [n * 4 if n in (20, 30) else n for n in img.shape]
        assert list(out.shape) == sizes


def test_every_kind_gets_the_same_answer(make, rng, tmp_path):
    array = (smooth(rng, 24, 32) * 255).round().astype(np.uint8)
    enhancer, path = make(), tmp_path / "a.png"
    Image.fromarray(array).save(path)
    wanted = enhancer(array)
    np.testing.assert_array_equal(np.asarray(enhancer(Image.fromarray(array))), wanted)
    np.testing.assert_array_equal(np.asarray(enhancer(path)), wanted)
    png = enhancer(path.read_bytes())
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), wanted)
    tensor = enhancer(torch.from_numpy(array).permute(2, 0, 1))
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), wanted)
    floats = enhancer(array.astype(np.float32) / 255)
    np.testing.assert_array_equal((floats * 255).round().astype(np.uint8), wanted)
    flipped = make(channel_order="bgr")(array[..., ::-1])
    np.testing.assert_array_equal(flipped[..., ::-1], wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_white_stays_white_and_black_black(make_skip, dtype, to_input_size):
    enhancer, peak = make_skip(to_input_size=to_input_size), np.iinfo(dtype).max
    for value in (0, peak):
        assert (enhancer(np.full((9, 13, 3), value, dtype)) == value).all()
        assert (enhancer(np.full((9, 13), value, dtype)) == value).all()


def test_sixteen_bits_are_not_eight(make_skip):
    ramp = np.arange(30000, 30064, dtype=np.uint16).reshape(8, 8)
    assert len(np.unique(make_skip()(ramp))) > 60


def test_alpha_does_not_go_through_the_network(make, rng):
    rgba = np.full((20, 24, 4), 255, np.uint8)
    rgba[..., :3] = (smooth(rng, 20, 24) * 255).round()
    out = make()(rgba)
    assert (out[..., 3] == 255).all()
    np.testing.assert_array_equal(out[..., :3], make()(np.ascontiguousarray(rgba[..., :3])))


def test_return_to_input_size_is_antialiased_and_rounds_once(make, tiny_weights, rng):
    array = (smooth(rng, 32, 40) * 255).round().astype(np.uint8)
    enhancer = make(to_input_size=True)
    x = torch.from_numpy(array).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        y = imresize(load_network(enhancer.descriptor, tiny_weights)(x), 0.25)
    wanted = (y.clamp(0, 1) * 255).round()[0].permute(1, 2, 0).numpy()
    out = enhancer(array)
    assert enhancer.scale == 1
    assert out.shape == array.shape
    assert np.abs(out - wanted).max() <= 1, "1 only where float32 noise crosses a half"
    assert (out != wanted).mean() < 1e-3


def test_returning_alpha_to_its_size_leaves_it_as_it_was(make, rng):
    rgba = rng.integers(1, 256, (12, 12, 4), np.uint8)
    assert (make(to_input_size=True)(rgba)[..., 3] == rgba[..., 3]).all()
    [crop] = make(to_input_size=True).regions(rgba, [(2, 3, 9, 8)])
    assert (crop[..., 3] == rgba[3:8, 2:9, 3]).all()
    floats = np.full((4, 6, 2), 1.1, np.float32)
    assert (make(to_input_size=True)(floats)[..., 1] == 1).all(), "without overshoot"


@pytest.mark.parametrize("model", ["tiny", "tiny-even", "tiny-pooled"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (3, 300)])
def test_every_size_works_down_to_one_px(tiny_weights, model, size):
    enhancer = Enhancer(model, weights=tiny_weights, device="cpu", dtype="float32", tile=64)
    out = enhancer(np.random.default_rng(0).random((*size, 3), np.float32))
    assert out.shape == (4 * size[0], 4 * size[1], 3)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("tile", [32, 50, 97])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_tiled_is_whole_when_the_overlap_reaches_as_far_as_the_network(
    make, rng, tile, to_input_size
):
    fitting = partial(make, to_input_size=to_input_size)
    assert tiled_difference(fitting, smooth(rng, 150, 131), tile=tile, overlap=3) < 1e-3


def test_tiles_with_too_little_overlap_would_show(make, rng):
    assert tiled_difference(make, smooth(rng, 150, 131), tile=32, overlap=0) > 0.5


def test_tiles_of_a_network_that_takes_even_sizes_only(tiny_weights, rng):
    def make(**options):
        options |= {"device": "cpu", "dtype": "float32"}
        return Enhancer("tiny-even", weights=tiny_weights, **options)

    assert tiled_difference(make, smooth(rng, 151, 133), tile=40) < 1e-3


def test_a_network_that_pools_gets_the_whole_picture_unless_asked(tiny_weights, rng, monkeypatch):
    shapes, array = batches(monkeypatch), smooth(rng, 530, 16)
    for options, count in (({}, 1), ({"tile": 128}, 5)):
        Enhancer("tiny-pooled", weights=tiny_weights, device="cpu", **options)(array)
        assert sum(s[0] for s in shapes) == count
        shapes.clear()
    Enhancer("tiny", weights=tiny_weights, device="cpu")(array)
    assert sum(s[0] for s in shapes) == 2, "a local one gets tiles of 512"


def test_a_network_gets_the_border_it_wants_and_the_picture_comes_back_without(
    make, tiny_weights, rng, monkeypatch
):
    array, shapes = smooth(rng, 9, 12), batches(monkeypatch)
    enhancer = Enhancer("tiny-bordered", weights=tiny_weights, device="cpu", dtype="float32")
    bordered = np.pad(array, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    np.testing.assert_allclose(enhancer(array), make()(bordered)[16:-16, 16:-16], atol=1e-6)
    assert shapes[0][2:] == (17, 20)


@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("tile", [0, 40])
def test_a_border_leaves_no_trace_in_what_is_returned(tiny_weights, rng, strips, tile):
    options = {"weights": tiny_weights, "device": "cpu", "dtype": "float32", "tile": tile}
    array = smooth(rng, 60, 57).astype(np.float32) * 0.2 + 0.4  # nothing is clipped
    large = torch.from_numpy(Enhancer("tiny-bordered", **options)(array)).permute(2, 0, 1)
    assert large.min() > 0
    assert large.max() < 1
    returned = Enhancer("tiny-bordered", to_input_size=True, strips=strips, **options)(array)
    expected = imresize(large, size=(60, 57)).permute(1, 2, 0)
    np.testing.assert_allclose(returned, expected, atol=1e-3 if tile else 1e-5)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: F.interpolate(x, scale_factor=2)[..., 2:-2, 2:-2],
        lambda x: F.interpolate(x, scale_factor=2).mean(1, keepdim=True),
        lambda x: F.pad(F.interpolate(x, scale_factor=2), (1, 1, 1, 1)),
        lambda x: F.interpolate(x, scale_factor=4),
        lambda x: x,
    ],
)
def test_a_network_that_does_not_keep_to_its_scale_is_a_sentence(
    tmp_path, rng, forward, monkeypatch
):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))

    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.share = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return forward(x)

    save_state(tmp_path / "odd.safetensors", Odd().state_dict(), torch.float32)
    register(ModelDescriptor(name="odd", scale=2, build=Odd))
    enhance = Enhancer("odd", weights=tmp_path / "odd.safetensors", device="cpu")
    with pytest.raises(ModelError, match=r"three channels and exactly 2 times the px"):
        enhance(smooth(rng, 12, 14))
    module = EnhancerModule("odd", weights=tmp_path / "odd.safetensors")
    with pytest.raises(ModelError, match=r"three channels and exactly 2 times the px"):
        module(torch.rand(1, 3, 12, 14))


def test_an_enhancer_says_what_it_is(make):
    assert repr(make()) == "<Enhancer: tiny x4 on cpu in float32>"
    returned = make(to_input_size=True, dtype="bfloat16")
    assert repr(returned) == "<Enhancer: tiny x4 on cpu in bfloat16, returned to the input's size>"


def test_names_that_a_network_of_your_own_has_mean_nothing_to_the_stage(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))

    class Own(torch.nn.Module):
        tail_radius = extract = upsample = steps = prepare = compile_blocks = 4

        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 12, 3, padding=1)

        def forward(self, x):
            return torch.nn.functional.pixel_shuffle(self.conv(x), 2)

    save_state(tmp_path / "own.safetensors", Own().state_dict(), torch.float32)
    register(ModelDescriptor(name="own", scale=2, build=Own))
    options = {"weights": tmp_path / "own.safetensors", "device": "cpu"}
    array = smooth(rng, 30, 40)
    plain = Enhancer("own", **options, strips=False, layerwise=False, fast=False)
    np.testing.assert_allclose(Enhancer("own", **options)(array), plain(array), atol=1e-6)
    with pytest.raises(OptionError, match=r"own x2 has no repeated blocks to compile; leave"):
        Enhancer("own", **options, compiled=True)


def test_regions_at_part_strength_have_the_neighbours_that_bicubic_needs(make, rng):
    array = smooth(rng, 30, 40)
    enhance = make(strength=0.5, overlap=0)
    (crop,) = enhance.regions(array, [(8, 8, 20, 20)])
    whole = enhance.regions(array, [(8, 8, 20, 20)], margin=BICUBIC_REACH)[0]
    np.testing.assert_array_equal(crop, whole)


def test_self_ensemble_is_the_mean_over_all_eight_turns(make, rng):
    array, plain, answers = 0.3 + 0.4 * smooth(rng, 24, 40), make(), []
    for quarters in range(4):
        turned = np.rot90(array, quarters)
        answers.append(np.rot90(plain(np.ascontiguousarray(turned)), -quarters))
        mirrored = plain(np.ascontiguousarray(turned[:, ::-1]))[:, ::-1]
        answers.append(np.rot90(mirrored, -quarters))
    np.testing.assert_allclose(make(self_ensemble=True)(array), np.mean(answers, 0), atol=1e-6)


def test_self_ensemble_turns_with_the_picture(make, rng):
    enhancer, array = make(self_ensemble=True), smooth(rng, 24, 40)
    turned = enhancer(np.ascontiguousarray(np.rot90(array)))
    np.testing.assert_allclose(turned, np.rot90(enhancer(array)), atol=1e-6)
    assert np.abs(enhancer(array) - make()(array)).max() > 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives(make, tiny_weights, rng):
    array = smooth(rng, 150, 131)
    out = Enhancer("tiny", weights=tiny_weights, device="cuda", tile=64)(array)
    assert np.abs(out - make()(array)).max() < 2 / 255
