"""The command line as a process of its own: what it imports, and how it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import ROOT, pictures
from picture_files import files
from PIL import Image


def python(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "TERM": "dumb"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ("--help", 0),
        ("enhance --help", 0),
        ("train --help", 0),
        ("--version", 0),
        ("nosuch", 2),
        ("enhance a.png --nosuch", 2),
        ("enhance a.png -o b --format gif", 2),
    ],
)
def test_help_and_bad_usage_import_neither_torch_nor_an_engine(args: str, code: int) -> None:
    program = (
        "import atexit, sys\n"
        "heavy = {'torch', 'numpy', 'PIL', 'pillow_heif', 'lightning', 'matplotlib'}\n"
        "heavy |= {'easyocr', 'facenet_pytorch', 'pytesseract', 'rapidocr'}\n"
        "atexit.register(lambda: print('heavy:', sorted(heavy & set(sys.modules))))\n"
        "from preproc.cli import main\n"
        "main()\n"
    )
    process = python(program, *args.split())
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out.endswith("heavy: []\n")


def test_planning_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "from preproc.cli import main\n"
        "main()\n"
    )
    process = python(code, "enhance", tmp_path / "missing.png", "-o", tmp_path / "out")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "False\n")
    assert "There is no such file or folder." in err


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize(
    ("number", "options", "way_on"),
    [
        (signal.SIGINT, [], "run the same command again with --skip-existing for the rest."),
        (signal.SIGTERM, ["--overwrite"], "run the same command again for the rest."),
    ],
)
def test_an_interrupted_run_leaves_whole_files_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, options: list[str], way_on: str
) -> None:
    source = pictures(tmp_path / "in", *(f"{i:03}.png" for i in range(200)))
    slow = (
        "import signal, sys, time, types\n"
        # A shell that starts the tests in the background has SIGINT ignored for all below it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from preproc import cli\n"
        "fake = types.ModuleType('preproc.enhancer')\n"
        "def enhance(image, progress):\n"
        "    time.sleep(0.2)\n"
        "    return image\n"
        "enhance.scale, enhance.descriptor, enhance.device, enhance.dtype = 1, '', '', ''\n"
        "fake.Enhancer = lambda *a, **k: enhance\n"
        "sys.modules['preproc.enhancer'] = fake\n"
        "cli.main()\n"
    )
    process = python(slow, "enhance", source, "-o", tmp_path / "out", *options)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("*.png")):
        assert process.poll() is None, process.communicate()
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"No picture was written within 60 s: {process.communicate()}")
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert way_on in err
    assert "Traceback" not in err
    done = files(tmp_path / "out")
    assert 0 < len(done) < 200
    assert all(name.endswith(".png") for name in done)
    for name in done:
        Image.open(tmp_path / "out" / name).load()
