"""Memory that is full costs time and not the picture, or is told of in a sentence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import Tiny
from sample_pictures import smooth

from preproc import Enhancer
from preproc.errors import DeviceMemoryError
from preproc.execution import ensemble


def test_full_memory_gives_the_same_picture_from_smaller_tiles(make, rng, monkeypatch):
    array, forward, refused = smooth(rng, 150, 131), Tiny.forward, []
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
    array, turned, refused = smooth(rng, 90, 80), ensemble._turned, []
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
