from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiled_difference
from live_memory import LiveMemory

from preproc import Enhancer
from preproc.errors import WeightsError
from preproc.execution.runtime import Precision, Runtime
from preproc.execution.sizes import GPU
from preproc.execution.stacking import stack
from preproc.execution.strips import Strips
from preproc.execution.tiling import TilePolicy
from preproc.networks import SizeRule, find, register
from preproc.networks.cajnn import CAJNN
from preproc.networks.halves import Splittable
from preproc.networks.masking import install_masks, masked
from preproc.networks.registry import ModelDescriptor
from preproc.resize import imresize
from preproc.weights import save_state


@pytest.fixture(scope="module")
def small():
    """CAJNN with all its layers and few channels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CAJNN(features=8, growth=4, blocks=1).eval()


@pytest.fixture(scope="module")
def make_small(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_state(path, small.state_dict(), torch.float32)
    register(
        ModelDescriptor("small-cajnn-strips", 4, lambda: CAJNN(4, 8, 4, 1), 0, 1, overlap=22),
        replace=True,
    )

    def make(**options):
        options = {"device": "cpu", "dtype": "float32"} | options
        return Enhancer("small-cajnn-strips", weights=path, **options)

    return make


# ------------------------------------------------------------------- the same answer


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"upsampling": "upconvolution"}, {"tail": "literal"}, {"long_skip": False}],
    ids=str,
)
@torch.inference_mode()
def test_strips_are_the_whole_tail(scale, options):
    torch.manual_seed(0)
    network = CAJNN(scale, 8, 4, 1, **options)
    x = torch.rand(2, 3, 61, 23)
    whole, strips = network(x), Strips(network, pixels=1)
    assert isinstance(network, Splittable)
    assert len(strips.rows(2, 61, 23)) > 2
    torch.testing.assert_close(strips(x), whole, atol=1e-5, rtol=0)
    shrunk = Strips(network, shrink=True, pixels=1)(x)
    torch.testing.assert_close(shrunk, imresize(whole, size=(61, 23)), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_strip_with_one_neighbour_less_would_show(small):
    x, strips = torch.rand(1, 3, 61, 23), Strips(small, pixels=1)
    strips.network.tail_radius -= 1
    try:
        assert (strips(x) - small(x)).abs().max() > 1e-3
    finally:
        strips.network.tail_radius += 1


@torch.inference_mode()
def test_pictures_of_different_sizes_keep_their_own_edges_in_strips(small):
    crops = [torch.rand(3, 50, 20), torch.rand(3, 41, 23)]
    install_masks(small)
    runtime = Runtime(
        Strips(small, shrink=True, pixels=1), torch.device("cpu"), Precision(torch.float32)
    )
    together = runtime(*stack(crops))
    with masked(None):
        for one, crop in zip(together, crops, strict=True):
            alone = small(crop[None])[0]
            own = one[:, : alone.shape[1], : alone.shape[2]]
            torch.testing.assert_close(own, alone, atol=1e-5, rtol=0)


def test_a_thread_does_not_see_the_pictures_of_another(small):
    install_masks(small)
    x = torch.rand(1, 3, 9, 9)
    with torch.inference_mode(), ThreadPoolExecutor(1) as other:
        alone = small(x)
        with masked(torch.zeros(1, 1, 9, 9)):
            beside = other.submit(torch.inference_mode()(small), x).result()
            assert not torch.equal(small(x), alone)
    assert torch.equal(beside, alone)


@pytest.mark.parametrize("model", ["tiny", "small"])
@pytest.mark.parametrize("size", [(1, 1), (9, 70), (150, 131)])
@pytest.mark.parametrize("tile", [0, 70])
def test_returned_in_strips_is_returned_at_once(make, make_small, rng, model, size, tile):
    new = make if model == "tiny" else make_small
    array = rng.random((*size, 3), np.float32)
    fused, plain = (new(to_input_size=True, tile=tile, strips=s)(array) for s in (True, False))
    assert fused.shape == plain.shape == array.shape
    np.testing.assert_allclose(fused, plain, atol=2e-6)


@pytest.mark.parametrize("facts", [{"border": 4}, {"size": SizeRule(6, 4)}], ids=str)
def test_what_is_added_around_a_picture_is_gone_before_it_is_shrunk(small, rng, tmp_path, facts):
    register(
        ModelDescriptor("added-strips", 4, lambda: CAJNN(4, 8, 4, 1), 0, 1, overlap=22, **facts),
        replace=True,
    )
    save_state(tmp_path / "w.safetensors", small.state_dict(), torch.float32)
    array = rng.random((33, 41, 3), np.float32)
    fused, plain = (
        Enhancer(
            "added-strips",
            weights=tmp_path / "w.safetensors",
            device="cpu",
            dtype="float32",
            to_input_size=True,
            strips=strips,
        )(array)
        for strips in (True, False)
    )
    np.testing.assert_allclose(fused, plain, atol=2e-6)


def test_tiles_that_are_shrunk_have_the_context_of_the_bicubic_window(make, rng):
    def new(**options):
        return make(to_input_size=True, **options)

    assert tiled_difference(new, rng.random((150, 131, 3), np.float32), tile=50, overlap=3) < 1e-3


@pytest.mark.parametrize("options", [{"self_ensemble": True}, {"channel_order": "bgr"}])
def test_other_options_do_not_care(make_small, rng, options):
    array = rng.random((33, 40, 3), np.float32)
    fused, plain = (
        make_small(to_input_size=True, strips=s, **options)(array) for s in (True, False)
    )
    np.testing.assert_allclose(fused, plain, atol=2e-6)


def test_a_list_grey_alpha_and_padded_sizes_return_alike(make, tiny_weights, rng):
    pictures = [
        rng.integers(0, 256, (20, 30, 3), np.uint8),
        rng.integers(0, 256, (23, 31), np.uint8),
        rng.integers(0, 256, (24, 32, 4), np.uint8),
        rng.integers(0, 65536, (21, 29, 3)).astype(np.uint16),
    ]
    for model in ("tiny", "tiny-even", "tiny-pooled"):
        fused, plain = (
            Enhancer(
                model,
                weights=tiny_weights,
                device="cpu",
                dtype="float32",
                to_input_size=True,
                strips=strips,
            )(pictures)
            for strips in (True, False)
        )
        for one, other in zip(fused, plain, strict=True):
            assert one.dtype == other.dtype
            assert np.abs(one.astype(int) - other.astype(int)).max() <= 1, model


@pytest.mark.parametrize("model", ["cajnn-light"])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_trained_weights_keep_the_answer_within_one_level(rng, model, to_input_size):
    array = rng.integers(0, 256, (150, 120, 3), np.uint8)
    options = {"device": "cpu", "dtype": "float32", "to_input_size": to_input_size}
    try:
        fused = Enhancer(model, tile=128, **options)(array)
    except WeightsError as error:
        pytest.skip(f"the weights of {model} are not there yet: {error}")
    plain = Enhancer(model, tile=128, strips=False, **options)(array)
    assert np.abs(fused.astype(int) - plain.astype(int)).max() <= 1


# ------------------------------------------------------------------- memory


@pytest.mark.parametrize("model", ["cajnn", "cajnn-light"])
def test_a_tile_of_the_real_networks_needs_what_its_trunk_needs(model):
    """On the meta device, in float32: real sizes at no cost."""
    with torch.device("meta"):
        network = find(model).build()
        x = torch.empty(1, 3, GPU.tile, GPU.tile)
    peaks = {}
    ways = {"trunk": network.extract, "strips": Strips(network), "at once": network}
    for name, way in ways.items():
        with torch.inference_mode(), LiveMemory() as memory:
            way(x)
        peaks[name] = memory.peak
    assert peaks["strips"] == peaks["trunk"] < peaks["at once"] / 4


def test_a_strip_of_several_pictures_holds_no_more_px_than_that_of_one(small):
    strips = Strips(small, pixels=2**12)
    for count in (1, 4):
        rows = max(span.core_stop - span.core_start for span in strips.rows(count, 256, 64))
        assert count * rows * 64 < 1.2 * 2**12


def pictures_made(memory):
    """Values in the largest tensor of three channels."""
    return max(math.prod(shape) for shape in memory.shapes if len(shape) > 2 and shape[-3] == 3)


@pytest.mark.parametrize("tile", [0, 160])
@torch.inference_mode()
def test_the_enlarged_picture_is_never_whole(make_small, rng, tile):
    array = rng.random((300, 200, 3), np.float32)
    largest = {}
    for strips in (False, True):
        enhancer = make_small(to_input_size=True, tile=tile, batch_size=1, strips=strips)
        with LiveMemory() as memory:
            enhancer(array)
        largest[strips] = pictures_made(memory)
    assert largest[False] == 16 * array.size
    assert largest[True] < 0.6 * 16 * array.size


def test_no_tensor_is_larger_than_a_tile_allows_however_large_the_picture(make_small, rng):
    enhancer = make_small(to_input_size=True, tile=100, batch_size=1)
    for height in (200, 400):
        array = rng.random((height, 100, 3), np.float32)
        with LiveMemory() as memory:
            enhancer(array)
        assert max(map(math.prod, memory.shapes)) <= 100 * 100 * 16 * 8, "8 channels of a tile x4"


_CHILD = """
    import sys
    from pathlib import Path
    import numpy as np, torch
    from torch import nn
    from preproc import Enhancer, register
    from preproc.networks import ModelDescriptor
    from preproc.weights import save_state

    class Repeats(nn.Module):
        "Enlarges without computing, so that a large picture takes seconds."
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))
        def forward(self, x):
            return torch.repeat_interleave(torch.repeat_interleave(x, 4, -2), 4, -1)

    def status(key):
        "Bytes; the peak of getrusage would be the parent's, where that was higher."
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])

    register(ModelDescriptor("repeats", 4, Repeats, 1, 1))
    save_state(sys.argv[1], Repeats().state_dict(), torch.float32)
    small = np.zeros((64, 64, 3), np.uint8)
    img = np.full((1400, 1400, 3), (76, 77, 78), np.uint8)  # grey would be a third
    for strips in (True, False):  # the peak only ever rises
        enhancer = Enhancer("repeats", weights=sys.argv[1], to_input_size=True, device="cpu",
                            dtype="float32", strips=strips, tile=256, batch_size=1)
        enhancer(small)
        before = status("VmRSS")
        out = enhancer(img)
        assert (out[::100, ::100] == (76, 77, 78)).all()
        print(status("VmHWM") - before - out.nbytes)  # the peak, less what was there
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_host_memory_above_input_and_output_does_not_grow_with_the_picture(tmp_path):
    """Peak resident memory of a process, less the arrays in and out."""
    command = [sys.executable, "-c", textwrap.dedent(_CHILD), str(tmp_path / "w.safetensors")]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    strips, at_once = map(int, done.stdout.split())
    assert strips < 128 * 2**20
    assert at_once > 16 * 3 * 4 * 1400**2 - 128 * 2**20, "the enlarged picture in float32"


# ------------------------------------------------------------------- cost


@pytest.mark.parametrize("shrinks", [False, True])
def test_cost_grows_in_a_straight_line_with_pixels(shrinks):
    """From 0.25 to 64 Mpx, of all shapes, no px is computed more than 1.5 times."""
    policy = TilePolicy(512, 34 if shrinks else 32)
    costs = []
    for megapixels in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
        for ratio in (1, 4 / 3, 16 / 9, 3):
            height = round((megapixels * 1e6 / ratio) ** 0.5)
            width = round(height * ratio)
            costs.append(policy.pixels(height, width) / (height * width))
    assert max(costs) < 1.5
    assert min(costs[-4:]) > 1.25, "the limit for large pictures is (512 / 448)**2 = 1.31"
    assert max(costs[-4:]) < 1.4


def test_strips_compute_little_twice():
    strips = Strips(find("cajnn-light").build(), shrink=True)
    rows = strips.rows(1, 512, 512)
    assert sum(span.length for span in rows) < 1.15 * 512
    assert [rows[0].core_start, rows[-1].core_stop] == [0, 512]
