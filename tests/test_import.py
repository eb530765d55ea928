"""Importing stays light, measured by the modules it loads: time would depend on the machine."""

from __future__ import annotations

import subprocess
import sys

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


def test_public_names_are_there():
    import preproc

    for name in preproc.__all__:
        assert getattr(preproc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'enhance_faster'"):
        _ = preproc.enhance_faster


def test_help_of_the_command_line_loads_no_imaging():
    loaded = loaded_by("import preproc.cli.enhance_command")
    assert "typer" in loaded
    assert not loaded & {"torch", "numpy", "PIL", "pillow_heif"}
