"""Progress is told of what was asked for, rises, and ends at its total."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from sample_pictures import smooth

from preproc import Enhancer
from preproc.networks import ModelDescriptor, Tiling, register
from preproc.networks.cisrnet import CISRNet
from preproc.weights import save_state


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
    enhancer, array = make(tile=64, batch_size=1, **options), smooth(rng, 150, 131)
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
    array = smooth(rng, 24, 36)
    told = progress_of(lambda progress: enhancer(array, progress=progress))
    assert told[-1][1] == 24 * 36
    assert len(told) > (40 if self_ensemble else 10)
    steps = np.diff([0, *(done for done, _ in told)])
    assert steps.max() < 24 * 36 / 4, "no long silence, and none because all was told too early"


def test_progress_of_a_list_is_that_of_all_its_pictures(make, rng):
    pictures = [smooth(rng, 30, 40), smooth(rng, 50, 20)]
    told = progress_of(lambda progress: make(batch_size=1)(pictures, progress=progress))
    assert [done for done, _ in told] == [1200, 2200]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_progress_raises_ends_the_call(make, rng, error):
    def stop(*_):
        raise error

    with pytest.raises(error):
        make()(smooth(rng, 20, 20), progress=stop)
