"""What a network is shown: patches from each source as the recipe says, on each worker others."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_training import recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

from preproc.degrade import bicubic_down, jpeg
from preproc.errors import OutputError, RecipeError
from preproc.training.data.degradation import Degradation
from preproc.training.data.folder import Folder
from preproc.training.data.patches import Patches, cut_patch
from preproc.training.data.rendered import Text
from preproc.training.data.sources import make_sources
from preproc.training.recipe import Data, Source, Stage
from preproc.training.recipe_file import load_recipe


def test_patch_is_cut_from_the_compressed_whole():
    """Whatever the offset, the patch equals the same place of the whole picture's JPEG."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (12, 12, 3), np.uint8)
    hr = np.array(Image.fromarray(small).resize((480, 480), Image.Resampling.BICUBIC))
    lr = bicubic_down(hr, 4)
    whole = jpeg(lr, 10)
    only_once = Degradation(quality=(10, 10))
    views = np.lib.stride_tricks.sliding_window_view(whole, (32, 32), (0, 1)).transpose(
        0, 1, 3, 4, 2
    )
    for seed in range(8):
        degraded, clean, sharp = cut_patch(hr, lr, 32, only_once, np.random.default_rng(seed))
        assert degraded.shape == clean.shape == (32, 32, 3)
        assert sharp.shape == (128, 128, 3)
        symmetries = [
            np.rot90(flipped, k) for flipped in (degraded, degraded[:, ::-1]) for k in range(4)
        ]
        assert any((views == s).all((2, 3, 4)).any() for s in symmetries)
        # Turned, the passes of the resize swap, and uint8 between them rounds once more.
        reduced = bicubic_down(np.ascontiguousarray(sharp), 4)[4:-4, 4:-4]
        np.testing.assert_allclose(reduced, clean[4:-4, 4:-4].astype(int), atol=1)


def test_a_patch_is_turned_in_all_8_ways_and_both_its_targets_with_it(rng):
    lr = rng.integers(0, 255, (8, 8, 3), np.uint8)
    hr = lr.repeat(4, 0).repeat(4, 1)
    ways = set()
    for seed in range(64):
        untouched, draws = Degradation(uncompressed=1), np.random.default_rng(seed)
        degraded, clean, sharp = cut_patch(hr, lr, 8, untouched, draws)
        np.testing.assert_array_equal(degraded, clean)
        np.testing.assert_array_equal(sharp, clean.repeat(4, 0).repeat(4, 1))
        ways.add(clean.tobytes())
    assert len(ways) == 8


def test_patches_may_be_of_one_px(data, tmp_path):
    (stage,) = load_recipe(recipe_file(tmp_path), ["data.patch = 1"])
    for drawn in islice(Patches(stage, data, tmp_path / "cache"), 16):
        assert [part.shape for part in drawn] == [(3, 1, 1), (3, 1, 1), (3, 4, 4)]


def test_patches_come_from_each_source_as_often_as_its_weight_says(tmp_path):
    for color in ("red", "blue"):
        (tmp_path / color).mkdir()
        Image.new("RGB", (40, 40), color).save(tmp_path / color / "a.png")
    sources = Source("red", weight=3), Source("blue", weight=1)
    plain = Degradation(uncompressed=1)
    stage = Stage("cajnn-light", data=Data(patch=8, source=sources), degrade=plain)
    drawn = islice(Patches(stage, tmp_path, tmp_path / "cache"), 200)
    red = sum(int(clean[0, 0, 0] == 255) for _, clean, _ in drawn)
    assert red == pytest.approx(150, abs=18)  # 3 standard deviations


def test_stream_depends_on_seed_start_rank_and_worker(data, tmp_path, monkeypatch):
    (stage,) = load_recipe(recipe_file(tmp_path))

    def first(**options):
        return next(iter(Patches(stage, data, tmp_path / "cache", **options)))[2]

    torch.testing.assert_close(first(), first())
    assert not torch.equal(first(), first(start=5))
    assert not torch.equal(first(), first(rank=1))
    later = Patches(replace(stage, name="later"), data, tmp_path / "cache")
    assert not torch.equal(first(), next(iter(later))[2])
    alone = first()
    monkeypatch.setattr(
        "preproc.training.data.patches.get_worker_info", lambda: SimpleNamespace(id=1)
    )
    assert not torch.equal(first(), alone)


@pytest.mark.parametrize("kind", ["folder", "text"])
def test_a_source_is_reduced_by_its_kernel(data, tmp_path, kind):
    def pair(kernel):
        one = Source("photos", kind, kernel=kernel)
        stage = Stage("cajnn-light", data=Data(patch=8, source=(one,)))
        (source,) = make_sources(stage, data, tmp_path / "cache")
        return source.draw(np.random.default_rng(0))

    (hr, usual), (same, lanczos) = pair("bicubic"), pair("lanczos")
    np.testing.assert_array_equal(hr, same)
    np.testing.assert_array_equal(usual, bicubic_down(hr, 4))
    expected = Image.fromarray(hr).resize(usual.shape[1::-1], Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(lanczos, np.asarray(expected))
    with pytest.raises(RecipeError, match=r"kernel is one of bicubic, lanczos.*but is 'sinc'"):
        pair("sinc")


@pytest.mark.parametrize("kind", ["folder", "text"])
def test_a_source_is_shrunk_first_as_its_recipe_says(data, tmp_path, kind):
    source = Source("photos", kind, shrink=2)
    stage = Stage("cajnn-light", data=Data(patch=8, source=(source,)))
    (made,) = make_sources(stage, data, tmp_path / "cache")
    photos = made if kind == "folder" else made._photos
    assert photos.draw(np.random.default_rng(0))[0].shape == (80, 100, 3)


def test_colours_that_alpha_hides_are_not_learned(tmp_path):
    picture = np.full((80, 80, 4), (255, 0, 0, 0), np.uint8)
    picture[:, :40] = (20, 60, 40, 255)
    (tmp_path / "photos").mkdir()
    Image.fromarray(picture).save(tmp_path / "photos" / "cut out.png")
    stage = Stage("cajnn-light", data=Data(patch=8, source=(Source("photos"),)))
    (made,) = make_sources(stage, tmp_path, tmp_path / "cache")
    hr, _ = made.draw(np.random.default_rng(0))
    assert (hr[:, :40] == (20, 60, 40)).all()
    assert (hr[:, 40:] == 255).all()


def test_a_recipe_without_a_source_is_a_sentence(data, tmp_path):
    (stage,) = load_recipe(recipe_file(tmp_path), ["data.source = []"])
    with pytest.raises(RecipeError, match=r"at least one \[\[data\.source\]\]"):
        make_sources(stage, data, tmp_path / "cache")


def test_slow_loading_is_reported(data, tmp_path, monkeypatch, caplog):
    draw = Folder.draw

    def slow(self, rng):
        time.sleep(0.2)
        return draw(self, rng)

    monkeypatch.setattr(Folder, "draw", slow)
    with caplog.at_level(logging.WARNING, "preproc"):
        train(recipe_file(tmp_path), data, tmp_path / "run", 'validation.path = ""')
    assert "raise data.workers" in caplog.text


@pytest.mark.parametrize("kind", [RecipeError, OutputError])
def test_what_a_loading_worker_cannot_do_is_the_sentence_alone(data, tmp_path, monkeypatch, kind):
    def fail(self, rng):
        try:
            raise ValueError("cause")
        except ValueError as error:
            raise kind("There is no room: none.") from error

    monkeypatch.setattr(Text, "draw", fail)
    changes = ["data.workers = 1", 'data.source = [{ kind = "text" }]', 'validation.path = ""']
    with pytest.raises(kind) as told:
        train(recipe_file(tmp_path), data, tmp_path / "run", *changes)
    assert str(told.value) == "There is no room: none."
