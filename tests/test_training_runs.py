"""A run from a recipe to weights: its stages, its device, what it tells, and what it refuses."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from small_training import SHAPE, SMALL, recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

from safetensors.torch import load_file

from preproc.errors import PreprocError, RecipeError
from preproc.training.data.patches import Patches
from preproc.training.initial_weights.network import make_network
from preproc.training.recipe import Stage
from preproc.training.stages import run as stage_run
from preproc.training.stages.folder import RECORD, WEIGHTS
from preproc.training.together import ASKED_EVERY, agree
from preproc.training.train import run
from preproc.weights import save_state


def test_the_readmes_recipe_trains_on_a_folder_of_pictures(data, tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    recipe = recipe_file(tmp_path, re.search("```toml\n(.*?)```", readme, re.DOTALL)[1])
    changes = ['schedule.unit = "steps"', "schedule.length = 1", "data.batch = 1"]
    weights = run(recipe, output=tmp_path / "run", data=data, devices=1, overrides=changes)
    assert weights.is_file()


def test_stages_follow_each_other_and_grow(data, tmp_path):
    start = tmp_path / "start.safetensors"
    network = make_network(Stage("cajnn-light", network=SHAPE), "")
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
    weights = train(recipe_file(tmp_path, staged), data, tmp_path / "run")
    assert weights.parent.name == "deep"
    assert sum(k.endswith("dense.0.convs.0.bias") for k in load_file(weights)) == 2
    shallow, deep = (tmp_path / "run" / name for name in ("shallow", "deep"))
    begun = [json.loads((folder / RECORD).read_text())["init_from"] for folder in (shallow, deep)]
    assert begun == [str(start), str(shallow / WEIGHTS)]


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
        train(recipe_file(tmp_path, SMALL + stages), data, tmp_path / "run")
    assert not list(tmp_path.glob("run/first/*"))


def test_initial_weights_that_are_asked_for_go_before_those_of_the_recipe(
    data, tmp_path, monkeypatch
):
    given = []
    monkeypatch.setattr(
        "preproc.training.train.run_stage", lambda _, __, init_from, ___: given.append(init_from)
    )
    for asked in (None, "mine.safetensors"):
        change = 'init_from = "cajnn-light"'
        train(recipe_file(tmp_path), data, tmp_path / "run", change, init_from=asked)
    assert given == ["cajnn-light", "mine.safetensors"]


def test_blocks_are_compiled_where_that_is_asked_for(data, tmp_path, monkeypatch):
    made = Mock(side_effect=RecipeError("enough"))
    monkeypatch.setattr(stage_run, "Restoration", made)
    for asked in ({}, {"compiled": True}):
        with pytest.raises(RecipeError, match="enough"):
            train(recipe_file(tmp_path), data, tmp_path / "run", **asked)
    assert [call.kwargs["compiled"] for call in made.call_args_list] == [False, True]


def test_each_process_draws_patches_of_its_own(data, tmp_path, monkeypatch):
    drawn = Mock(side_effect=RecipeError("enough"))
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device="cpu"), global_rank=3)
    monkeypatch.setattr(stage_run, "_trainer", lambda *_: trainer)
    monkeypatch.setattr(stage_run, "Patches", drawn)
    with pytest.raises(RecipeError, match="enough"):
        train(recipe_file(tmp_path), data, tmp_path / "run")
    given = inspect.signature(Patches).bind(*drawn.call_args.args, **drawn.call_args.kwargs)
    assert given.arguments["rank"] == 3


def test_progress_goes_to_stderr(data, tmp_path, capfd):
    train(recipe_file(tmp_path), data, tmp_path / "run")
    out, err = capfd.readouterr()
    assert out == ""
    assert "train on cpu" in err


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(torch.bfloat16, "bf16-mixed"), (torch.float16, "16-mixed"), (torch.float32, "32-true")],
)
def test_a_run_takes_the_precision_that_the_device_is_fast_in_unless_told_otherwise(
    data, tmp_path, monkeypatch, dtype, precision
):
    given = Mock(side_effect=RecipeError("enough"))
    monkeypatch.setattr(stage_run.pl, "Trainer", given)
    monkeypatch.setattr(stage_run, "choose_dtype", lambda *_, **__: dtype)
    for asked in ({}, {"precision": "64"}):
        with pytest.raises(RecipeError, match="enough"):
            run(recipe_file(tmp_path), output=tmp_path / "run", data=data, **asked)
    assert [call.kwargs["precision"] for call in given.call_args_list] == [precision, "64"]


@pytest.mark.parametrize(("device", "name"), [("cpu", "cpu"), ("cuda:1", "card 1")])
def test_a_record_names_the_device_that_was_trained_on_whatever_else_there_is(
    data, tmp_path, monkeypatch, device, name
):
    def fit(trainer, *_):
        monkeypatch.setattr(type(trainer.strategy), "root_device", torch.device(device))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *at: f"card {at[0].index}")

    monkeypatch.setattr(stage_run, "choose_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(stage_run, "_fit", fit)
    train(recipe_file(tmp_path), data, tmp_path / "run", 'validation.path = ""')
    assert json.loads((tmp_path / "run" / "train" / RECORD).read_text())["device"] == name


@pytest.mark.parametrize("option", [{"devices": "some"}, {"precision": "bf15"}])
def test_hardware_that_lightning_does_not_know_is_a_sentence(data, tmp_path, option):
    with pytest.raises(RecipeError, match=next(iter(option))):
        run(recipe_file(tmp_path), output=tmp_path / "run", data=data, **option)


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
