"""Every fast path gives the plain path's answer, and can be turned off."""

from __future__ import annotations

import copy
import pickle
import shutil

import numpy as np
import pytest
import torch
from conftest import photograph
from PIL import Image
from torch import _dynamo as dynamo
from torch import nn

from preproc import Enhancer
from preproc.errors import OptionError, PrecisionWarning
from preproc.execution.devices import choose_dtype
from preproc.execution.runtime import Precision, Runtime
from preproc.networks.blocks import SubPixel
from preproc.networks.cajnn import CAJNN, RRDB
from preproc.networks.cisrnet import PDAB, SDAB, CISRNet
from preproc.networks.convolution import Conv2d, ResidualConv2d, _has_fused_onednn
from preproc.networks.inference import inference_form
from preproc.networks.precision import Float32Conv2d
from preproc.networks.stacks import Stacks

CPU = torch.device("cpu")
LEVEL = 1 / 255


def small_cajnn(**options) -> CAJNN:
    torch.manual_seed(0)
    return CAJNN(**{"features": 16, "growth": 8, "blocks": 2} | options).eval()


def small_cisrnet() -> CISRNet:
    torch.manual_seed(0)
    return CISRNet(2, 16, 4, 1, coarse_groups=1, fine_groups=1).eval()


@pytest.mark.parametrize("network", [small_cajnn, small_cisrnet])
def test_every_layer_of_the_form_for_inference_is_cast_those_made_for_it_too(network):
    form = inference_form(network(), torch.bfloat16)
    convs = [module for module in form.modules() if isinstance(module, Conv2d)]
    assert any(isinstance(module, SubPixel) and module.rows for module in form.modules())
    assert {conv.weight.dtype for conv in convs} == {torch.bfloat16}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("returned", [False, True])
def test_fast_and_plain_pictures_are_the_same(dtype, returned):
    image = photograph(45, 70).astype(np.float32) / 255
    options = {"device": "cpu", "dtype": dtype, "to_input_size": returned}
    fast = Enhancer("cajnn-light", **options)(image)
    plain = Enhancer("cajnn-light", **options, fast=False, strips=False)(image)
    assert np.abs(fast - plain).max() <= LEVEL


@pytest.mark.parametrize(("options", "as_trained"), [({}, False), ({"fast": False}, True)])
def test_only_switched_off_the_network_runs_as_it_was_trained(options, as_trained):
    runtime = Enhancer("cajnn-light", device="cpu", **options)._apply
    assert isinstance(runtime, Runtime)
    assert (runtime._run.args[0] is runtime._network) == as_trained


@pytest.mark.parametrize("build", [small_cajnn, small_cisrnet])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_form_for_inference_has_the_networks_answer(build, dtype):
    network = build()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.rand(2, 3, 13, 18)
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        plain, fast = network(x), inference_form(network, dtype)(x)
    torch.testing.assert_close(fast, plain, atol=LEVEL if dtype == torch.bfloat16 else 1e-5, rtol=0)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], atol=0, rtol=0)


def test_unchanged_parameters_are_not_copied():
    network = small_cajnn()
    form = inference_form(network, torch.float32)
    assert form is not network
    own = {value.data_ptr() for value in network.parameters()}
    copied = [name for name, value in form.named_parameters() if value.data_ptr() not in own]
    # Reordered for whole px, or multiplied by the scale of a residual.
    assert all(name.startswith("upsampler.") or ".convs.4." in name for name in copied)


needs_fused = pytest.mark.skipif(
    not _has_fused_onednn(torch.float32), reason="no oneDNN on an x86 CPU"
)


@needs_fused
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("slope", [None, 0.0, 0.2])
@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (2, 5, 7, 4)])
def test_a_convolution_gives_the_same_with_what_follows_it_in_one_call(dtype, slope, shape):
    torch.manual_seed(0)
    conv = Conv2d(5, 6, dilation=2, slope=slope).to(dtype)
    x = torch.randn(shape, dtype=dtype)
    with torch.inference_mode():
        plain = conv(x)
        conv.prepare(dtype)
        assert (conv._packed is not None) == _has_fused_onednn(dtype)
        for layout in (torch.contiguous_format, torch.channels_last):
            fused = conv(x.contiguous(memory_format=layout))
            torch.testing.assert_close(fused, plain, rtol=2**-7, atol=1e-3)
    if slope is not None:
        assert (plain < 0).any() == (slope > 0)


@needs_fused
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_residual_is_added_in_one_call_and_nothing_is_overwritten(dtype):
    torch.manual_seed(0)
    conv = ResidualConv2d(5, 6, scale=0.2).to(dtype)
    h, skip = torch.randn(2, 5, 7, 4, dtype=dtype), torch.randn(2, 6, 7, 4, dtype=dtype)
    given = h.clone(), skip.clone()
    wanted = skip + 0.2 * nn.functional.conv2d(h, conv.weight, conv.bias, padding=1)
    with torch.inference_mode():
        plain = conv(h, skip)
        conv.prepare(dtype)
        fused = conv(h, skip)
    for result in (plain, fused):
        torch.testing.assert_close(result, wanted, rtol=2**-7, atol=2**-7)
    torch.testing.assert_close((h, skip), given, rtol=0, atol=0)


def test_without_those_operators_the_layers_are_plain(monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    _has_fused_onednn.cache_clear()
    try:
        conv = Conv2d(3, 4, slope=0.1)
        x = torch.randn(1, 3, 5, 5)
        with torch.inference_mode():
            plain = conv(x)
            conv.prepare(torch.float32)
            assert conv._packed is None
            torch.testing.assert_close(conv(x), plain, rtol=0, atol=0)
    finally:
        _has_fused_onednn.cache_clear()


def test_gradients_reach_both_a_residual_and_its_skip():
    conv = ResidualConv2d(3, 3, scale=0.5)
    h, skip = (torch.randn(1, 3, 4, 4, requires_grad=True) for _ in range(2))
    conv(h, skip).sum().backward()
    torch.testing.assert_close(skip.grad, torch.ones_like(skip))
    assert h.grad.abs().min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_form_for_inference_can_be_copied(dtype):
    form = inference_form(small_cajnn(), dtype)
    x = torch.rand(1, 3, 9, 8)
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        wanted = form(x)
        for copied in (copy.deepcopy(form), pickle.loads(pickle.dumps(form))):
            torch.testing.assert_close(copied(x), wanted, rtol=0, atol=0)
            packed = [(a._packed is None) == (b._packed is None) for a, b in _pairs(form, copied)]
            assert packed
            assert all(packed)


def _pairs(one: nn.Module, other: nn.Module):
    """The convolutions of a network and of its copy."""
    both = zip(one.modules(), other.modules(), strict=True)
    return [(a, b) for a, b in both if isinstance(a, Conv2d)]


def test_networks_without_such_a_form_are_run_as_they_are():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.PixelShuffle(1))
    assert inference_form(network, torch.bfloat16) is network


def test_trunk_is_cast_once_and_the_last_convolution_is_not():
    form = inference_form(small_cajnn(), torch.bfloat16)
    assert form.conv_first.weight.dtype == torch.bfloat16
    assert form.conv_last.weight.dtype == torch.float32


def test_only_a_residual_is_made_of_results_that_are_rounded():
    for long_skip in (True, False):
        form = inference_form(small_cajnn(long_skip=long_skip), torch.bfloat16)
        assert (form.conv_last._parts is not None) == long_skip


@pytest.mark.parametrize("blocks", [1, 3])
def test_dense_blocks_share_two_buffers_with_the_same_answer(blocks):
    torch.manual_seed(0)
    trunk = nn.ModuleList(RRDB(8, 4) for _ in range(blocks)).eval()
    x = torch.randn(2, 8, 7, 5).to(memory_format=torch.channels_last)
    stacks = Stacks(8 + 4 * 4)
    with torch.inference_mode():
        plain, shared = x, x
        for block in trunk:
            plain, shared = block(plain), block(shared, stacks)
    torch.testing.assert_close(shared, plain, atol=1e-6, rtol=0)
    assert shared.is_contiguous(memory_format=torch.channels_last)
    assert {stacks._read.numel(), stacks._write.numel()} == {2 * 7 * 5 * (8 + 4 * 4)}


def test_joined_stacks_are_in_the_buffers():
    stacks = Stacks(12)
    x, grown = torch.rand(1, 8, 3, 4), torch.rand(1, 4, 3, 4)
    joined = stacks.join(x, grown)
    torch.testing.assert_close(joined, torch.cat((x, grown), 1))
    assert joined.untyped_storage().data_ptr() == stacks._read.untyped_storage().data_ptr()


@pytest.mark.parametrize("factor", [2, 3])
def test_whole_rows_are_placed_as_pixel_shuffle_places_them(factor):
    torch.manual_seed(0)
    step = SubPixel(5, factor, 7).eval()
    x = torch.randn(2, 5, 4, 6).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(inference_form(step, torch.float32)(x), step(x))


def test_split_convolution_is_more_exact_than_bfloat16():
    torch.manual_seed(0)
    conv = Float32Conv2d(64, 3)
    h = torch.randn(1, 64, 20, 20).bfloat16()
    with torch.inference_mode():
        exact = conv(h)
        short = nn.functional.conv2d(h, conv.weight.bfloat16(), conv.bias.bfloat16(), padding=1)
        conv.split(torch.bfloat16)
        split = conv(h)
    assert split.dtype == torch.float32
    assert not torch.equal(split, exact), "the split path was not taken"
    assert (split - exact).abs().mean() < 0.8 * (short.float() - exact).abs().mean()
    # Either part is rounded to 8 significant bits; the lower part is 2^-8 of the higher.
    assert ((split - exact).abs() <= 2**-8 * exact.abs() + 2e-3).all()


def test_split_convolution_still_takes_float32_exactly():
    conv = Float32Conv2d(4, 3)
    h = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        exact = conv(h)
        conv.split(torch.bfloat16)
        torch.testing.assert_close(conv(h), exact, atol=0, rtol=0)


def test_pictures_of_several_sizes_share_a_batch_in_the_fast_form():
    enhancer = Enhancer("cajnn-light", device="cpu", dtype="float32")
    crops = [photograph(17, 30), photograph(20, 27)]
    for crop, together in zip(crops, enhancer(crops), strict=True):
        alone = enhancer(Image.fromarray(crop))
        assert np.abs(np.asarray(alone).astype(int) - together.astype(int)).max() <= 1


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler here")
def test_a_compiled_network_has_the_same_answer_and_one_graph_for_blocks_and_sizes():
    network = small_cajnn(blocks=4)
    dynamo.reset()
    dynamo.utils.counters.clear()
    runtime = Runtime(network, CPU, Precision(torch.bfloat16), compiled=True)
    batches = [torch.rand(1, 3, h, w) for h, w in ((24, 20), (17, 31), (30, 22), (25, 40))]
    for batch in batches:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            plain = network(batch.to(memory_format=torch.channels_last))
        torch.testing.assert_close(runtime(batch), plain, atol=LEVEL, rtol=0)
    assert dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize(
    ("model", "blocks"), [("cajnn-light", 4 * [RRDB]), ("cisrnet-light", 32 * [PDAB] + 16 * [SDAB])]
)
def test_repeated_blocks_are_compiled_where_asked_for_and_nowhere_else(monkeypatch, model, blocks):
    found = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: found.append(type(self)))
    Enhancer(model, device="cpu")
    assert not found
    Enhancer(model, device="cpu", compiled=True)
    assert found == blocks


def test_only_the_form_for_inference_is_compiled():
    with pytest.raises(OptionError, match="leave fast=False out"):
        Enhancer(device="cpu", fast=False, compiled=True)


def test_infinite_values_are_computed_again_by_the_network_proper():
    network = small_cajnn()
    runtime = Runtime(network, CPU, Precision(torch.bfloat16))
    with torch.no_grad():
        runtime._run.args[0].conv_hr.bias.fill_(float("nan"))
    x = torch.rand(1, 3, 9, 9)
    with pytest.warns(PrecisionWarning, match="again in float32"):
        retried = runtime(x)
    with torch.inference_mode():
        torch.testing.assert_close(retried, network(x.to(memory_format=torch.channels_last)))


def test_cpus_without_bfloat16_units_take_float32(monkeypatch):
    monkeypatch.setattr("preproc.execution.devices._cpu_features", lambda: {"avx2", "avx512_f"})
    assert choose_dtype(CPU, None, (torch.bfloat16,)) == torch.float32
    monkeypatch.setattr("preproc.execution.devices._cpu_features", lambda: {"avx2", "amx_bf16"})
    assert choose_dtype(CPU, None, (torch.bfloat16,)) == torch.bfloat16
