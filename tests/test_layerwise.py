from __future__ import annotations

import errno
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from live_memory import LiveMemory

from preproc import Enhancer
from preproc.errors import DeviceMemoryError, OptionError, OutputError
from preproc.execution import maps
from preproc.execution.assembly import assemble
from preproc.execution.layerwise import BAND, LENGTH, Layerwise, large_layerwise
from preproc.execution.runtime import Precision, Runtime
from preproc.networks import ModelDescriptor, Tiling, find, register
from preproc.networks.cisrnet import CISRNet
from preproc.networks.halves import Splittable
from preproc.networks.steps import Keep, Local, Stepwise
from preproc.networks.steps import Pooled as PooledStep
from preproc.progress import Tally
from preproc.weights import save_state

CPU = torch.device("cpu")


def network(scale=4, **options):
    """CISRNet with all its layers and few channels, whose blocks and gates change a lot."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CISRNet(scale, 8, 2, 2, coarse_groups=1, fine_groups=1, **options).eval()
    for name, value in net.named_parameters():
        if ".blocks." in name:
            value.data.mul_(30 if ".channel." in name else 3)
    return net


@pytest.fixture(scope="module")
def make_small(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_state(path, network().state_dict(), torch.float32)
    register(ModelDescriptor("small-cisrnet", 4, network, 0, 1, tiling=Tiling.WHOLE), replace=True)

    def make(**options):
        options = {"device": "cpu", "dtype": "float32"} | options
        return Enhancer("small-cisrnet", weights=path, **options)

    return make


# ------------------------------------------------------------------- the same answer


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"coarse_attention": "sdab", "fine_attention": "pdab"}, {"coarse_only": True}],
    ids=str,
)
@pytest.mark.parametrize("size", [(1, 1), (5, 31), (29, 26)])
@torch.inference_mode()
def test_layer_by_layer_is_the_whole_image(scale, options, size):
    net, x = network(scale, **options), torch.rand(2, 3, *size)
    assert isinstance(net, Stepwise)
    out = Layerwise(net, band=16, length=24)(x)
    torch.testing.assert_close(out, net(x), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_means_of_tiles_instead_would_show():
    net, x = network(), torch.rand(1, 3, 24, 24)
    x[..., 12:] /= 4
    left = net(x[..., :20])[..., : 4 * 12]
    assert (left - net(x)[..., : 4 * 12]).abs().max() > 5e-4, "fifty times what tests allow"


@torch.inference_mode()
def test_a_step_that_told_too_small_a_radius_would_show():
    net, x = network(), torch.rand(1, 3, 24, 24)

    class Short(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def steps(self):
            for step in net.steps():
                match step:
                    case PooledStep(extract, gates, merge, radius, merge_radius):
                        yield PooledStep(extract, gates, merge, radius - 1, merge_radius)
                    case _:
                        yield step

    assert (Layerwise(Short(), band=16, length=24)(x) - net(x)).abs().max() > 1e-4


def test_the_real_networks_tell_as_many_steps_as_they_have_layers():
    with torch.device("meta"):
        steps = find("cisrnet", 4).build().steps()
    blocks = 8 * (4 + 2)
    assert sum(isinstance(step, PooledStep) for step in steps) == blocks
    assert sum(isinstance(step, Keep) for step in steps) == 4 + 2 + 2
    skips = sum(step.skip for step in steps if isinstance(step, Local))
    assert skips == 4 + 2 + 2, "all that is kept is used"


@pytest.mark.parametrize("options", [{}, {"self_ensemble": True}, {"to_input_size": True}])
def test_the_stage_gives_the_same_either_way(make_small, rng, options):
    img = rng.random((21, 34, 3), np.float32)
    whole, layers = (make_small(layerwise=way, **options)(img) for way in (False, True))
    np.testing.assert_allclose(layers, whole, atol=1e-5)


def test_bfloat16_is_as_near_as_it_is_to_itself(make_small, rng):
    img = rng.random((40, 34, 3), np.float32)
    whole, layers = (make_small(layerwise=way, dtype="bfloat16")(img) for way in (False, True))
    assert np.abs(layers - whole).max() < 1 / 255


def test_a_black_hole_in_half_precision_is_filled_in_float32():
    net = network()

    class Overflows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def steps(self):
            yield from net.steps()
            yield Local(lambda x: x / 0 if torch.is_autocast_enabled("cpu") else x, radius=0)

    x = torch.rand(1, 3, 9, 9)
    runtime = Runtime(Layerwise(Overflows()), CPU, Precision(torch.bfloat16), in_pieces=True)
    with pytest.warns(UserWarning, match="computed again in float32"):
        out = runtime(x)
    with torch.inference_mode():
        torch.testing.assert_close(out, net(x), atol=1e-5, rtol=0)


class Own(torch.nn.Module):
    """A network of one's own that is nothing but its steps."""

    def __init__(self, *steps):
        super().__init__()
        self.listed, self.somewhere = steps, torch.nn.Parameter(torch.zeros(1))

    def steps(self):
        return self.listed


@torch.inference_mode()
def test_a_step_that_changes_nothing_but_values_leaves_the_picture_alone():
    x = torch.rand(1, 3, 9, 9).to(memory_format=torch.channels_last)
    before = x.clone()
    out = Layerwise(Own(Local(lambda tile: tile / 2, 0)))(x)
    torch.testing.assert_close(out, before / 2)
    assert torch.equal(x, before)


@torch.inference_mode()
def test_a_step_to_float32_is_not_rounded_to_what_was_before():
    steps = Local(lambda x: x.repeat(1, 2, 1, 1).bfloat16(), 0), Local(lambda x: x.float() / 3, 0)
    x = torch.rand(1, 3, 9, 9)
    wanted = x.repeat(1, 2, 1, 1).bfloat16().float() / 3
    assert torch.equal(Layerwise(Own(*steps))(x), wanted)


def test_another_default_device_changes_nothing(make_small, rng):
    img = rng.random((9, 12, 3), np.float32)
    wanted = make_small(layerwise=True)(img)
    with torch.device("meta"):
        given = make_small(layerwise=True)(img)
    np.testing.assert_array_equal(given, wanted)


@pytest.mark.parametrize("count", [1, 3])
@torch.inference_mode()
def test_all_is_told_to_be_done_with_the_last_tile_and_not_before(count):
    net, told, before = network(), [], []
    net.fine.conv_last.register_forward_hook(lambda *_: before.append(told[-1]))
    with Tally(lambda done, _: told.append(done), 10**6).during(10**6):
        Layerwise(net, band=16, length=24)(torch.rand(count, 3, 12, 15))
    assert told[-1] == pytest.approx(10**6, abs=10)
    assert before[-1] < 0.999e6


# ------------------------------------------------------------------- when it is used


def said(word, words, fails=()):
    def apply(batch, inside=None):
        words.append(word)
        if len(batch) in fails:
            raise MemoryError("full")
        return batch

    return apply


def test_large_pictures_go_layer_by_layer():
    words = []
    apply = partial(large_layerwise, said("whole", words), said("layers", words), 4, limit=1600)
    apply(torch.zeros(8, 3, 10, 10))
    apply(torch.zeros(1, 3, 10, 11))
    assert words == ["whole", "layers"]


def test_full_memory_goes_layer_by_layer_once_a_batch_is_one_picture():
    words = []
    apply = partial(large_layerwise, said("whole", words, (1, 2)), said("layers", words), 4)
    with pytest.raises(MemoryError):
        apply(torch.zeros(2, 3, 10, 10))
    apply(torch.zeros(1, 3, 10, 10))
    assert words == ["whole", "whole", "layers"]


def test_cisrnet_does_so_by_itself_and_others_do_not(make_small, tiny_weights, rng, monkeypatch):
    calls, forward = [], Layerwise.forward
    monkeypatch.setattr(
        Layerwise, "forward", lambda self, x: calls.append(x.shape) or forward(self, x)
    )
    large = np.zeros((363, 363, 3), np.uint8)  # just above 2**21 px at x4
    monkeypatch.setattr(CISRNet, "steps", lambda _: [Local(_repeats, 0, 4)])
    make_small()(large)
    assert calls == [(1, 3, 363, 363)]
    make_small()(large[:300, :300])
    make_small(layerwise=False)(large[:30, :30])
    Enhancer("tiny-pooled", weights=tiny_weights, device="cpu")(large[:9])
    assert len(calls) == 1
    make_small(layerwise=True)(large[:9, :9])
    assert len(calls) == 2


def _repeats(x):
    return x.repeat_interleave(4, -2).repeat_interleave(4, -1)


# ------------------------------------------------------------------- memory


@torch.inference_mode()
def test_tiles_on_the_device_do_not_grow_with_the_picture():
    """What reaches a layer of the network is on the device; all else is on the host."""
    net, shapes = network(), []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(lambda _, x: shapes.append(x[0].shape[-2:]))
    for size in ((30, 40), (60, 80)):
        Layerwise(net, band=16, length=24)(torch.rand(1, 3, *size))
        assert max(map(math.prod, shapes)) <= 4 * 4 * (16 // 4 + 8) * (24 // 4 + 8)
        assert max(math.prod(s) for s in shapes) < 16 * math.prod(size) / 1.5
        shapes.clear()


@torch.inference_mode()
def test_the_host_holds_two_maps():
    height, width = 60, 32
    net, x = network(), torch.rand(1, 3, height, width)
    with LiveMemory() as layers:
        Layerwise(net, band=16, length=24)(x)
    with LiveMemory() as whole:
        net(x)
    one_map = 16 * height * width * 8 * 4
    assert 2 * one_map < layers.peak < 4 * one_map
    assert whole.peak > 5 * one_map


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_maps_in_files_give_the_same_answer_and_leave_nothing(make_small, rng, tmp_path, dtype):
    img = rng.random((21, 34, 3), np.float32)
    folder = tmp_path / "new" / "maps"
    options = {"layerwise": True, "dtype": dtype}
    in_files = pickle.loads(pickle.dumps(make_small(map_folder=folder, **options)))
    np.testing.assert_array_equal(in_files(img), make_small(**options)(img))
    assert not list(folder.iterdir())


@torch.inference_mode()
def test_the_host_s_memory_holds_no_map_of_those_in_files(tmp_path):
    height, width = 120, 32
    with LiveMemory() as memory:
        layers = Layerwise(network(), band=8, length=24, make_map=partial(maps.in_files, tmp_path))
        layers(torch.rand(1, 3, height, width))
    assert memory.peak < 16 * height * width * 8 * 4, "one map"


def test_pictures_that_go_layer_by_layer_of_themselves_use_the_folder_too(
    make_small, rng, tmp_path, monkeypatch
):
    made, fill = [], maps._fill
    monkeypatch.setattr(maps, "_fill", lambda *a: made.append(a) or fill(*a))
    monkeypatch.setattr(CISRNet, "forward", out_of_memory)
    make_small(map_folder=tmp_path)(rng.random((5, 6, 3), np.float32))
    assert made


def test_where_the_host_has_no_memory_for_maps_a_folder_is_advised(make_small, rng, monkeypatch):
    monkeypatch.setattr(Layerwise, "forward", out_of_memory)
    with pytest.raises(DeviceMemoryError, match="choose a map_folder= on a disk"):
        make_small(layerwise=True)(rng.random((5, 6, 3), np.float32))


def out_of_memory(*_):
    raise MemoryError


def test_a_full_disk_is_a_sentence(make_small, rng, tmp_path, monkeypatch):
    enhance = make_small(layerwise=True, map_folder=tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(maps, "_fill", full)
    with pytest.raises(OutputError, match=r"Cannot keep .* GB .*No space left.*another folder"):
        enhance(rng.random((5, 6, 3), np.float32))


def test_a_folder_that_cannot_be_is_named_with_the_room_that_it_was_to_have(tmp_path):
    (tmp_path / "taken").touch()
    folder = tmp_path / "taken"
    with pytest.raises(OutputError, match=r"Cannot keep 10\.0 GB of feature maps in .*taken"):
        maps.in_files(folder, (1, 1, 50_000, 50_000), torch.float32)


def test_maps_stay_in_their_folder_wherever_the_program_goes(
    make_small, rng, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    enhance = make_small(layerwise=True, map_folder="maps")
    (tmp_path / "maps").rmdir()  # as who clears a disk does
    monkeypatch.chdir("/")
    enhance(rng.random((5, 6, 3), np.float32))
    assert (tmp_path / "maps").is_dir()


@pytest.mark.parametrize("call", ["posix_fallocate", "write"])
def test_a_file_has_its_place_on_the_disk_before_it_is_used(tmp_path, monkeypatch, call):
    if call == "write":
        monkeypatch.delattr(maps.os, "posix_fallocate", raising=False)
    with (tmp_path / "file").open("wb") as file:
        maps._fill(file.fileno(), 2**20 + 5)
    found = (tmp_path / "file").stat()
    assert found.st_size == 2**20 + 5
    assert 512 * found.st_blocks >= found.st_size


@pytest.mark.parametrize("option", ["map_folder", "layerwise"])
def test_going_layer_by_layer_is_refused_where_a_network_cannot(tmp_path, option):
    value = {"map_folder": tmp_path / "maps", "layerwise": True}[option]
    sentence = rf"{option} is for networks that .* which cajnn-light x4 cannot; leave it out\."
    with pytest.raises(OptionError, match=sentence):
        Enhancer(device="cpu", **{option: value})
    assert not (tmp_path / "maps").exists()
    assert Enhancer(device="cpu", layerwise=False).scale == 4


def test_a_folder_for_maps_that_there_will_not_be_is_refused(tmp_path):
    with pytest.raises(OptionError, match="layerwise=False says that none does; leave one of them"):
        Enhancer("cisrnet-light", device="cpu", layerwise=False, map_folder=tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


class InTwoHalvesAndSteps(torch.nn.Module, Splittable, Stepwise):
    """Doubles by repeating px: in steps, or in halves, and remembers which."""

    tail_radius = 0

    def __init__(self):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(()))
        self.seen = set()

    def extract(self, x):
        self.seen.add("halves")
        return x

    def upsample(self, features, x):  # noqa: ARG002
        return self._doubled(features)

    def steps(self):
        self.seen.add("steps")
        return [Local(self._doubled, radius=0, scale=2)]

    def _doubled(self, x):
        return x.repeat_interleave(2, -2).repeat_interleave(2, -1)


@pytest.mark.parametrize(
    ("layerwise", "seen"), [(True, {"steps"}), (False, {"halves"}), (None, {"halves"})]
)
def test_a_network_in_halves_may_go_layer_by_layer_too(layerwise, seen):
    network, device = InTwoHalvesAndSteps(), torch.device("cpu")
    run = assemble(
        network,
        find("cisrnet-light", 2),
        device,
        Precision(torch.float32),
        layerwise=layerwise,
        fast=False,
    )
    batch = torch.rand(1, 3, 5, 7)
    assert torch.equal(run(batch, None)[..., ::2, 1::2], batch)
    assert network.seen == seen


@torch.inference_mode()
def test_a_tile_of_the_real_network_is_small_on_the_device():
    """On the meta device, in float32: the step with the most memory, at its real size."""
    with torch.device("meta"):
        steps = find("cisrnet", 4).build().steps()

    def tile(step, radius):
        scale = getattr(step, "scale", 1)
        size = (BAND // scale + 2 * radius, LENGTH // scale + 2 * radius)
        return torch.empty(1, 96, *size, device="meta")

    pooled = next(step for step in steps if isinstance(step, PooledStep))
    enlarging = next(step for step in steps if isinstance(step, Local) and step.scale > 1)
    with LiveMemory() as memory:
        x = tile(pooled, pooled.radius + pooled.merge_radius)
        pooled.merge(x, pooled.extract(x), torch.empty(1, 96, 1, 1, device="meta"))
    assert memory.peak < 0.6 * 2**30
    with LiveMemory() as memory:
        enlarging.apply(tile(enlarging, enlarging.radius), tile(enlarging, enlarging.radius))
    assert memory.peak < 0.6 * 2**30
