"""The dense block's kernels have its answer; without a GPU, Triton's interpreter runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from preproc.execution.strips import Strips
from preproc.networks import cajnn, dense
from preproc.networks.cajnn import CAJNN, RRDB, DenseBlock
from preproc.networks.dense import can_fuse
from preproc.networks.inference import inference_form

COMPARE = """
import torch
from preproc.networks.cajnn import DenseBlock, RESIDUAL_SCALE
from preproc.networks.dense import FusedDense
from preproc.networks.masking import install_masks, masked

torch.manual_seed(0)
features, growth = {features}, {growth}
block = DenseBlock(features, growth).eval().requires_grad_(False)
install_masks(block)
for value in block.parameters():
    value.normal_(0, 0.05 if value.ndim == 4 else 0.2)
fused = FusedDense([*block.convs], RESIDUAL_SCALE, 0.2, torch.float16)
pixel = torch.randn(1, features, 1, 1)
torch.testing.assert_close(fused(pixel.half()).float(), block(pixel), rtol=0, atol=0.01)
# Neither extent is whole tiles; the second picture is smaller than the first.
x, base = torch.randn(2, 2, features, 9, 17)
inside = torch.zeros(2, 1, 9, 17)
inside[0], inside[1, :, :5, :11] = 1, 1
for below, mask in ((None, None), (base, inside)):
    with masked(mask):
        wanted = block(x, None, below)
    halves = [None if one is None else one.half() for one in (below, mask)]
    given = fused(x.half(), *halves)
    assert given.is_contiguous(memory_format=torch.channels_last)
    off = (given.float() - wanted).abs() * (1 if mask is None else mask)
    assert off.max() < 1e-3 * wanted.abs().max(), off.max()
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton for this system")
@pytest.mark.parametrize(("features", "growth"), [(32, 16), (64, 32)])
def test_kernels_give_the_blocks_answer(features, growth):
    program = COMPARE.format(features=features, growth=growth)
    # Whether kernels are interpreted is read when they are defined.
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_kernels_are_for_gpus_and_short_dtypes_only():
    convs = [*DenseBlock(32, 16).convs]
    assert not can_fuse(convs, torch.bfloat16)
    assert not can_fuse([*DenseBlock(32, 16).to("meta").convs], torch.float32)


@pytest.mark.parametrize(
    ("features", "growth", "fused"),
    [(32, 16, True), (64, 32, True), (64, 16, False), (48, 16, False), (16, 8, False)],
)
def test_kernels_are_for_blocks_of_the_shapes_that_they_are_cut_for(
    monkeypatch, features, growth, fused
):
    monkeypatch.setattr(dense, "_works", lambda *_: True)
    weight = SimpleNamespace(device=torch.device("cuda"))
    first = SimpleNamespace(weight=weight, in_channels=features, out_channels=growth)
    assert can_fuse([first], torch.float16) == fused


class FakeKernels:
    """Stands for the kernels where there is no GPU: an output that shows that they were called."""

    def __init__(self, convs, scale, slope, dtype):
        assert [conv.out_channels for conv in convs] == [16, 16, 16, 16, 32]
        assert (scale, slope, dtype) == (0.2, 0.2, torch.float32)

    def __call__(self, x, base, inside):
        assert inside is None
        return x + 1 if base is None else base + 0.2 * (x + 1)


@pytest.fixture
def fake_kernels(monkeypatch):
    monkeypatch.setattr(cajnn, "can_fuse", lambda *_: True)
    monkeypatch.setattr(cajnn, "FusedDense", FakeKernels)


def test_the_form_for_inference_runs_the_kernels_where_they_can_be_had(fake_kernels):
    x = torch.rand(1, 32, 4, 5)
    torch.testing.assert_close(inference_form(RRDB(32, 16), torch.float32)(x), x + 0.2 * (x + 3))


def test_a_compiler_gets_the_layers_not_the_kernels(fake_kernels):
    network = CAJNN(4, 32, 16, 2).requires_grad_(False)
    form = inference_form(Strips(network), torch.float32, compiled=True)
    compiled = [module for module in form.modules() if module._compiled_call_impl]
    assert [type(module) for module in compiled] == [RRDB, RRDB]
    blocks, plain = (
        [module for module in net.modules() if isinstance(module, DenseBlock)]
        for net in (form, network)
    )
    assert len(blocks) == 6
    x = torch.rand(1, 32, 4, 5)
    for block, layers in zip(blocks, plain, strict=True):
        torch.testing.assert_close(block(x), x + 1)
        # The backend leaves what was traced as it is, and needs no C++ compiler.
        traced = torch.compile(block, backend="eager", fullgraph=True)
        torch.testing.assert_close(traced(x), layers(x))
