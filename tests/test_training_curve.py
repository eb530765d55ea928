"""What is measured during a training, how often, and what is shown of it."""

from __future__ import annotations

import re
import shlex
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from small_training import SHAPE, recipe_file, small_batch, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

from preproc.degrade import bicubic_down, bicubic_up, jpeg
from preproc.errors import RecipeError
from preproc.metrics import CAJNN_PROTOCOL, psnr
from preproc.training import callbacks
from preproc.training.callbacks import MeasureEvery, SamplePictures
from preproc.training.curve import Point, read_curve, write_curve
from preproc.training.data.folder import PictureWarning
from preproc.training.data.patches import ValidationSet
from preproc.training.initial_weights.network import make_network
from preproc.training.module import Restoration
from preproc.training.recipe import Stage
from preproc.training.recipe_file import load_recipe


@pytest.mark.parametrize("scale", [2, 4])
def test_a_curve_is_measured_at_each_of_its_qualities(data, tmp_path, scale):
    changes = ["validation.quality = [10, 40]", f"scale = {scale}"]
    (stage,) = load_recipe(recipe_file(tmp_path), changes)
    pictures = ValidationSet(stage, data, tmp_path / "cache")
    hr = np.asarray(Image.open(data / "photos/0.png"))
    assert len(pictures) == 2
    for at, wanted in enumerate((10, 40)):
        degraded, sharp, quality = pictures[at]
        expected = jpeg(bicubic_down(hr, scale), wanted)
        np.testing.assert_array_equal(degraded, expected.transpose(2, 0, 1))
        np.testing.assert_array_equal(sharp, hr.transpose(2, 0, 1))
        assert quality == wanted


def test_a_curve_shows_psnr_of_whole_levels_on_y():
    stage = Stage("cajnn-light", network=SHAPE)
    restoration, logged = Restoration(stage, make_network(stage, "")), {}
    restoration.log = lambda name, value, **_: logged.update({name: value})
    lr, _, hr = (part[:1] for part in small_batch())
    with torch.no_grad():
        shown = restoration.validation_step((lr, hr, torch.tensor([40])), 0)
        picture = (lr / 255).contiguous(memory_format=torch.channels_last)
        whole = restoration.network(picture).clamp(0, 1).mul(255).round()
    assert torch.equal(shown, whole[0].permute(1, 2, 0).byte())
    value = psnr(shown.numpy(), hr[0].permute(1, 2, 0).numpy(), CAJNN_PROTOCOL)
    assert logged == {"psnr_q40": value, "psnr": value}


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


def test_a_curve_is_drawn_over_minutes_a_line_for_each_quality(tmp_path, drawn):
    points = [Point(0.5, 10, {"psnr_q40": 24.0, "psnr_q10": 22.0}), Point(2, 30, {"psnr_q40": 25})]
    write_curve(points, tmp_path / "a.png", "mine")
    (axes,) = drawn
    lines = {line.get_label(): [*map(tuple, line.get_xydata())] for line in axes.lines}
    assert lines == {"QF 10": [(0.5, 22)], "QF 40": [(0.5, 24), (2, 25)]}
    assert (axes.get_title(), axes.get_xlabel()) == ("mine", "minutes of training")


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
    trainer.is_global_zero, trainer.global_step = False, 80
    SamplePictures(tmp_path).on_validation_batch_end(*measured, 0)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"0000070-{number}-q10.png" for number in (0, 3)], "of the first four"
    with Image.open(tmp_path / "0000070-0-q10.png") as strip:
        shown = np.split(np.asarray(strip), 3, axis=1)
    for part, expected in zip(shown, (bicubic_up(lr, 2), output, hr), strict=True):
        np.testing.assert_array_equal(part, expected)


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


def test_missing_validation_set_is_a_sentence_whose_advice_works_in_a_shell(
    data, tmp_path, recwarn
):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    with pytest.raises(RecipeError, match="measures its curve") as told:
        train(recipe, data, out, 'validation.path = "absent"')
    advice = re.search("(--set .*) to train without", str(told.value))
    train(recipe, data, out, *shlex.split(advice[1])[1:])
    assert not [str(told.message) for told in recwarn if "val_dataloader" in str(told.message)]
