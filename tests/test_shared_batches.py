"""Pictures of a list share batches, and each gets what it gets alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Tiny, batches
from PIL import Image
from sample_pictures import smooth

from preproc import Enhancer
from preproc.execution.runtime import Precision, Runtime
from preproc.execution.stacking import stack
from preproc.networks import ModelDescriptor, find, register
from preproc.networks.cajnn import CAJNN
from preproc.networks.inference import Compilable
from preproc.networks.masking import install_masks


def test_a_list_of_mixed_kinds_and_sizes_gives_what_each_gives_alone(make, rng):
    arrays = [(smooth(rng, h, w) * 255).astype(np.uint8) for h, w in ((30, 97), (32, 100), (7, 9))]
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
    crops = [smooth(rng, h, w) for h, w in ((25, 97), (32, 100), (29, 104), (30, 98))]
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
    runtime = Runtime(network, torch.device("cpu"), Precision(torch.float32))
    crops = [torch.rand(3, h, w) for h, w in ((9, 12), (7, 15), (10, 10))]
    together = runtime(*stack(crops))
    for one, crop in zip(together, crops, strict=True):
        alone = runtime(crop[None])[0]
        torch.testing.assert_close(
            one[:, : alone.shape[1], : alone.shape[2]], alone, atol=1e-5, rtol=0
        )


class Compiles(Tiny, Compilable):
    """The same, with blocks that are compiled at once, since there are none."""

    def compile_blocks(self):
        pass


def test_once_compiled_pictures_of_different_sizes_share_no_batch(tiny_weights, rng, monkeypatch):
    register(ModelDescriptor("compiles", 4, Compiles, 3704, 3672, overlap=3, maskable=True))
    shapes = batches(monkeypatch)
    enhance = Enhancer("compiles", weights=tiny_weights, device="cpu", compiled=True)
    enhance([smooth(rng, h, w) for h, w in ((25, 97), (32, 100))])
    assert shapes == [(1, 3, 25, 97), (1, 3, 32, 100)]


class Averages(Tiny):
    """The same, but px mix outside of its convolutions, too, as they may in a network of yours."""

    def forward(self, x):
        return super().forward(F.avg_pool2d(x, 5, 1, 2))


def test_a_network_of_your_own_gives_each_picture_of_a_list_what_it_gives_alone(tiny_weights, rng):
    register(ModelDescriptor("averages", 4, Averages, 3704, 3672, overlap=8))
    enhancer = Enhancer("averages", weights=tiny_weights, device="cpu", dtype="float32")
    crops = [smooth(rng, h, w) for h, w in ((25, 97), (32, 100))]
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


def test_no_more_pictures_share_a_batch_than_asked_for(make, rng, monkeypatch):
    shapes = batches(monkeypatch)
    make(batch_size=2)([smooth(rng, 9, 12) for _ in range(5)])
    assert [shape[0] for shape in shapes] == [2, 2, 1]


def test_a_network_that_pools_is_never_given_padding(tiny_weights, rng, monkeypatch):
    shapes = batches(monkeypatch)
    crops = [smooth(rng, h, w) for h, w in ((25, 97), (32, 100), (25, 97))]
    Enhancer("tiny-pooled", weights=tiny_weights, device="cpu")(crops)
    assert shapes == [(2, 3, 25, 97), (1, 3, 32, 100)]


def test_a_list_of_all_kinds_of_samples_gives_each_what_it_gives_alone(make, rng):
    floats = smooth(rng, 24, 24).astype(np.float32)
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
