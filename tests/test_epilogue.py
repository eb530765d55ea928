"""An epilogue in one pass gives what several give; interpreted, without a GPU."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch

from preproc.networks.convolution import Conv2d
from preproc.networks.epilogue import can_fuse_epilogue
from preproc.networks.trial import triton_works

PRELUDE = """
import torch
from torch.nn import functional as F
from preproc.networks import convolution
from preproc.networks.blocks import SubPixel
from preproc.networks.convolution import Conv2d, ResidualConv2d
from preproc.networks.epilogue import fused_epilogue
from preproc.networks.inference import inference_form

torch.manual_seed(0)
"""

VALUES = """
# A row of 1, one of less than a block of values, and one of more.
for count, channels, height, width in ((1, 16, 1, 1), (2, 32, 3, 5), (1, 48, 2, 130)):
    sums, skip = torch.randn(2, count, channels, height, width).half()
    bias = torch.randn(channels).half()
    plain = sums.float() + bias.float().view(-1, 1, 1)
    for given, wanted in (
        (fused_epilogue(sums.clone()), sums.float()),
        (fused_epilogue(sums.clone(), bias), plain),
        (fused_epilogue(sums.clone(), bias, slope=0.1), F.leaky_relu(plain, 0.1)),
        (fused_epilogue(sums.clone(), bias, slope=0.0), F.relu(plain)),
        (fused_epilogue(sums.clone(), bias, skip=skip), plain + skip.float()),
    ):
        assert given.shape == sums.shape
        assert torch.equal(given, wanted.half())
    sums = sums.to(memory_format=torch.channels_last)
    assert fused_epilogue(sums, bias).data_ptr() == sums.data_ptr(), "what can be in place is"
    whole = torch.full((count, height, 3, width, channels), 7.0).half()
    place = whole[:, :, 1].permute(0, 3, 1, 2)
    assert fused_epilogue(sums, slope=0.5, out=place).data_ptr() == place.data_ptr()
    assert torch.equal(place, F.leaky_relu(sums, 0.5))
    assert (whole[:, :, ::2] == 7).all(), "rows between were overwritten"
"""

LAYERS = """
calls = []

def counted(*arguments, **options):
    calls.append(options)
    return fused_epilogue(*arguments, **options)

convolution.fused_epilogue = counted
Conv2d._fuses_epilogue_for = lambda self, input: self._fuses_epilogue  # though it is not on a GPU
for layer, inputs in (
    (Conv2d(16, 32, slope=0.1), 1),
    (Conv2d(16, 32, dilation=3, bias=False, slope=0.0), 1),
    (ResidualConv2d(16, 16, scale=0.2), 2),
    (SubPixel(16, 2, slope=0.1), 1),
    (SubPixel(16, 3), 1),
):
    x = [torch.randn(2, 16, 6, 7).to(memory_format=torch.channels_last) for _ in range(inputs)]
    plain = inference_form(layer, torch.float32)
    assert not calls
    convolution.can_fuse_epilogue = lambda weight: len(weight) % 16 == 0
    fused = inference_form(layer, torch.float32)
    convolution.can_fuse_epilogue = lambda weight: False
    torch.testing.assert_close(fused(*x), plain(*x))
    assert len(calls) == (layer.shuffle.upscale_factor if isinstance(layer, SubPixel) else 1)
    calls.clear()
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton for this system")
@pytest.mark.parametrize("program", [VALUES, LAYERS], ids=["values", "layers"])
def test_one_pass_gives_what_several_give(program):
    # Whether kernels are interpreted is read when they are defined.
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-W", "ignore", "-c", PRELUDE + program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("error", [None, AssertionError, ImportError, OSError, RuntimeError])
def test_kernels_that_fail_in_a_trial_are_not_used_and_the_log_says_so(monkeypatch, caplog, error):
    pytest.importorskip("triton", reason="there is no Triton for this system")
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)

    def trial():
        if error is not None:
            raise error("libcuda.so cannot found!")

    with caplog.at_level(logging.INFO, "preproc.networks.trial"):
        assert triton_works("Kernels run", torch.device("cuda", 0), trial) == (error is None)
    assert ("libcuda.so" in caplog.text) == (error is not None)


def test_only_gpus_have_it():
    conv = Conv2d(16, 16)
    conv.prepare(torch.float32)
    assert not can_fuse_epilogue(conv.weight)
    assert not can_fuse_epilogue(conv.to("meta").weight)


def test_a_result_goes_where_it_is_to_go():
    conv = Conv2d(3, 4, slope=0.1)
    x = torch.rand(1, 3, 5, 6)
    whole = torch.zeros(1, 5, 2, 6, 4)
    place = whole[:, :, 1].permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert conv(x, place).data_ptr() == place.data_ptr()
        torch.testing.assert_close(place, conv(x))
    assert not whole[:, :, 0].any()
