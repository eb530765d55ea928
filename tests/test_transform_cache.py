"""A transform's cache spares work, and never gives what another picture, model or option made."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import chw
from PIL import Image
from torch import nn

import preproc
from preproc import Enhancer
from preproc.errors import WeightsError
from preproc.networks import ModelDescriptor, find, register, registry
from preproc.transforms.cache import PictureCache
from preproc.weights import load_network, save_state

pytest.importorskip("torchvision", reason="torchvision is not installed")


@pytest.fixture
def calls(monkeypatch):
    """How many pictures each call of an Enhancer got."""
    seen, plain = [], Enhancer.__call__

    def counted(self, img):
        seen.append(len(img) if isinstance(img, list) else 1)
        return plain(self, img)

    monkeypatch.setattr(Enhancer, "__call__", counted)
    return seen


def test_a_picture_is_enhanced_once_whatever_kind_it_comes_in(transform, tmp_path, calls, picture):
    first = transform(cache=tmp_path)(Image.fromarray(picture))
    again = transform(cache=str(tmp_path))  # of another run
    assert np.array_equal(np.asarray(again(Image.fromarray(picture))), np.asarray(first))
    assert torch.equal(again(chw(picture)), chw(np.asarray(first)))
    assert calls == [1]


def test_a_part_of_a_network_is_told_apart_by_the_weights_of_its_family(
    monkeypatch, tmp_path, tiny_weights, picture
):
    part = replace(find("tiny"), name="tiny-part", part_of="tiny")
    register(part, replace=True)
    entries = {("tiny", 4): SimpleNamespace(sha256="f" * 64)}
    monkeypatch.setattr("preproc.manifest.entry_for", lambda model, scale: entries[model, scale])
    loaded = load_network(part, tiny_weights)
    # By object: another test may have left another module under the name.
    monkeypatch.setitem(Enhancer.__init__.__globals__, "load_network", lambda *_: loaded)
    enhance = preproc.EnhanceTransform("tiny-part", device="cpu", cache=tmp_path)
    assert enhance(chw(picture)).shape == (3, 40, 56)


def test_alpha_and_metadata_are_the_pictures_own_and_not_the_caches(transform, tmp_path, calls):
    enhance = transform(cache=tmp_path)
    opaque = Image.new("RGBA", (8, 8), (9, 99, 199, 255))
    half = Image.new("RGBA", (8, 8), (9, 99, 199, 128))
    half.info["dpi"] = (300, 300)
    assert enhance(opaque).getchannel("A").getextrema() == (255, 255)
    assert enhance(half).getchannel("A").getextrema() == (128, 128)
    assert enhance(half).info["dpi"] == (300, 300)
    assert calls == [1]


def test_other_content_model_weights_and_options_are_told_apart(
    transform, tmp_path, calls, picture, skip_weights, tiny_weights
):
    enhance = partial(transform, cache=tmp_path)
    enhance()(chw(picture))
    enhance()(chw(picture).flip(-1))
    enhance(to_input_size=True)(chw(picture))
    enhance(self_ensemble=True)(chw(picture))
    enhance(strength=0.5)(chw(picture))
    enhance(dtype="bfloat16")(chw(picture))
    enhance(tile=32)(chw(picture))
    enhance(tile=0)(chw(picture))
    enhance(overlap=4)(chw(picture))
    enhance(overlap=0)(chw(picture))
    enhance(weights=skip_weights)(chw(picture))
    like = {"weights": tiny_weights, "device": "cpu", "dtype": "float32", "cache": tmp_path}
    preproc.EnhanceTransform("tiny-pooled", **like)(chw(picture))
    assert len(calls) == 12
    assert len(list(tmp_path.iterdir())) == 12
    # These change nothing of the result: the first entry serves.
    copy = tmp_path.parent / "copy.safetensors"
    copy.write_bytes(tiny_weights.read_bytes())
    enhance(weights=copy, batch_size=2, self_ensemble=False)(chw(picture))
    enhance(strength=1)(chw(picture))
    enhance(dtype=torch.float32)(chw(picture))
    assert len(calls) == 12


def test_scales_that_share_weights_are_told_apart_even_one_that_is_known_later(
    monkeypatch, tmp_path, picture
):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    weights = tmp_path / "none.safetensors"
    save_state(weights, {})
    options = {"weights": weights, "device": "cpu", "cache": tmp_path / "cache"}
    register(ModelDescriptor("plain", 2, partial(nn.Upsample, scale_factor=2)))
    twice = preproc.EnhanceTransform("plain", **options)
    register(ModelDescriptor("plain", 3, partial(nn.Upsample, scale_factor=3)))
    assert twice(chw(picture)).shape == (3, 20, 28)
    assert preproc.EnhanceTransform("plain", **options)(chw(picture)).shape == (3, 30, 42)


def test_another_version_of_the_package_makes_entries_of_its_own(
    transform, tmp_path, calls, picture, monkeypatch
):
    transform(cache=tmp_path)(chw(picture))
    monkeypatch.setattr("preproc.transforms.deferred.__version__", "0.0.1")
    transform(cache=tmp_path)(chw(picture))
    assert calls == [1, 1]


def test_a_batch_sends_only_what_the_cache_lacks(batch_stage, tmp_path, calls, picture):
    enhance = batch_stage(cache=tmp_path)
    a, b, c = chw(picture), chw(picture).flip(-1), chw(picture).flip(-2)
    (first,) = enhance([a])
    after = enhance([b, a, b, c])
    assert calls == [1, 2]
    assert torch.equal(after[1], first)
    assert torch.equal(after[0], after[2])
    assert torch.equal(torch.stack(after), torch.stack(batch_stage()([b, a, b, c])))


def test_a_damaged_entry_is_computed_again_and_mended(transform, tmp_path, calls, picture):
    enhance = transform(cache=tmp_path)
    expected = enhance(chw(picture))
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="is damaged and is made anew"):
        assert torch.equal(enhance(chw(picture)), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(enhance(chw(picture)), expected)
    assert len(calls) == 2


def test_a_cache_that_has_no_room_stops_nothing(transform, tmp_path, picture):
    enhance = transform(cache=PictureCache(tmp_path, limit=10))
    with pytest.warns(UserWarning, match="larger than the whole cache"):
        after = enhance(chw(picture))
    assert torch.equal(after, transform()(chw(picture)))
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_named_with_a_cache_as_without(tmp_path, picture):
    for cache in (None, tmp_path / "cache"):
        enhance = preproc.EnhanceTransform(
            "tiny", weights=tmp_path / "none.safetensors", device="cpu", cache=cache
        )
        with pytest.raises(WeightsError, match=r"none\.safetensors"):
            enhance(chw(picture))


def test_what_was_pickled_before_its_weights_were_trained_on_finds_no_old_results(
    tiny_weights, skip_weights, picture, tmp_path
):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    options = {"weights": path, "dtype": "float32"}
    transform = preproc.EnhanceTransform("tiny", **options, cache=tmp_path / "cache")
    transform(chw(picture))
    transform(chw(picture))  # from the cache, so that it has told its weights once more
    data = pickle.dumps(transform)
    path.write_bytes(skip_weights.read_bytes())
    wanted = preproc.EnhanceTransform("tiny", **options)(chw(picture))
    assert torch.equal(pickle.loads(data)(chw(picture)), wanted)


def test_weights_that_change_in_use_get_no_place_in_the_cache(
    tiny_weights, skip_weights, picture, tmp_path
):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    options = {"weights": path, "dtype": "float32", "cache": tmp_path / "cache"}
    first, other = chw(picture), 255 - chw(picture)
    preproc.EnhanceTransform("tiny", **options)(first)
    transform = preproc.EnhanceTransform("tiny", **options)
    transform(first)  # from the cache, so that nothing is loaded
    path.write_bytes(skip_weights.read_bytes())
    with pytest.raises(WeightsError, match=r"mine\.safetensors changed while they were in use"):
        transform(other)
    assert len(list((tmp_path / "cache").iterdir())) == 1
