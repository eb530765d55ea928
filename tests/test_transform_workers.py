"""Transforms go to the workers of a DataLoader, and give there what they give anywhere."""

from __future__ import annotations

import pickle

import pytest
import torch
from conftest import chw

import preproc
from preproc.errors import PreprocError
from preproc.manifest import entries
from preproc.networks import registry

pytest.importorskip("torchvision", reason="torchvision is not installed")


class Pictures(torch.utils.data.Dataset):
    """Four pictures through a transform."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.transform(torch.full((3, 8, 8), 60 * index, dtype=torch.uint8))


def load(transform, context):
    loader = torch.utils.data.DataLoader(
        Pictures(transform), batch_size=2, num_workers=1, multiprocessing_context=context
    )
    return torch.cat(list(loader))


def directly(transform):
    return torch.stack([Pictures(transform)[n] for n in range(4)])


def test_workers_give_what_the_main_process_gives(transform):
    enhance = transform()
    expected = directly(enhance)  # the network is loaded already when the worker is forked
    assert torch.equal(load(enhance, "fork"), expected)


@pytest.mark.parametrize("name", sorted({entry.model for entry in entries().values()}))
def test_shipped_models_go_to_workers(name):
    scale = min(entry.scale for entry in entries().values() if entry.model == name)
    enhance = preproc.EnhanceTransform(name, scale=scale, device="cpu")
    assert pickle.loads(pickle.dumps(enhance)).model == name


def test_what_is_pickled_is_a_description(transform, tiny_weights, picture):
    enhance = transform()
    before = enhance(chw(picture))
    data = pickle.dumps(enhance)
    assert len(data) < tiny_weights.stat().st_size / 4
    assert torch.equal(pickle.loads(data)(chw(picture)), before)


def test_a_spawned_worker_builds_its_own(transform):
    assert torch.equal(load(transform(), "spawn"), directly(transform()))


def test_a_network_of_your_own_comes_along_to_a_process_that_does_not_know_it(
    transform, picture, monkeypatch
):
    enhance = transform()
    sent, expected = pickle.dumps(enhance), enhance(chw(picture))
    others = {key: one for key, one in registry._registry.items() if key[0] != "tiny"}
    monkeypatch.setattr(registry, "_registry", others)
    assert torch.equal(pickle.loads(sent)(chw(picture)), expected)


def test_in_a_worker_cuda_is_refused_in_one_sentence(tiny_weights):
    enhance = preproc.EnhanceTransform("tiny", weights=tiny_weights, device="cuda")
    with pytest.raises(PreprocError, match=r"on cuda, which cannot be used in a DataLoader worker"):
        load(enhance, "fork")


def test_in_a_worker_the_cpu_takes_over_when_told_to(transform, tiny_weights):
    enhance = preproc.EnhanceTransform(
        "tiny", weights=tiny_weights, device="cuda", in_worker="cpu", dtype="float32"
    )
    assert torch.equal(load(enhance, "fork"), directly(transform()))


def test_a_filled_cache_lets_workers_go_without_the_device(transform, tiny_weights, tmp_path):
    expected = directly(transform(cache=tmp_path))
    on_cuda = preproc.EnhanceTransform(
        "tiny", weights=tiny_weights, device="cuda", dtype="float32", cache=tmp_path
    )
    assert torch.equal(load(on_cuda, "fork"), expected)
