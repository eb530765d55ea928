"""Every command explains itself, gets the options it was given, and says what failed."""

from __future__ import annotations

import ast
import errno
import sys
import types
from pathlib import Path
from unittest.mock import Mock

import pytest
from command_line import ROOT, call

from preproc import __version__, cli


@pytest.mark.parametrize("command", ["", "enhance", "models", "train", "export", "eval"])
def test_every_command_explains_itself_with_an_example(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(*command.split(), "--help") == 0
    assert f"preproc {command or 'enhance'} " in capfd.readouterr().out


def test_help_and_version_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    for args in ([], ["-h"]):
        call(*args)
        assert "preproc models" in capfd.readouterr().out
    assert call("--version") == 0
    assert capfd.readouterr().out == f"preproc {__version__}\n"


def test_train_lists_the_recipes_there_are(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--help") == 0
    assert {"cajnn-ocr,", "cisrnet-paper."} <= {*capfd.readouterr().out.split()}


def fake(monkeypatch: pytest.MonkeyPatch, name: str, **functions: object) -> None:
    module = types.ModuleType(name)
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, name, module)


def keyword_only(file: str, function: str) -> set[str]:
    """Keyword-only parameters of a function, read without importing what its module needs."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    (found,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
    return {argument.arg for argument in found.args.kwonlyargs}


def test_eval_hands_everything_after_the_task_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    fake(monkeypatch, "eval_tasks.restoration", main=lambda args: seen.append(args) or 3)
    args = ["--help", "--jpeg", "10", "20", "-o", "x", "--", "y"]
    assert call("eval", "restoration", *args) == 3
    assert call("eval", "restoration") == 3
    assert seen == [args, []]


def test_eval_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = ModuleNotFoundError("No module named 'scipy'", name="scipy")
    fake(monkeypatch, "eval_tasks.wider", main=Mock(side_effect=missing))
    assert call("eval", "wider") == 1
    said = capfd.readouterr().err
    assert "`preproc eval wider` needs scipy, which is not installed: pip install" in said


def test_eval_names_its_tasks(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("eval", "nosuch") == 2
    told = capfd.readouterr().err
    files = (Path(__file__).parents[1] / "eval_tasks").glob("*.py")
    scripts = [path.stem for path in files if "def main(" in path.read_text("utf-8")]
    assert "restoration" in scripts
    assert not [script for script in scripts if script not in told]


def test_train_hands_its_options_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[object, object]] = []

    def run(recipe: str, **options: object) -> Path:
        seen.append((recipe, options))
        return Path("runs/x")

    fake(monkeypatch, "preproc.training.train", run=run)
    options = "--data d --minutes 1.5 --init-from w.ckpt --resume --devices 2 --nodes 3"
    more = "--precision 32-true --compile --set a=1 --seed 7"
    assert call("train", "r.toml", "-o", "runs/x", *options.split(), *more.split()) == 0
    assert call("train", "light", "-o", "y") == 0
    assert capfd.readouterr().out == "Weights: runs/x\n" * 2
    chosen = {
        "output": Path("runs/x"),
        "data": Path("d"),
        "minutes": 1.5,
        "init_from": "w.ckpt",
        "resume": True,
        "devices": "2",
        "nodes": 3,
        "precision": "32-true",
        "compiled": True,
        "overrides": ["a=1", "seed=7"],
    }
    usual = {
        "output": Path("y"),
        "data": Path(),
        "minutes": None,
        "init_from": None,
        "resume": False,
        "devices": "auto",
        "nodes": 1,
        "precision": None,
        "compiled": False,
        "overrides": [],
    }
    assert seen == [("r.toml", chosen), ("light", usual)]
    assert set(usual) == keyword_only("preproc/training/train.py", "run")


def test_export_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, dict[str, object]]] = []

    def export(stages: list[Path], **options: object) -> Path:
        seen.append((stages, options))
        return Path("weights/x.safetensors")

    fake(monkeypatch, "eval_tasks.export", export=export)
    options = "--data d --recipe light --licence CC0-1.0"
    more = "--notes dark -o mine --jpeg 10 --jpeg 30 --force"
    assert call("export", "r/a", "r/b", *options.split(), *more.split()) == 0
    assert call("export", "r/a", *options.split()) == 0
    facts = {"data": Path("d"), "recipe": "light", "licence": "CC0-1.0"}
    chosen = {"notes": "dark", "folder": Path("mine"), "quality": [10, 30], "force": True}
    usual = {"notes": "", "folder": None, "quality": (), "force": False}
    assert seen == [
        ([Path("r/a"), Path("r/b")], facts | chosen),
        ([Path("r/a")], facts | usual),
    ]
    assert set(facts | usual) == keyword_only("eval_tasks/export.py", "export")


def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> Path:
        raise ModuleNotFoundError("No module named 'lightning'", name="lightning.pytorch")

    fake(monkeypatch, "preproc.training.train", run=run)
    assert call("train", "r.toml", "-o", "x") == 1
    assert capfd.readouterr().err == (
        "Error: `preproc train` needs lightning, which is not installed: "
        'pip install ".[train]" in the checkout.\n'
    )


def test_what_the_system_refuses_is_said_of_its_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = PermissionError(errno.EACCES, "Permission denied", "cards/[red]a.md")
    monkeypatch.setattr(cli, "app", Mock(side_effect=refused))
    assert call("models") == 1
    assert capfd.readouterr().err == "Error: cards/[red]a.md: Permission denied.\n"


def test_what_the_system_never_said_is_not_taken_for_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "app", Mock(side_effect=OSError("a mistake of ours")))
    with pytest.raises(OSError, match="a mistake of ours"):
        call("models")
