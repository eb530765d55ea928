"""The benchmarks' scripts: what they cannot use is a sentence, and an exit code that says so."""

from __future__ import annotations

import re
import runpy
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from wider_faces import truth

from preproc.pictures.images import decode

DOCS = Path(__file__).parents[1] / "docs"


def run_script(monkeypatch, name, *argv):
    """Run a script as ``python -m benchmarks.NAME`` does; its exit code."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, argv)])
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    return end.value.code


@pytest.mark.parametrize("name", ["ablation", "ladder", "memory", "regions", "startup", "windows"])
def test_each_script_has_a_help(name, monkeypatch, capsys):
    if name == "ablation":
        pytest.importorskip("lightning", reason='training needs the extra "train"')
    assert run_script(monkeypatch, name, "--help") == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["ladder", "--size", "foo"], "WIDTHxHEIGHT"),
        (["ladder", "--model", "cisrnet-light", "--device", "cpu"], "that of CAJNN"),
        (["memory", "--size", "foo"], "WIDTHxHEIGHT"),
        (["regions", "error", "--pictures", "none"], "no folder none, which"),
        (["regions", "saved", "--data", "none"], "no wider_face_val.mat under none"),
        (["windows", "--data", "none"], "no folder none/sr_val/Kodak24"),
    ],
)
def test_what_is_wrong_is_one_sentence(argv, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_script(monkeypatch, *argv) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert words in err


def test_faces_are_boxes_from_corner_to_corner_inside_their_picture(tmp_path, monkeypatch):
    pictures = tmp_path / "WIDER_val" / "images" / "0--Parade"
    pictures.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(pictures / "a.jpg")
    Image.new("RGB", (20, 10)).save(pictures / "b.jpg")
    inside, outside, of_no_width = [1, 2, 3, 4], [50, 2, 5, 5], [9, 9, 0, 4]
    labelled = {"gone": truth([inside]), "a": truth([inside, outside, of_no_width]), "b": truth([])}
    regions = import_module("benchmarks.regions")
    monkeypatch.setattr(regions, "ground_truth_in", lambda _: tmp_path)
    by_name = {f"0--Parade/{name}": faces for name, faces in labelled.items()}
    monkeypatch.setattr(regions, "read_truth", lambda _: by_name)
    assert list(regions.faces(tmp_path)) == [((30, 40), [(1, 2, 4, 6)]), ((10, 20), [])]


def test_a_seam_is_a_difference_that_changes_from_px_to_px():
    off = import_module("benchmarks.windows")._off
    whole = np.arange(0, 240, 5, np.uint8).reshape(4, 4, 3)
    even, seam = whole + 4, whole.copy()
    seam[2:] += 3
    seam[:, 0] += 1
    assert off(even, whole) == (4, 4, 0)
    assert off(seam, whole) == (1.75, 4, 3)


@pytest.mark.parametrize(
    "argv",
    [
        ["ladder", "--runs", "0"],
        ["memory", "--every", "0"],
        ["startup", "--runs", "0"],
        ["regions", "error", "--number", "0"],
        ["windows", "--data", "none", "--jpeg", "101"],
    ],
)
def test_numbers_out_of_range_are_refused(argv, monkeypatch, capsys):
    assert run_script(monkeypatch, *argv) == 2
    assert f"argument {argv[-2]}:" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "pil"])
def test_memory_is_measured_on_colours_which_grey_stored_as_rgb_does_not_have(kind):
    coloured = import_module("benchmarks.memory").coloured
    assert decode(coloured(300, 2, kind)).color.shape == (1, 3, 300, 2)


class TestAblation:
    def test_missing_data_is_one_sentence(self, tmp_path, monkeypatch, capsys):
        pytest.importorskip("lightning", reason='training needs the extra "train"')
        folders = ["--data", tmp_path / "none", "--output", tmp_path / "out"]
        assert run_script(monkeypatch, "ablation", *folders, "--only", "optimizer") == 1
        out, err = capsys.readouterr()
        assert out == ""
        told = err.splitlines()[-1]  # after Lightning's
        assert told.startswith("Error: ")
        assert str(tmp_path / "none") in told

    def test_a_gain_is_the_first_arm_s_seed_by_seed_with_its_standard_error(self):
        pytest.importorskip("lightning", reason='training needs the extra "train"')
        ablation = import_module("benchmarks.ablation")
        scores = {"new": [21.0, 22.0, 24.0], "old": [20.0, 20.0, 21.0]}
        row = ablation._row(ablation.ABLATIONS[0], scores)
        assert "| new / old | 22.333 / 20.333 | +2.000 ± 0.577 |" in row

    def test_all_arms_have_the_budget_asked_for_and_the_same_seeds(self, monkeypatch, capsys):
        pytest.importorskip("lightning", reason='training needs the extra "train"')
        ablation, asked = import_module("benchmarks.ablation"), []
        monkeypatch.setattr(
            ablation,
            "_score",
            lambda _, changes, __: asked.append(changes[-3:]) or len(asked),
        )
        budget = SimpleNamespace(steps=7, limit=3, seeds=2)
        ablation._run(ablation.ABLATIONS[:1], budget)
        shared = ("schedule.length=7", "validation.limit=3")
        assert asked == [(*shared, "seed=1"), (*shared, "seed=2")] * 2
        out = capsys.readouterr().out
        assert "7 steps, 2 seeds, the first 3 pictures of Kodak24" in out
        assert "| 1.500 / 3.500 | -2.000 ± 0.000 |" in out

    def test_a_name_that_no_ablation_has_is_refused(self, tmp_path, monkeypatch, capsys):
        pytest.importorskip("lightning", reason='training needs the extra "train"')
        folders = ["--data", tmp_path, "--output", tmp_path]
        assert run_script(monkeypatch, "ablation", *folders, "--only", "foo") == 2
        assert "no ablation's name holds 'foo'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "dtype", "section"),
    [
        ("cpu", torch.bfloat16, "## On a CPU with AMX"),
        ("cuda", torch.float16, "## On a GPU"),
    ],
)
def test_the_ladder_has_the_rows_of_its_table_in_the_docs(device, dtype, section):
    ladder = import_module("benchmarks.ladder")
    *rows, compiled = ladder.steps(torch.device(device), dtype)
    rows += [ladder.HEAP] if device == "cpu" else []
    rows += [compiled]
    docs = (DOCS / "ladder.md").read_text("utf-8")
    table = docs.partition(section)[2].partition("\n\n|")[2].partition("\n\n")[0]
    told = re.findall(r"^\| (\S[^|]*) \|", table, re.MULTILINE)
    if device == "cuda":  # where strips have had another length since
        told, rows = ([re.sub(r"\d+ px", "px", row) for row in names] for names in (told, rows))
    assert told == rows


def test_a_ladder_compares_the_median_of_each_step_with_the_first():
    seconds = {"plain": [4.0, 1.0, 2.0], "fast": [0.5, 0.25, 8.0]}
    pictures = {"plain": torch.zeros(2), "fast": torch.tensor([0.0, -2 / 255])}
    _, *rows = import_module("benchmarks.ladder").table(seconds, pictures, 1000).splitlines()
    assert [row.split() for row in rows] == [
        ["plain", "2000.0", "0.50", "1.00", "0.0000"],
        ["fast", "500.0", "2.00", "4.00", "2.0000"],
    ]


def test_the_start_has_the_steps_of_its_table_in_the_docs():
    startup = import_module("benchmarks.startup")
    docs = (DOCS / "performance.md").read_text("utf-8")
    section = docs.partition("## Start-up")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\S[^|]*) \| [\d.]+ \|$", section, re.MULTILINE) == [*startup.STEPS]
    assert startup.run_once().keys() == startup.STEPS.keys()
