"""Importing stays light, measured by the modules it loads: time would depend on the machine."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "cv2",
    "easyocr",
    "facenet_pytorch",
    "lightning",
    "matplotlib",
    "pandas",
    "pytorch_lightning",
    "rich",
    "scipy",
    "skimage",
    "sympy",  # torch's compiler
    "tensorboard",
    "torchvision",
    "typer",
}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_but_the_standard_library():
    loaded = loaded_by("import preproc; preproc.__version__; dir(preproc)")
    assert "preproc" in loaded
    assert not loaded & (HEAVY | {"torch", "numpy", "PIL", "safetensors"})


def test_the_stage_loads_no_engine_no_trainer_no_plotting_and_no_compiler():
    loaded = loaded_by(
        "import preproc as p, numpy; p.EnhancerModule; p.list_models();"
        "p.Enhancer(device='cpu')(numpy.zeros((9, 9, 3), 'uint8'))"
    )
    assert {"torch", "preproc"} <= loaded
    assert not loaded & HEAVY


def test_what_a_training_left_is_read_without_what_trains():
    assert "lightning" not in loaded_by("import eval_tasks.tables.weights_card")
    assert not loaded_by("import preproc.training.stages.folder") & (HEAVY | {"torch", "numpy"})


def test_public_names_are_there():
    import preproc

    for name in preproc.__all__:
        assert getattr(preproc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'enhance_faster'"):
        _ = preproc.enhance_faster


ROOT = Path(__file__).parents[1]


def parts_used_by(place: Path, package: str = "preproc") -> set[str]:
    """Parts of a package that a module, or those in a folder, import, wherever in their code."""
    names: set[str] = set()
    for file in place.rglob("*.py") if place.is_dir() else [place]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


BASE = {"autocast", "box", "errors", "files", "paths", "progress", "resize", "samples"}


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("preproc/networks", {"networks", *BASE}),
        ("preproc/pictures", {"pictures", *BASE}),
        ("preproc/execution", {"execution", "networks", *BASE}),
        ("integrations", {"pictures", "extras", "values", *BASE}),
        ("eval_tasks/evaluators", {"console", "metrics", "reports", "extras", *BASE}),
    ],
)
def test_each_part_knows_only_what_the_readme_says_it_does(folder, allowed):
    used = parts_used_by(ROOT / folder)
    assert "errors" in used, "the folder is read"
    assert not used - allowed


def test_nothing_but_the_command_line_knows_of_training():
    places = [p for p in (ROOT / "preproc").iterdir() if p.suffix == ".py" or p.is_dir()]
    assert {"networks", "training", "enhancer"} <= {place.stem for place in places}
    knowing = {place.stem for place in places if "training" in parts_used_by(place)}
    assert knowing == {"training", "cli"}


STEPS = ("pictures", "treatments", "engines", "evaluators", "tables")
"""The packages of an experiment; the scripts and what they share as commands come after them."""


def test_the_steps_of_an_experiment_are_all_its_packages_but_the_command():
    packages = {file.parent.name for file in (ROOT / "eval_tasks").glob("*/__init__.py")}
    assert packages == {*STEPS, "command"}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_of_an_experiment_knows_only_those_before_it(step):
    used = parts_used_by(ROOT / "eval_tasks" / step, "eval_tasks")
    assert step in used, "the folder is read"
    assert not used - {*STEPS[: STEPS.index(step) + 1]}
