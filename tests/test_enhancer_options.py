"""Options of an Enhancer do what they say, whatever torch is set to, or are refused at once."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from conftest import Tiny
from sample_pictures import smooth

from preproc import Enhancer
from preproc.errors import DepthWarning, ImageError, ModelError, OptionError, PrecisionWarning
from preproc.execution import devices
from preproc.execution.sizes import CPU, GPU


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strength": 0.5},
        {"to_input_size": True, "strips": False},
        {"tile": 64},
        {"self_ensemble": True},
    ],
)
def test_another_default_device_changes_nothing(make, rng, options):
    sizes = ((90, 70), (21, 30), (20, 31))
    crops = [(255 * smooth(rng, *size)).astype(np.uint8) for size in sizes]
    crops[2] = crops[2][..., 0]
    clear = np.dstack([crops[0], np.full((90, 70), 99, np.uint8)])
    boxes = [(2, 3, 20, 20), (40, 50, 60, 64)]

    def run():
        enhancer = make(**options)
        return [*enhancer(crops), enhancer(clear), *enhancer.regions(crops[0], boxes)]

    wanted = run()
    with torch.device("meta"):
        given = run()
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_another_default_dtype_changes_nothing(make, rng, dtype):
    crops = [(255 * smooth(rng, *size)).astype(np.uint8) for size in ((90, 70), (21, 30))]

    def run():
        return make(strength=0.5, to_input_size=True, tile=64)(crops)

    wanted, usual = run(), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        given = run()
    finally:
        torch.set_default_dtype(usual)
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("autocast", [torch.float16, torch.bfloat16])
def test_an_enhancer_made_under_autocast_gives_the_same(rng, autocast):
    picture = smooth(rng, 20, 30)
    wanted = Enhancer(device="cpu", dtype="bfloat16")(picture)
    with torch.autocast("cpu", autocast):
        given = Enhancer(device="cpu", dtype="bfloat16")(picture)
    np.testing.assert_array_equal(given, wanted)


def test_a_black_hole_in_half_precision_is_filled_in_float32(make, rng, monkeypatch):
    array, forward = smooth(rng, 40, 40), Tiny.forward
    wanted = make()(array)

    def overflows(self, x):
        y = forward(self, x)
        return y / 0 if torch.is_autocast_enabled(x.device.type) else y

    monkeypatch.setattr(Tiny, "forward", overflows)
    told = "tiny x4 gave NaN or infinite values in bfloat16"
    with pytest.warns(PrecisionWarning, match=told) as given:
        out = make(dtype="bfloat16")(array)
    assert given[0].filename == __file__
    np.testing.assert_allclose(out, wanted, atol=1e-6)


def test_bfloat16_differs_from_float32_by_little(make, rng):
    array = smooth(rng, 40, 40)
    assert np.abs(make(dtype="bfloat16")(array) - make()(array)).max() < 2 / 255


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more, but is 0"),
        ({"batch_size": "8"}, "batch_size must be a whole number"),
        ({"tile": "64"}, "tile must be a whole number"),
        ({"tile": False}, "tile must be a whole number"),
        ({"overlap": True}, "overlap must be a whole number"),
        ({"channel_order": "grb"}, "channel_order must be 'rgb' or 'bgr'"),
        ({"tile": 10}, "Tiles of 10 px are too small"),
        ({"tile": -64}, "tile must be a whole number, 0 or more, but is -64"),
        ({"overlap": -1}, "overlap must be a whole number, 0 or more, but is -1"),
        ({"overlap": -1, "to_input_size": True}, "overlap must be .* but is -1"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"device": "abacus"}, "Device 'abacus'"),
        ({"device": 1.5}, "Device '1.5' cannot be used"),
        ({"scale": 3}, "no scale 3"),
        ({"weights": 5}, "A path must be a text or a Path with something in it, not 5"),
        ({"weights": b"x.safetensors"}, "A path must be .* not b'x"),
        ({"weights": ""}, "A path must be .* not ''"),
        # As configuration files have them: False, 0.5 and 4 themselves would do.
        ({"to_input_size": "no"}, "to_input_size must be True or False, but is 'no'"),
        ({"self_ensemble": None}, "self_ensemble must be True or False, but is None"),
        ({"strength": "0.5"}, "but is '0.5'"),
        ({"scale": "4"}, "no scale '4'"),
    ],
)
def test_wrong_options_are_one_sentence(make, options, sentence):
    error = ModelError if "scale" in options else OptionError
    with pytest.raises(error, match=sentence):
        make(**options)


def test_an_overlap_has_the_room_that_tiles_of_the_device_have(make, monkeypatch):
    with pytest.raises(OptionError, match="Tiles of 512 px are too small"):
        make(overlap=300)
    monkeypatch.setattr(sys.modules[Enhancer.__module__], "sizes_for", lambda _: GPU)
    make(overlap=300)


def test_the_documentation_tells_what_suits_which_device():
    told = " ".join(f"{Enhancer.__doc__} {Enhancer.__init__.__doc__}".split())
    assert f"(up to {CPU.mixed_side} px a side, {GPU.mixed_side} on a GPU)" in told
    assert f"By default {CPU.tile}, {GPU.tile} on a GPU" in told
    assert f"by default {CPU.batch}, {GPU.batch} on a GPU" in told


@pytest.mark.parametrize("to_input_size", [False, True])
def test_no_graph_is_made_of_what_is_shrunk_on_the_way(make, monkeypatch, to_input_size):
    asked = []
    runtime = lambda *_, **options: asked.append(options["graphs"])  # noqa: E731
    monkeypatch.setattr("preproc.execution.assembly.Runtime", runtime)
    make(to_input_size=to_input_size)
    assert asked == [not to_input_size], "its tables may be freed while a graph reads them"


def test_warnings_point_at_the_users_line(make, tmp_path):
    (tmp_path / "deep.ppm").write_bytes(b"P6\n2 1\n1023\n" + bytes(12))
    with pytest.warns(DepthWarning) as given:
        make()(tmp_path / "deep.ppm")
    assert [one.filename for one in given] == [__file__]


def test_what_a_network_bears_and_the_device_is_fast_in_is_what_it_is_computed_in(
    make, monkeypatch
):
    monkeypatch.setattr(devices, "_cpu_features", lambda: {"amx_bf16"})
    assert Enhancer(device="cpu").dtype == torch.bfloat16
    assert make(dtype=None).dtype == torch.float32


def test_what_an_enhancer_tells_about_itself(make):
    assert str(Enhancer(device="cpu").descriptor) == "cajnn-light x4"
    enhancer = make()
    assert enhancer.descriptor.name == "tiny"
    assert (enhancer.scale, enhancer.device.type, enhancer.dtype) == (4, "cpu", torch.float32)


def test_a_bad_picture_in_a_list_is_named(make):
    with pytest.raises(ImageError, match=r"Picture 1 of the list: .* is empty"):
        make()([np.zeros((4, 4), np.uint8), b""])
