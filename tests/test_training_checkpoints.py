"""Checkpoints are whole and finite, and a damaged or foreign one is a sentence and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import NO_CHECKPOINTS, recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

from preproc.errors import RecipeError, WeightsError
from preproc.training import module
from preproc.training.initial_weights.network import make_network
from preproc.training.module import Restoration
from preproc.training.recipe import Loss, Stage
from preproc.training.stages.folder import CHECKPOINT
from preproc.training.stages.resuming import steps_in
from preproc.training.stages.whole_checkpoints import WholeCheckpoints


@pytest.mark.parametrize("part", ["all", "coarse", "fine"])
def test_a_checkpoint_has_each_weight_once(part):
    network = {"features": 8, "reduction": 2, "blocks": 1}
    stage = Stage("cisrnet-light", scale=2, network=network, loss=Loss(part=part))
    saved = Restoration(stage, make_network(stage, "")).state_dict()
    assert [*saved] == [f"network.{key}" for key in make_network(stage, "").state_dict()]


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


def test_values_that_are_not_finite_never_replace_a_checkpoint(data, tmp_path, monkeypatch, capfd):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    train(recipe, data, out)
    before = (out / "train" / CHECKPOINT).read_bytes()
    step = Restoration.training_step

    def spoiled(self, batch, batch_idx):
        return step(self, batch, batch_idx) * float("nan")

    with monkeypatch.context() as context:
        context.setattr(Restoration, "training_step", spoiled)
        context.setattr(module, "_LOOK_EVERY", 1000)
        with pytest.raises(RecipeError, match=r"not finite at step 8.*last\.ckpt was not"):
            train(recipe, data, out, "schedule.length = 8", resume=True)
    assert capfd.readouterr().err.endswith("\n")  # what is said next has a line of its own
    assert (out / "train" / CHECKPOINT).read_bytes() == before
    train(recipe, data, out, "schedule.length = 6", resume=True)


@pytest.mark.parametrize("part", ["state_dict", "current_model_state", "optimizer_states"])
def test_no_part_of_a_checkpoint_may_have_values_that_are_not_finite(part, tmp_path):
    spoiled = {"global_step": 1, part: {"a": [torch.ones(2), torch.tensor([1, float("inf")])]}}
    with pytest.raises(RecipeError, match="not finite at step 1"):
        WholeCheckpoints().save_checkpoint(spoiled, tmp_path / CHECKPOINT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [*NO_CHECKPOINTS, {"global_step": 7}, [7]], ids=str)
def test_a_damaged_checkpoint_is_a_sentence(content, tmp_path):
    checkpoint = tmp_path / CHECKPOINT
    if isinstance(content, bytes):
        checkpoint.write_bytes(content)
    else:
        torch.save(content, checkpoint)
    with pytest.raises(RecipeError, match=r"last\.ckpt is damaged .*delete its folder"):
        steps_in(checkpoint, Stage("cajnn"))


def test_a_checkpoint_of_a_run_that_had_fewer_options_is_of_another_recipe(tmp_path):
    torch.save({"global_step": 7, "stage": {"model": "cajnn"}}, tmp_path / CHECKPOINT)
    with pytest.raises(RecipeError, match=r"was begun with another .*data.*optimizer.*schedule"):
        steps_in(tmp_path / CHECKPOINT, Stage("cajnn"))


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
