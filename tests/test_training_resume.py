"""A run goes on from where it was, by the recipe it began with, and none is written over."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
import torch
from small_training import SMALL, recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

import lightning.pytorch as pl
from safetensors.torch import load_file

from preproc.errors import RecipeError
from preproc.training.module import Restoration
from preproc.training.recipe import Schedule, Stage
from preproc.training.recipe_file import load_recipe
from preproc.training.stages import run as stage_run
from preproc.training.stages.folder import CHECKPOINT, CURVE, RECORD, WEIGHTS
from preproc.training.stages.resuming import has_ended, steps_in


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_run_ends_resumes_and_records(optimizer, data, tmp_path):
    text = SMALL.replace("every = 1e-4", "every = 1e-9")  # after each step
    recipe = recipe_file(tmp_path, text + f'[optimizer]\nkind = "{optimizer}"\n')
    out = tmp_path / "run"
    weights = train(recipe, data, out, "schedule.length = 2")
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
        train(recipe, data, out)
    before = load_file(weights)
    train(recipe, data, out, "schedule.length = 2", resume=True)
    assert json.loads((folder / RECORD).read_text()) == record, "it had ended"
    train(recipe, data, out, resume=True)  # for longer
    longer = json.loads((folder / RECORD).read_text())
    assert longer["steps"] == 4
    assert longer["curve"][: len(record["curve"])] == record["curve"]
    assert [point["step"] for point in longer["curve"]] == [1, 2, 3, 4]
    assert any((before[k] != v).any() for k, v in load_file(weights).items())


def test_a_run_goes_on_by_the_recipe_it_began_with(data, tmp_path):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    train(recipe, data, out, "schedule.length = 100000", minutes=0)
    changes = ["schedule.length = 100000", "data.patch = 9", "optimizer.lr = 1e-5"]
    with pytest.raises(RecipeError, match=r"another data\.patch, optimizer\.lr"):
        train(recipe, data, out, *changes, resume=True)
    (out / "train" / CHECKPOINT).write_bytes(b"PK cut short")
    with pytest.raises(RecipeError, match="is damaged"):
        train(recipe, data, out, changes[0], resume=True)


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
    smaller = replace(warmer, network={"blocks": 2})
    with pytest.raises(
        RecipeError, match=r"begun with another network\.blocks, schedule\.warmup, seed;"
    ):
        steps_in(checkpoint, smaller)


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


def test_a_run_that_is_to_go_on_begins_where_there_is_none_and_says_so(data, tmp_path, caplog):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    for length in (1, 2):
        train(recipe, data, out, f"schedule.length = {length}", resume=True)
    told = f"{out} holds nothing to go on with yet; the run begins."
    assert caplog.messages.count(told) == 1


def test_a_stage_that_the_next_has_begun_from_is_not_trained_on(data, tmp_path):
    stages = '[[stage]]\nname = "first"\n[[stage]]\nname = "second"\n'
    recipe, out = recipe_file(tmp_path, SMALL + stages), tmp_path / "run"
    train(recipe, data, out, "schedule.length = 2")
    before = (out / "first" / WEIGHTS).read_bytes()
    train(recipe, data, out, "schedule.length = 3", resume=True)
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
        train(recipe, data, out)
    with pytest.raises(RecipeError, match=r"last\.ckpt is missing; .*--init-from .*ema"):
        train(recipe, data, out, "schedule.length = 5", resume=True)
    if {*kept} == {WEIGHTS, RECORD}:
        needless = tmp_path / "gone"
        assert train(recipe, needless, out, resume=True) == folder / WEIGHTS
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"finished": true, "stage": 1}'])
def test_a_damaged_record_is_a_sentence(content, data, tmp_path):
    folder = tmp_path / "run" / "train"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(content)
    with pytest.raises(RecipeError, match=r"run\.json is damaged \(.*\); delete it"):
        train(recipe_file(tmp_path), data, folder.parent, resume=True)


def test_a_run_that_failed_before_it_began_needs_no_other_folder(data, tmp_path, monkeypatch):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"

    def fail(self, batch, batch_idx):
        raise RecipeError("no fonts")

    with monkeypatch.context() as context:
        context.setattr(Restoration, "training_step", fail)
        with pytest.raises(RecipeError, match="no fonts"):
            train(recipe, data, out)
    assert list(out.glob("train/log-*"))
    train(recipe, data, out)
    with pytest.raises(RecipeError, match="holds a run already"):
        train(recipe, data, out)


@pytest.mark.parametrize("begun", ["first", "second"])
def test_a_run_of_which_any_stage_has_begun_is_not_written_over(begun, data, tmp_path):
    stages = '[[stage]]\nname = "first"\n[[stage]]\nname = "second"\n'
    (tmp_path / "run" / begun).mkdir(parents=True)
    (tmp_path / "run" / begun / WEIGHTS).write_bytes(b"of a long run")
    with pytest.raises(RecipeError, match=f"{begun} holds a run already"):
        train(recipe_file(tmp_path, SMALL + stages), data, tmp_path / "run")


def test_a_run_that_was_killed_before_its_first_checkpoint_is_not_written_over(data, tmp_path):
    log = tmp_path / "run" / "train" / "log-0000000" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("step,loss")
    with pytest.raises(RecipeError, match="holds a run already; resume it"):
        train(recipe_file(tmp_path), data, tmp_path / "run")
    assert log.read_text() == "step,loss"


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(data, tmp_path, monkeypatch):
    made, step = stage_run._callbacks, Restoration.training_step
    lengths, seen, seeds = [], [], set()

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
        seeds.add(torch.initial_seed())  # of what losses draw
        return step(self, batch, batch_idx)

    recipe = recipe_file(tmp_path, SMALL.replace("length = 4", "length = 5"))
    out = tmp_path / "run"
    train(recipe, data, out, "schedule.length = 1")
    monkeypatch.setattr(Restoration, "training_step", killed)
    with monkeypatch.context() as context:
        context.setattr(stage_run, "_callbacks", often)
        with pytest.raises(OSError, match="power"):
            train(recipe, data, out, resume=True)
    assert lengths == [timedelta(minutes=10)]
    folder = out / "train"
    assert [file.name for file in folder.glob("*.ckpt")] == [CHECKPOINT]
    (stage,) = load_recipe(recipe)
    steps = steps_in(folder / CHECKPOINT, stage)
    assert steps >= 3
    before = seen.copy()
    seen.clear()
    train(recipe, data, out, resume=True)
    assert json.loads((folder / RECORD).read_text())["steps"] == 5
    assert len(seen) == 5 - steps
    assert len(seeds) == 2
    assert not any(torch.equal(one, other) for one in seen for other in before)
    assert len(list(folder.glob("log-*/metrics.csv"))) == 3, "what the killed run logged stays"
