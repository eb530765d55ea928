"""How long a stage is trained, how that is counted, and at what rate each step is taken."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from small_training import SHAPE, SMALL, recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

import lightning.pytorch as pl

from preproc.errors import RecipeError
from preproc.training import module
from preproc.training.callbacks import Deadline, StageBar
from preproc.training.initial_weights.network import make_network
from preproc.training.module import Restoration
from preproc.training.recipe import Schedule, Stage
from preproc.training.recipe_file import load_recipe
from preproc.training.schedule import learning_rate
from preproc.training.stages import run as stage_run
from preproc.training.stages.folder import CHECKPOINT, CURVE, RECORD, WEIGHTS


@pytest.mark.parametrize("kind", ["cosine", "step", "constant"])
def test_every_schedule_warms_up_to_its_peak_and_no_further(kind):
    schedule = Schedule(kind=kind, length=1e9, warmup=10)
    rates = [learning_rate(schedule, 2.0, at) for at in (0, 5, 10, 20)]
    assert rates == pytest.approx([0, 1, 2, 2])
    minutes = Schedule(kind=kind, length=1e9, warmup=0.5)
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
    usual = Schedule(kind="cosine", length=100, warmup=10)
    assert learning_rate(usual, 1.0, 100) == pytest.approx(1e-7)
    shortened = Schedule(kind="cosine", length=40, restarts=(60, 20), floor=0)
    assert learning_rate(shortened, 1.0, 40 - 1e-9) == pytest.approx(0, abs=1e-6)


def test_a_stage_may_go_on_until_it_is_stopped():
    (stage,) = load_recipe("cajnn-light", ["schedule.length = inf"])
    assert learning_rate(stage.schedule, 1.0, 1e9) > 0


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


def test_each_step_is_taken_at_the_rate_that_its_schedule_has_there(data, tmp_path, steps):
    changes = ["schedule.warmup = 2", "optimizer.lr = 0.1", 'validation.path = ""']
    train(recipe_file(tmp_path), data, tmp_path / "run", *changes)
    schedule = Schedule(length=4, warmup=2)
    assert [rate for rate, _ in steps] == [learning_rate(schedule, 0.1, n) for n in range(4)]


def test_gradients_are_clipped_where_a_recipe_says_so(data, tmp_path, steps):
    changes = ["schedule.length = 1", 'validation.path = ""']
    for clip in (0, 1e-3):
        more = [*changes, f"optimizer.clip = {clip}"]
        train(recipe_file(tmp_path), data, tmp_path / f"{clip}", *more)
    (_, free), (_, clipped) = steps
    assert free > 2e-3
    assert clipped == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(("path", "waited"), [("", 1.5), ("photos", 0)])
def test_minutes_are_those_of_steps_and_measuring_is_no_waiting(
    data, tmp_path, monkeypatch, path, waited
):
    clock = count(step=30)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    changes = ['schedule.unit = "minutes"', "validation.every = 1e-9"]
    changes.append(f'validation.path = "{path}"')
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    train(recipe, data, out, *changes, "schedule.length = 2")
    record = json.loads((out / "train" / RECORD).read_text())
    assert (record["steps"], record["minutes"]) == (4, 2)
    assert record["minutes_waited_for_data"] == waited
    assert [point["minutes"] for point in record["curve"]] == ([0.5, 1, 1.5, 2] if path else [])
    train(recipe, data, out, *changes, "schedule.length = 3", resume=True)
    record = json.loads((out / "train" / RECORD).read_text())
    assert (record["steps"], record["minutes"]) == (6, 3)


def test_minutes_stop_cleanly_and_can_be_resumed(data, tmp_path):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    train(recipe, data, out, "schedule.length = 100000", minutes=1e-3)
    record = json.loads((out / "train" / RECORD).read_text())
    assert not record["finished"]
    assert all((out / "train" / name).exists() for name in (CHECKPOINT, WEIGHTS, CURVE))
    train(recipe, data, out, f"schedule.length = {record['steps'] + 2}", resume=True)
    assert json.loads((out / "train" / RECORD).read_text())["steps"] == record["steps"] + 2


def test_a_run_whose_minutes_are_over_begins_no_other_stage(data, tmp_path):
    stages = '[[stage]]\nname = "first"\n[[stage]]\nname = "second"\n'
    recipe, out = recipe_file(tmp_path, SMALL + stages), tmp_path / "run"
    changes = ["schedule.length = 1", 'validation.path = ""']
    assert train(recipe, data, out, *changes, minutes=1e-4) == out / "first" / WEIGHTS
    assert not (out / "second").exists()
    assert train(recipe, data, out, *changes, resume=True) == out / "second" / WEIGHTS


def test_a_run_is_given_its_minutes(data, tmp_path, monkeypatch):
    made, given = stage_run._callbacks, []
    monkeypatch.setattr(stage_run, "_callbacks", lambda *a: given.extend(made(*a)) or made(*a))
    changes = ["schedule.length = 1", 'validation.path = ""']
    train(recipe_file(tmp_path), data, tmp_path / "run", *changes, minutes=60)
    (deadline,) = (one for one in given if isinstance(one, Deadline))
    assert 3000 < deadline.time_remaining() <= 3600


def test_time_that_earlier_runs_took_is_not_counted_against_a_deadline():
    deadline = Deadline(timedelta(minutes=1), verbose=False)
    deadline.load_state_dict({"time_elapsed": {"train": 600.0}})
    assert deadline.time_elapsed() == 0


def test_minutes_that_are_none_are_a_sentence(data, tmp_path):
    for minutes in (float("nan"), float("inf"), -1):
        with pytest.raises(RecipeError, match="minutes must be 0 to"):
            train(recipe_file(tmp_path), data, tmp_path / "run", minutes=minutes)


def test_progress_tells_how_far_in_its_schedule_a_stage_is(monkeypatch):
    shown = {"v_num": 0, "loss": 1.0}
    monkeypatch.setattr(pl.callbacks.ProgressBar, "get_metrics", lambda *_: dict(shown))
    stage = Stage("cajnn", network=SHAPE, schedule=Schedule(unit="minutes", length=90))
    restoration = Restoration(stage, make_network(stage, ""))
    monkeypatch.setattr(restoration, "_timed", 45.0)
    found = StageBar(stage).get_metrics(None, restoration)
    assert [*found.items()] == [("minutes", "45/90"), ("loss", 1.0)]
