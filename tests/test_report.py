"""The page about the shipped weights, rebuilt from data the test makes."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_tasks import report
from eval_tasks.evaluators.crops import SIDE, Crop, Gains, gains
from eval_tasks.pictures import restoration_sets
from eval_tasks.pictures.restoration_sets import SET_SIZES
from eval_tasks.tables.crop_sheet import draw
from eval_tasks.treatments.method import Method
from preproc.degrade import bicubic_down, bicubic_up, jpeg
from preproc.errors import ImageError
from preproc.manifest import entries

data = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")


def grey(level, shape=(SIDE, 2 * SIDE, 3)):
    return np.full(shape, level, np.uint8)


def test_squares_are_ranked_by_what_they_gain():
    reference, plain, restored = grey(100), grey(110), grey(101)
    restored[:, SIDE:] = 120  # 10 grey levels off become 1 on the left, and 20 on the right
    found = gains([("a", reference, plain, restored)])
    left, right = found.crops
    assert (left.left, right.left) == (0, SIDE)
    assert left.gain == pytest.approx(20)
    assert right.gain == pytest.approx(-20 * np.log10(2))
    assert found.better == 1
    assert found.shown()["most"] == left
    assert found.shown()["median"] == found.shown()["least"] == right
    np.testing.assert_array_equal(right.cut(restored), grey(120, (SIDE, SIDE, 3)))
    tall = [picture.swapaxes(0, 1) for picture in (reference, plain, restored)]
    upper, lower = gains([("a", *tall)]).crops
    assert (upper.top, lower.top, lower.left) == (0, SIDE, 0)
    np.testing.assert_array_equal(lower.cut(tall[2]), grey(120, (SIDE, SIDE, 3)))


def test_squares_without_error_are_left_out():
    flat = ("a", grey(9), grey(9), grey(9))
    exact = ("c", grey(9), grey(8), grey(9))
    found = gains([flat, ("b", grey(9), grey(8), grey(8)), exact])
    assert {crop.picture for crop in found.crops} == {"b"}
    assert found.better == 0, "what is as near is not nearer"
    with pytest.raises(ImageError, match="no square of 192 px in which bicubic errs"):
        gains([flat])


def test_the_worst_square_is_named_and_the_better_ones_are_counted():
    found = Gains(
        tuple(Crop(Path(f"{name}.png"), 0, 0, gain) for name, gain in (("a", 2), ("b", -1)))
    )
    told = report._told(found, "ours", 40, 3)
    assert "ours is nearer to the original than bicubic in 1 of the 2 squares" in told
    assert "of 3 pictures of Kodak24; the median gain is +0.50 dB" in told
    assert "picture b (-1.00 dB" in told


def test_a_sheet_has_a_row_for_each_square_and_a_column_for_each_version():
    squares = {level: grey(level, (4, 4, 3)) for level in (10, 20, 30, 40)}
    rows = [("a", {"input": squares[10], "ours": squares[20]})]
    rows.append(("b", {"input": squares[30], "ours": squares[40]}))
    sheet = np.asarray(draw(rows, 8))
    places = {level: np.argwhere((sheet == level).all(2)) for level in squares}
    assert {len(px) for px in places.values()} == {8 * 8}
    tops, lefts = zip(*(px.min(0).tolist() for px in places.values()), strict=True)
    assert tops[0] == tops[1] < tops[2] == tops[3]
    assert lefts[0] == lefts[2] < lefts[1] == lefts[3]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, home in restoration_sets._HOMES.items():
        monkeypatch.setitem(SET_SIZES, name, 1)
        (tmp_path / home / name).mkdir(parents=True)
        Image.fromarray(data.astronaut()[:192, 96:288]).save(tmp_path / home / name / "face.png")
    return tmp_path


def test_the_page_shows_every_weight_with_its_figures_and_pictures(folder, monkeypatch):
    light = [
        replace(entry, parameters=7_654_321, bytes=1_234_567, train_time=5400.0)
        for entry in entries().values()
        if entry.model == "cajnn-light"
    ]
    monkeypatch.setattr(report, "entries", lambda: {("cajnn-light", 4): light[0]})
    monkeypatch.setattr(report, "list_models", lambda: [report.find("cajnn-light")])
    drawn = []

    def noted(rows, side):
        drawn.extend(rows)
        return draw(rows, side)

    monkeypatch.setattr(report.crop_sheet, "draw", noted)
    out = folder / "out"
    assert report.main(["--data", str(folder), "--output", str(out), "--device", "cpu"]) == 0
    page = (out / "README.md").read_text("utf-8")
    assert f"[cajnn-light x4]({light[0].card})" in page
    for quality, figures in light[0].results["BSD100"].items():
        assert f"JPEG {quality}" in page
        assert f"{figures['psnr']:.2f} / {figures['ssim']:.4f}" in page
    assert "ARCNN" in page, "the papers' rows stand beside ours"
    assert "| 7.7 M | 1.2 |" in page
    assert f"{light[0].steps:,} steps, 90 min" in page
    assert page.count("nearer to the original than bicubic in 1 of the 1 squares") == 2
    original = data.astronaut()[:192, 96:288]
    assert len(drawn) == 6
    for caption, squares in drawn:
        assert list(squares) == ["input", "bicubic", "cajnn-light", "original"]
        assert caption.endswith(" dB, face")
        small = jpeg(bicubic_down(original, 4), int(re.match(r"JPEG (\d+), ", caption)[1]))
        np.testing.assert_array_equal(squares["input"][::4, ::4], small)
        np.testing.assert_array_equal(squares["original"], original)
    sheet = Image.open(out / "crops-cajnn-x4.jpg")
    assert sheet.width > 4 * SIDE
    assert sheet.height > 6 * SIDE
    assert not list(out.glob("*.part"))


def test_squares_are_chosen_by_the_cheapest_network(folder, monkeypatch):
    both = [entry for entry in entries().values() if entry.model in ("cajnn", "cajnn-light")]
    larger = partial(bicubic_up, scale=4)
    monkeypatch.setattr(
        report,
        "make_methods",
        lambda models, *_, **__: [
            Method(name, larger if name == "bicubic" else lambda lr: 255 - larger(lr))
            for name in ("bicubic", *models)
        ],
    )
    paths = [folder / "sr_val" / "Kodak24" / "face.png"]
    told = " ".join(report._crops(report.Group("cajnn", 4, tuple(both)), paths, folder, None))
    assert told.count("cajnn-light is nearer") == 2


def test_networks_are_measured_again_where_that_is_asked_for(folder, monkeypatch):
    (light,) = (entry for entry in entries().values() if entry.model == "cajnn-light")
    told = {"40": {"psnr": 98.76, "ssim": 0.9876}}
    light = replace(light, results=dict.fromkeys(restoration_sets._HOMES, told))
    monkeypatch.setattr(report, "entries", lambda: {("cajnn-light", 4): light})
    monkeypatch.setattr(report, "_crops", lambda *_: [])
    figures = {}
    for option in ((), ("--measure",)):
        out = folder / f"out{len(option)}"
        command = ["--data", str(folder), "--output", str(out), "--device", "cpu", *option]
        assert report.main(command) == 0
        (line,) = re.findall(r"\*\*cajnn-light\*\* (.*)", (out / "README.md").read_text("utf-8"))
        figures[option] = line
    assert figures[()].count("98.76 / 0.9876") == 4
    psnr = [float(value) for value in re.findall(r"(\d\d\.\d\d) / ", figures["--measure",])]
    assert len(psnr) == 4
    assert all(20 < value < 40 for value in psnr)


def test_a_missing_set_is_a_sentence(tmp_path, capfd):
    assert report.main(["--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert "There is no folder" in capfd.readouterr().err


def test_a_set_that_is_not_whole_is_a_sentence(folder, capfd, monkeypatch):
    monkeypatch.setitem(SET_SIZES, "Set14", 14)
    assert report.main(["--data", str(folder), "--output", str(folder / "out")]) == 1
    assert "Set14 has 14 images, but" in (told := capfd.readouterr().err)
    assert "holds 1; figures are only compared over the whole set" in " ".join(told.split())
    assert not list((folder / "out").iterdir())
