from __future__ import annotations

import copy
import io
import math
import os
import pickle
import subprocess
import sys
import threading
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Tiny, tiled_difference
from PIL import Image

from preproc import Enhancer, EnhancerModule
from preproc.errors import DepthWarning, DeviceMemoryError, ImageError, ModelError, PrecisionWarning
from preproc.execution import devices, ensemble
from preproc.execution.runtime import Runtime
from preproc.execution.sizes import CPU, GPU
from preproc.execution.tiles import stack
from preproc.networks import ModelDescriptor, Tiling, find, register, registry
from preproc.networks.cajnn import CAJNN
from preproc.networks.cisrnet import CISRNet
from preproc.networks.masking import install_masks
from preproc.resize import BICUBIC_REACH, imresize
from preproc.weights import load_network, save_state


def photo(rng, *shape):
    """A smooth random picture, float32 in [0, 1]."""
    coarse = torch.from_numpy(rng.random((1, 3, *shape), np.float32))
    return (
        imresize(coarse, 0.25)[0]
        .repeat_interleave(4, -2)
        .repeat_interleave(4, -1)[:, : shape[0], : shape[1]]
        .clamp(0, 1)
        .permute(1, 2, 0)
        .contiguous()
        .numpy()
    )


def network_answer(enhancer, weights, array):
    """What the network says of a picture when there is no stage around it."""
    x = torch.from_numpy(array).permute(2, 0, 1)[None]
    with torch.no_grad():
        y = load_network(enhancer.descriptor, weights)(x)
    return y.clamp(0, 1)[0].permute(1, 2, 0).numpy()


# ------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("size", [(48, 64), (150, 131), (7, 29), (1, 1)])
def test_the_stage_gives_the_networks_answer(make, tiny_weights, rng, size):
    array = photo(rng, *size)
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
    img = make_img((photo(rng, 20, 30) * 255).round().astype(np.uint8))
    out = make()(img)
    assert type(out) is type(img)
    if isinstance(img, Image.Image):
        assert (out.mode, out.size) == (img.mode, (120, 80))
    else:
        assert out.dtype == img.dtype
        sizes = [n * 4 if n in (20, 30) else n for n in img.shape]
        assert list(out.shape) == sizes


def test_every_kind_gets_the_same_answer(make, rng, tmp_path):
    array = (photo(rng, 24, 32) * 255).round().astype(np.uint8)
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
    rgba[..., :3] = (photo(rng, 20, 24) * 255).round()
    out = make()(rgba)
    assert (out[..., 3] == 255).all()
    np.testing.assert_array_equal(out[..., :3], make()(np.ascontiguousarray(rgba[..., :3])))


def test_return_to_input_size_is_antialiased_and_rounds_once(make, tiny_weights, rng):
    array = (photo(rng, 32, 40) * 255).round().astype(np.uint8)
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


# ------------------------------------------------------------------- tiles and batches


@pytest.mark.parametrize("tile", [32, 50, 97])
def test_tiled_is_whole_when_the_overlap_reaches_as_far_as_the_network(make, rng, tile):
    assert tiled_difference(make, photo(rng, 150, 131), tile=tile, overlap=3) < 1e-3


def test_tiles_with_too_little_overlap_would_show(make, rng):
    assert tiled_difference(make, photo(rng, 150, 131), tile=32, overlap=0) > 0.5


def test_tiles_of_a_network_that_takes_even_sizes_only(tiny_weights, rng):
    def make(**options):
        options |= {"device": "cpu", "dtype": "float32"}
        return Enhancer("tiny-even", weights=tiny_weights, **options)

    assert tiled_difference(make, photo(rng, 151, 133), tile=40) < 1e-3


def batches(monkeypatch):
    shapes, forward = [], Tiny.forward
    monkeypatch.setattr(Tiny, "forward", lambda self, x: shapes.append(x.shape) or forward(self, x))
    return shapes


def test_a_network_that_pools_gets_the_whole_picture_unless_asked(tiny_weights, rng, monkeypatch):
    shapes, array = batches(monkeypatch), photo(rng, 530, 16)
    for options, count in (({}, 1), ({"tile": 128}, 5)):
        Enhancer("tiny-pooled", weights=tiny_weights, device="cpu", **options)(array)
        assert sum(s[0] for s in shapes) == count
        shapes.clear()
    Enhancer("tiny", weights=tiny_weights, device="cpu")(array)
    assert sum(s[0] for s in shapes) == 2, "a local one gets tiles of 512"


def test_a_list_of_mixed_kinds_and_sizes_gives_what_each_gives_alone(make, rng):
    arrays = [(photo(rng, h, w) * 255).astype(np.uint8) for h, w in ((30, 97), (32, 100), (7, 9))]
    imgs = [arrays[0], Image.fromarray(arrays[1]), torch.from_numpy(arrays[2]).permute(2, 0, 1)]
    enhancer = make()
    together = enhancer(imgs)
    assert [type(o) for o in together] == [type(i) for i in imgs]
    for one, img in zip(together, imgs, strict=True):
        # 1 only where float32 noise crosses a half.
        np.testing.assert_allclose(np.asarray(one), np.asarray(enhancer(img)), rtol=0, atol=1)
    assert enhancer([]) == enhancer(()) == []


@pytest.mark.parametrize("self_ensemble", [False, True])
def test_crops_of_near_sizes_share_a_batch_and_get_their_own_answer(
    make, rng, monkeypatch, self_ensemble
):
    enhancer = make(self_ensemble=self_ensemble)
    crops = [photo(rng, h, w) for h, w in ((25, 97), (32, 100), (29, 104), (30, 98))]
    alone, shapes = [enhancer(crop) for crop in crops], batches(monkeypatch)
    together = enhancer(crops)
    assert len(shapes) == (8 if self_ensemble else 1)
    assert shapes[0] == (4, 3, 32, 104)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("model", ["cajnn", "cajnn-light"])
def test_near_sizes_share_a_batch_exactly_in_the_real_networks(tmp_path, model):
    descriptor = find(model, 4)
    network = CAJNN(features=8, growth=4, blocks=1) if model == "cajnn" else descriptor.build()
    assert descriptor.maskable
    install_masks(network)
    runtime = Runtime(network, torch.device("cpu"), torch.float32)
    crops = [torch.rand(3, h, w) for h, w in ((9, 12), (7, 15), (10, 10))]
    together = runtime(*stack(crops))
    for one, crop in zip(together, crops, strict=True):
        alone = runtime(crop[None])[0]
        torch.testing.assert_close(
            one[:, : alone.shape[1], : alone.shape[2]], alone, atol=1e-5, rtol=0
        )


def test_once_compiled_pictures_of_different_sizes_share_no_batch(make, rng, monkeypatch):
    shapes = batches(monkeypatch)
    make(compiled=True)([photo(rng, h, w) for h, w in ((25, 97), (32, 100))])
    assert shapes == [(1, 3, 25, 97), (1, 3, 32, 100)]


class Averages(Tiny):
    """The same, but px mix outside of its convolutions, too, as they may in a network of yours."""

    def forward(self, x):
        return super().forward(F.avg_pool2d(x, 5, 1, 2))


def test_a_network_of_your_own_gives_each_picture_of_a_list_what_it_gives_alone(tiny_weights, rng):
    register(ModelDescriptor("averages", 4, Averages, 3704, 3672, overlap=8))
    enhancer = Enhancer("averages", weights=tiny_weights, device="cpu", dtype="float32")
    crops = [photo(rng, h, w) for h, w in ((25, 97), (32, 100))]
    for one, crop in zip(enhancer(crops), crops, strict=True):
        np.testing.assert_array_equal(one, enhancer(crop))
    [region] = enhancer.regions(crops[1], [(40, 10, 60, 20)])
    np.testing.assert_array_equal(region, enhancer(crops[1])[40:80, 160:240])


def test_masks_are_installed_once():
    network = CAJNN(features=8, growth=4, blocks=1)
    install_masks(network)
    counts = [len(module._forward_pre_hooks) for module in network.modules()]
    install_masks(network)
    assert [len(module._forward_pre_hooks) for module in network.modules()] == counts
    assert max(counts) == 1


def test_a_network_gets_the_border_it_wants_and_the_picture_comes_back_without(
    make, tiny_weights, rng, monkeypatch
):
    array, shapes = photo(rng, 9, 12), batches(monkeypatch)
    enhancer = Enhancer("tiny-bordered", weights=tiny_weights, device="cpu", dtype="float32")
    bordered = np.pad(array, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    np.testing.assert_allclose(enhancer(array), make()(bordered)[16:-16, 16:-16], atol=1e-6)
    assert shapes[0][2:] == (17, 20)


@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("tile", [0, 40])
def test_a_border_leaves_no_trace_in_what_is_returned(tiny_weights, rng, strips, tile):
    options = {"weights": tiny_weights, "device": "cpu", "dtype": "float32", "tile": tile}
    array = photo(rng, 60, 57).astype(np.float32) * 0.2 + 0.4  # nothing is clipped
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
        enhance(photo(rng, 12, 14))
    module = EnhancerModule("odd", weights=tmp_path / "odd.safetensors")
    with pytest.raises(ModelError, match=r"three channels and exactly 2 times the px"):
        module(torch.rand(1, 3, 12, 14))


def test_regions_at_part_strength_have_the_neighbours_that_bicubic_needs(make, rng):
    array = photo(rng, 30, 40)
    enhance = make(strength=0.5, overlap=0)
    (crop,) = enhance.regions(array, [(8, 8, 20, 20)])
    whole = enhance.regions(array, [(8, 8, 20, 20)], margin=BICUBIC_REACH)[0]
    np.testing.assert_array_equal(crop, whole)


def test_no_more_pictures_share_a_batch_than_asked_for(make, rng, monkeypatch):
    shapes = batches(monkeypatch)
    make(batch_size=2)([photo(rng, 9, 12) for _ in range(5)])
    assert [shape[0] for shape in shapes] == [2, 2, 1]


def test_a_network_that_pools_is_never_given_padding(tiny_weights, rng, monkeypatch):
    shapes = batches(monkeypatch)
    crops = [photo(rng, h, w) for h, w in ((25, 97), (32, 100), (25, 97))]
    Enhancer("tiny-pooled", weights=tiny_weights, device="cpu")(crops)
    assert shapes == [(2, 3, 25, 97), (1, 3, 32, 100)]


def test_self_ensemble_is_the_mean_over_all_eight_turns(make, rng):
    array, plain, answers = 0.3 + 0.4 * photo(rng, 24, 40), make(), []
    for quarters in range(4):
        turned = np.rot90(array, quarters)
        answers.append(np.rot90(plain(np.ascontiguousarray(turned)), -quarters))
        mirrored = plain(np.ascontiguousarray(turned[:, ::-1]))[:, ::-1]
        answers.append(np.rot90(mirrored, -quarters))
    np.testing.assert_allclose(make(self_ensemble=True)(array), np.mean(answers, 0), atol=1e-6)


def test_self_ensemble_turns_with_the_picture(make, rng):
    enhancer, array = make(self_ensemble=True), photo(rng, 24, 40)
    turned = enhancer(np.ascontiguousarray(np.rot90(array)))
    np.testing.assert_allclose(turned, np.rot90(enhancer(array)), atol=1e-6)
    assert np.abs(enhancer(array) - make()(array)).max() > 1e-3


def test_a_list_of_all_kinds_of_samples_gives_each_what_it_gives_alone(make, rng):
    floats = photo(rng, 24, 24).astype(np.float32)
    eight = (255 * floats).astype(np.uint8)
    kinds = [
        eight,
        floats,
        eight[:23].astype(np.uint16) * 257,
        Image.fromarray(eight[..., 0].astype(np.float32)),
        eight[..., 0],
    ]
    enhancer = make()
    for given, kind in zip(enhancer(kinds), kinds, strict=True):
        alone = np.asarray(enhancer(kind)).astype(np.float64)
        # Some CPUs round a batch in another order.
        level = 1 if kind is not floats else 1e-5
        np.testing.assert_allclose(np.asarray(given), alone, rtol=1e-5, atol=level)


@pytest.mark.parametrize("name", ["cajnn-light", "cisrnet-light", "cisrnet-light-coarse"])
def test_an_enhancer_goes_to_other_processes(name, rng):
    scale = 4 if name.startswith("cajnn") else 2
    enhancer = Enhancer(name, scale=scale, device="cpu", self_ensemble=True)
    array = photo(rng, 12, 17)
    travelled = pickle.loads(pickle.dumps(enhancer))
    np.testing.assert_array_equal(travelled(array), enhancer(array))


def test_an_enhancer_that_came_from_another_process_is_safe_to_fork_with(make, monkeypatch):
    sent, calls = pickle.dumps(make()), []
    home = sys.modules[Enhancer.__module__]
    monkeypatch.setattr(home, "compute_on_one_thread_after_forks", lambda: calls.append("safe"))
    pickle.loads(sent)
    assert calls == ["safe"]


def test_an_enhancer_of_a_network_that_is_not_picklable_can_be_copied(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    register(ModelDescriptor(name="own", scale=4, build=lambda: Tiny()))  # noqa: PLW0108
    save_state(tmp_path / "own.safetensors", Tiny().state_dict(), torch.float32)
    enhance = Enhancer("own", weights=tmp_path / "own.safetensors", device="cpu")
    picture = photo(rng, 9, 7)
    for other in (copy.copy(enhance), copy.deepcopy(enhance)):
        np.testing.assert_array_equal(other(picture), enhance(picture))


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted as Linux tells them")
def test_an_enhancer_goes_to_other_processes_without_a_descriptor_for_each_tensor(make):
    before = len([*Path("/proc/self/fd").iterdir()])
    sent = ForkingPickler.dumps(make())
    assert len([*Path("/proc/self/fd").iterdir()]) <= before
    assert len(sent) > 1000


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
    crops = [(255 * photo(rng, *size)).astype(np.uint8) for size in sizes]
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


@pytest.mark.parametrize("autocast", [torch.float16, torch.bfloat16])
def test_an_enhancer_made_under_autocast_gives_the_same(rng, autocast):
    picture = photo(rng, 20, 30)
    wanted = Enhancer(device="cpu", dtype="bfloat16")(picture)
    with torch.autocast("cpu", autocast):
        given = Enhancer(device="cpu", dtype="bfloat16")(picture)
    np.testing.assert_array_equal(given, wanted)


# ------------------------------------------------------------------- when things go wrong


def test_full_memory_gives_the_same_picture_from_smaller_tiles(make, rng, monkeypatch):
    array, forward, refused = photo(rng, 150, 131), Tiny.forward, []
    wanted = make()(array)

    def small_memory(self, x):
        if math.prod(x.shape) > 3 * 50 * 50:
            refused.append(x.shape)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, x)

    monkeypatch.setattr(Tiny, "forward", small_memory)
    np.testing.assert_allclose(make()(array), wanted, atol=1e-6)
    assert refused


def test_memory_that_only_a_mean_fills_gives_the_same_picture_too(make, rng, monkeypatch):
    array, turned, refused = photo(rng, 90, 80), ensemble._turned, []
    wanted = make(self_ensemble=True)(array)

    def small_memory(x, *how):
        if math.prod(x.shape) > 3 * 50 * 50:
            refused.append(x.shape)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return turned(x, *how)

    monkeypatch.setattr(ensemble, "_turned", small_memory)
    np.testing.assert_allclose(make(self_ensemble=True)(array), wanted, atol=1e-6)
    assert refused


def test_memory_that_is_always_full_is_one_sentence(make, monkeypatch):
    def no_memory(self, x):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(Tiny, "forward", no_memory)
    with pytest.raises(DeviceMemoryError, match="tiny x4 ran out of memory on cpu with 1 picture"):
        make()(np.zeros((100, 100, 3), np.uint8))


@pytest.mark.parametrize(("to_input_size", "advice"), [(False, "use to_input_size"), (True, "cut")])
@pytest.mark.parametrize("side", [10**7, 10**9])  # more than can be addressed, even uncommitted
def test_a_result_that_no_memory_holds_is_one_sentence(make, side, to_input_size, advice):
    enhancer = make(to_input_size=to_input_size)
    # Of three colours, for whether a picture is grey is seen by looking at all its px.
    huge = torch.arange(3, dtype=torch.uint8)[:, None, None].expand(3, side, side)
    size = enhancer.scale * side
    sentence = (
        rf"The result of {size}x{size} px needs {3 * size**2 / 1e9:,.1f} GB of main memory; "
        rf"{advice}.*the picture\.$"
    )
    with pytest.raises(DeviceMemoryError, match=sentence):
        enhancer(huge)


def test_memory_that_runs_out_while_a_result_is_packed_is_one_sentence(make, monkeypatch):
    def no_memory(*_):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(Enhancer, "_finished", no_memory)
    with pytest.raises(
        DeviceMemoryError, match=r"2 times 40x40 px needs .* fewer pictures at once"
    ):
        make()(torch.zeros(2, 3, 10, 10))


def progress_of(call):
    """What a call tells; that it rises, stays in this thread and ends at its total is checked."""
    told, here = [], threading.get_ident()

    def progress(done, total):
        assert threading.get_ident() == here
        told.append((done, total))

    call(progress)
    done = [d for d, _ in told]
    assert done == sorted(set(done))
    assert len({t for _, t in told}) == 1
    assert told[-1][0] == told[-1][1]
    return told


@pytest.mark.parametrize("options", [{}, {"to_input_size": True}, {"self_ensemble": True}], ids=str)
def test_progress_is_told_within_a_picture(make, rng, options):
    enhancer, array = make(tile=64, batch_size=1, **options), photo(rng, 150, 131)
    told = progress_of(lambda progress: enhancer(array, progress=progress))
    assert told[-1][1] == 150 * 131
    assert len(told) > 5


@pytest.mark.parametrize("self_ensemble", [False, True])
def test_progress_is_told_of_a_picture_that_goes_layer_by_layer(tmp_path, rng, self_ensemble):
    def build():
        return CISRNet(4, 8, 2, 2, coarse_groups=1, fine_groups=1)

    descriptor = ModelDescriptor("told-cisrnet", 4, build, 0, 1, tiling=Tiling.WHOLE)
    register(descriptor, replace=True)
    weights = tmp_path / "w.safetensors"
    save_state(weights, build().state_dict(), torch.float32)
    enhancer = Enhancer(
        "told-cisrnet",
        weights=weights,
        device="cpu",
        dtype="float32",
        layerwise=True,
        self_ensemble=self_ensemble,
    )
    array = photo(rng, 24, 36)
    told = progress_of(lambda progress: enhancer(array, progress=progress))
    assert told[-1][1] == 24 * 36
    assert len(told) > (40 if self_ensemble else 10)
    steps = np.diff([0, *(done for done, _ in told)])
    assert steps.max() < 24 * 36 / 4, "no long silence, and none because all was told too early"


def test_progress_of_a_list_is_that_of_all_its_pictures(make, rng):
    pictures = [photo(rng, 30, 40), photo(rng, 50, 20)]
    told = progress_of(lambda progress: make(batch_size=1)(pictures, progress=progress))
    assert [done for done, _ in told] == [1200, 2200]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_progress_raises_ends_the_call(make, rng, error):
    def stop(*_):
        raise error

    with pytest.raises(error):
        make()(photo(rng, 20, 20), progress=stop)


def test_a_black_hole_in_half_precision_is_filled_in_float32(make, rng, monkeypatch):
    array, forward = photo(rng, 40, 40), Tiny.forward
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
    array = photo(rng, 40, 40)
    assert np.abs(make(dtype="bfloat16")(array) - make()(array)).max() < 2 / 255


def test_a_bad_picture_in_a_list_is_named(make):
    with pytest.raises(ImageError, match=r"Picture 1 of the list: .* is empty"):
        make()([np.zeros((4, 4), np.uint8), b""])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"batch_size": "8"}, "batch_size must be a whole number"),
        ({"tile": "64"}, "tile must be a whole number"),
        ({"channel_order": "grb"}, "channel_order must be 'rgb' or 'bgr'"),
        ({"tile": 10}, "Tiles of 10 px leave no room"),
        ({"tile": -64}, "Tiles of -64 px"),
        ({"overlap": -1}, "overlap"),
        ({"overlap": -1, "to_input_size": True}, "overlap must be .* but is -1"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"device": "abacus"}, "Device 'abacus'"),
        ({"device": 1.5}, "Device '1.5' cannot be used"),
        ({"scale": 3}, "no scale 3"),
        # As configuration files have them: 0.5 and 4 themselves would do.
        ({"strength": "0.5"}, "but is '0.5'"),
        ({"scale": "4"}, "no scale '4'"),
    ],
)
def test_wrong_options_are_one_sentence(make, options, sentence):
    with pytest.raises(ModelError, match=sentence):
        make(**options)


def test_an_overlap_has_the_room_that_tiles_of_the_device_have(make, monkeypatch):
    with pytest.raises(ModelError, match="Tiles of 512 px leave no room"):
        make(overlap=300)
    monkeypatch.setattr(sys.modules[Enhancer.__module__], "sizes_for", lambda _: GPU)
    make(overlap=300)


def test_the_documentation_tells_what_suits_which_device():
    told = " ".join(f"{Enhancer.__doc__} {Enhancer.__init__.__doc__}".split())
    assert f"(up to {CPU.mixed} px a side, {GPU.mixed} on a GPU)" in told
    assert f"By default {CPU.tile}, {GPU.tile} on a GPU" in told
    assert f"by default {CPU.batch}, {GPU.batch} on a GPU" in told


@pytest.mark.parametrize("to_input_size", [False, True])
def test_no_graph_is_made_of_what_is_shrunk_on_the_way(make, monkeypatch, to_input_size):
    asked = []
    runtime = lambda *_, **options: asked.append(options["graphs"])  # noqa: E731
    monkeypatch.setattr(sys.modules[Enhancer.__module__], "Runtime", runtime)
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_forked_once_an_enhancer_was_made_does_not_wait_for_ever(tmp_path):
    (tmp_path / "module").write_bytes(pickle.dumps(EnhancerModule()))
    code = """
import os, pathlib, pickle, sys, torch
from preproc import Enhancer, EnhancerModule

def in_a_fork(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]

def forked_once_made(make, called):  # in a fork itself, as no threads have been started there
    torch.set_num_threads(2)
    enhance, picture = make(), torch.zeros(1, 3, 40, 40)
    if called:
        enhance(picture)
    failed = in_a_fork(lambda: enhance(picture).shape[-1] != 160)
    return failed or torch.get_num_threads() != 2

read = pathlib.Path(sys.argv[1]).read_bytes
for make, called in [
    (lambda: Enhancer(device="cpu"), False),
    (lambda: Enhancer(device="cpu"), True),
    (EnhancerModule, True),
    (lambda: pickle.loads(read()), True),
]:
    print(in_a_fork(lambda: forked_once_made(make, called)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "module"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["0"] * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives(make, tiny_weights, rng):
    array = photo(rng, 150, 131)
    out = Enhancer("tiny", weights=tiny_weights, device="cuda", tile=64)(array)
    assert np.abs(out - make()(array)).max() < 2 / 255


# ------------------------------------------------------------------- as a module


@pytest.mark.parametrize("model", ["tiny", "tiny-even"])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_the_module_is_differentiable_and_keeps_its_size(tiny_weights, model, to_input_size):
    module = EnhancerModule(model, weights=tiny_weights, to_input_size=to_input_size)
    x = torch.rand(2, 3, 5, 9, requires_grad=True)
    y = module(x)
    assert y.shape == (2, 3, 5 * module.scale, 9 * module.scale)
    y.sum().backward()
    assert (x.grad != 0).all()
    assert all(p.grad is not None for p in module.parameters())


def under_autocast(module, x):
    with torch.autocast("cpu", torch.bfloat16):
        return module(x)


@pytest.mark.parametrize("to_input_size", [False, True])
@pytest.mark.parametrize(
    ("use", "difference"),
    [
        (under_autocast, 0.03),
        (lambda module, x: module.bfloat16()(x.bfloat16()), 0.03),
        (lambda module, x: module.half()(x.half()), 0.005),
        (lambda module, x: module.double()(x.double()), 1e-5),
        (lambda module, x: copy.deepcopy(module)(x), 0),
        (lambda module, x: pickle.loads(pickle.dumps(module))(x), 0),
        (lambda module, x: torch.export.export(module, (x,)).module()(x), 1e-5),
    ],
    ids=["autocast", "bfloat16", "half", "double", "copied", "pickled", "exported"],
)
def test_however_the_module_is_run_it_gives_the_same(use, difference, to_input_size):
    module, x = EnhancerModule(to_input_size=to_input_size), torch.rand(1, 3, 7, 9)
    expected = module(x)
    out = use(module, x)
    torch.testing.assert_close(out.float(), expected, atol=difference, rtol=0)


def test_a_frozen_module_lets_gradients_through(tiny_weights):
    module = EnhancerModule("tiny", weights=tiny_weights).requires_grad_(requires_grad=False)
    x = torch.rand(1, 3, 5, 9, requires_grad=True)
    module(x).sum().backward()
    assert (x.grad != 0).all()
    assert all(p.grad is None for p in module.parameters())


def test_the_module_gives_what_the_enhancer_gives(make, tiny_weights, rng):
    x = torch.from_numpy(photo(rng, 24, 32)).permute(2, 0, 1)
    x = (x - x.min()) / (x.max() - x.min())  # whose result reaches beyond black and white
    with torch.no_grad():
        y = EnhancerModule("tiny", weights=tiny_weights)(x[None])[0]
    assert y.min() < 0
    assert y.max() > 1
    torch.testing.assert_close(make()(x), y.clamp(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("model", ["tiny", "tiny-even"])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_the_module_gives_it_at_any_size_and_returned_too(tiny_weights, rng, model, to_input_size):
    options = {"weights": tiny_weights, "to_input_size": to_input_size}
    x = torch.from_numpy(photo(rng, 23, 31)).permute(2, 0, 1) * 0.2 + 0.4
    with torch.no_grad():
        y = EnhancerModule(model, **options)(x[None])[0]
    expected = Enhancer(model, device="cpu", dtype="float32", **options)(x)
    torch.testing.assert_close(expected, y, atol=1e-5, rtol=0)


def test_the_module_has_the_scale_that_was_asked_for():
    module = EnhancerModule("cisrnet-light-coarse", scale=3)
    assert module.scale == module.descriptor.scale == 3
    assert module(torch.rand(1, 3, 4, 5)).shape == (1, 3, 12, 15)


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(3, 5, 5),
        torch.zeros(1, 3, 5, 5, dtype=torch.uint8),
        torch.zeros(1, 4, 5, 5),
        torch.zeros(0, 3, 5, 5),
        torch.zeros(1, 3, 0, 5),
    ],
    ids=lambda bad: f"{bad.dtype} {tuple(bad.shape)}",
)
def test_the_module_refuses_what_is_no_batch_of_floats(tiny_weights, bad):
    with pytest.raises(ImageError, match=r"takes a float tensor \(N, 3, H, W\)"):
        EnhancerModule("tiny", weights=tiny_weights)(bad)
