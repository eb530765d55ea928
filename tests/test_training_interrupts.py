"""A run that is told to stop, by Ctrl-C or a scheduler, saves what it has and can go on."""

from __future__ import annotations

import json
import shutil
import signal
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from small_training import recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

import lightning.pytorch as pl
from safetensors.torch import load_file

from preproc.errors import RecipeError
from preproc.training.initial_weights.network import make_network
from preproc.training.recipe_file import load_recipe
from preproc.training.stages import run as stage_run
from preproc.training.stages.folder import CHECKPOINT, RECORD, WEIGHTS
from preproc.training.stages.stopping import SaveAtEnd, interruptible
from preproc.weights import save_state

LONG = "schedule.length = 100000"
"""A change to a recipe: more steps than any test waits for."""


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


def interrupted(hook, data, tmp_path, monkeypatch, caplog, *changes, kind=Interrupts, **options):
    made = stage_run._callbacks
    caplog.clear()
    monkeypatch.setattr(stage_run, "_callbacks", lambda *a: [*made(*a), kind(hook)])
    with pytest.raises((KeyboardInterrupt, SystemExit)) as stop:
        train(recipe_file(tmp_path), data, tmp_path / "run", *changes, **options)
    monkeypatch.setattr(stage_run, "_callbacks", made)
    assert getattr(stop.value, "code", 130) == 128 + kind.number  # as shells have it
    assert "--resume" in caplog.text
    return torch.load(tmp_path / "run" / "train" / CHECKPOINT, weights_only=True)


def test_an_interrupt_in_a_measurement_saves_the_trained_weights_as_trained(
    data, tmp_path, monkeypatch, caplog
):
    saved = interrupted("on_validation_batch_start", data, tmp_path, monkeypatch, caplog, LONG)
    steps = saved["global_step"]
    train(recipe_file(tmp_path), data, tmp_path / "whole", f"schedule.length = {steps}")
    # Lightning saves the average as the module's own weights.
    for name, value in load_file(tmp_path / "whole" / "train" / WEIGHTS).items():
        torch.testing.assert_close(saved["state_dict"][f"network.{name}"], value)


@pytest.mark.parametrize("kind", [Terminates, TerminatesAll])
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_batch_start"])
def test_a_run_asked_to_terminate_saves_its_steps_and_is_no_success(
    hook, kind, data, tmp_path, monkeypatch, caplog
):
    changes = (LONG, "validation.quality = [10, 40]")
    saved = interrupted(hook, data, tmp_path, monkeypatch, caplog, *changes, kind=kind)
    assert saved["global_step"] > 0


def test_an_interrupt_at_the_end_leaves_the_checkpoint_of_the_trained_weights(
    data, tmp_path, monkeypatch, caplog
):
    saved = interrupted("on_train_end", data, tmp_path, monkeypatch, caplog)
    trained, average = saved["current_model_state"], saved["state_dict"]
    assert any((trained[name] != average[name]).any() for name in trained)


def test_an_interrupt_before_a_run_goes_on_leaves_its_checkpoint(
    data, tmp_path, monkeypatch, caplog
):
    train(recipe_file(tmp_path), data, tmp_path / "run", LONG, minutes=1e-3)
    file = tmp_path / "run" / "train" / CHECKPOINT
    before = file.read_bytes()
    interrupted("setup", data, tmp_path, monkeypatch, caplog, LONG, resume=True)
    assert file.read_bytes() == before


def test_a_run_that_is_gone_on_with_keeps_the_weights_it_began_with(
    data, tmp_path, monkeypatch, caplog
):
    start, other = tmp_path / "start.safetensors", tmp_path / "other.safetensors"
    [stage] = load_recipe(recipe_file(tmp_path))
    save_state(start, make_network(stage, "").state_dict(), dtype=torch.float32)
    shutil.copy(start, other)
    hook, recipe, out = "on_train_batch_end", recipe_file(tmp_path), tmp_path / "run"
    saved = interrupted(hook, data, tmp_path, monkeypatch, caplog, LONG, init_from=str(start))
    longer = f"schedule.length = {saved['global_step'] + 1}"

    def go_on(init_from):
        train(recipe, data, out, longer, resume=True, init_from=init_from)

    start.unlink()  # the checkpoint has all that is needed
    for _ in range(2):  # with and without a record
        with pytest.raises(RecipeError, match=r"begun from .*start.*, not from .*other.*leave"):
            go_on(str(other))
        go_on(None)
        assert json.loads((out / "train" / RECORD).read_text())["init_from"] == str(start)
    go_on(tmp_path / "run/.." / start.name)
    (out / "train" / CHECKPOINT).unlink()
    with pytest.raises(RecipeError, match=r"begun from .*start"):
        go_on(str(other))
    go_on(str(start))


def test_a_run_without_initial_weights_goes_on_with_none(data, tmp_path):
    recipe, out = recipe_file(tmp_path), tmp_path / "run"
    train(recipe, data, out)
    with pytest.raises(RecipeError, match=r"begun from untrained weights, not from .*other"):
        train(recipe, data, out, resume=True, init_from=str(tmp_path / "other.safetensors"))


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
