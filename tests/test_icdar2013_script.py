"""The ICDAR2013 script: its report and sheets, a run that goes on, and what is read anew."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from reports import report_in, reports_in

from eval_tasks import icdar2013
from eval_tasks.engines.ocr_engines import OCR_ENGINES
from eval_tasks.engines.readings import Reading
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.parts import spread
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.word_crops import CROPS, GROUND_TRUTH, find_crops
from eval_tasks.tables.word_sheet import Sample, draw
from eval_tasks.treatments.arms import Arm
from integrations.protocols import Word


class Eyes:
    """Reads a rendered word by its colour: each label has one of its own."""

    def __init__(self, colours: dict[int, str]) -> None:
        self.colours, self.seen, self.until = colours, 0, None

    def readline(self, image: object) -> Word:
        if self.seen == self.until:
            raise KeyboardInterrupt
        self.seen += 1
        level = int(np.asarray(image)[..., 0].mean())
        nearest = min(self.colours, key=lambda c: abs(c - level))
        # Small crops are hard to read, as for other eyes.
        large = np.shape(image)[0] >= 20
        return Word([], self.colours[nearest] if large else "?", 0.9 if large else 0.2)


LABELS = ["Alpha", "4,000", "It's", "up"]


@pytest.fixture
def data(tmp_path):
    """Four rendered words with their labels, as the data set is published."""
    folder = tmp_path / "data"
    (folder / CROPS).mkdir(parents=True)
    lines = []
    for number, label in enumerate(LABELS, start=1):
        crop = Image.new("RGB", (80, 24 if number > 1 else 100), (50 * number, 90, 90))
        ImageDraw.Draw(crop).text((4, 2), label, "white", ImageFont.load_default(16))
        crop.save(folder / CROPS / f"word_{number}.png")
        lines.append(f'word_{number}.png, "{label}"')
    (folder / GROUND_TRUTH).write_text("\n".join(lines), encoding="utf-8-sig")
    return folder


def read_by(name, title, eyes, monkeypatch):
    """Have eyes that stand for an engine."""
    engine = OCR_ENGINES[name]._replace(words=lambda _: (title, eyes))
    monkeypatch.setitem(OCR_ENGINES, name, engine)


@pytest.fixture
def eyes(data, monkeypatch) -> Eyes:
    levels = [
        int(np.asarray(Image.open(data / CROPS / f"word_{n}.png"))[..., 0].mean())
        for n in range(1, len(LABELS) + 1)
    ]
    eyes = Eyes(dict(zip(levels, LABELS, strict=True)))
    read_by("easyocr", "eyes", eyes, monkeypatch)
    return eyes


def run_script(data, tmp_path, *args: str) -> int:
    fixed = ["--data", str(data), "--output", str(tmp_path / "out"), "--device", "cpu"]
    return icdar2013.main([*fixed, *args])


def test_from_crops_to_tables_report_and_sheets(data, eyes, tmp_path, skip_weights, capsys):
    model = ["--model", "tiny", "--weights", str(skip_weights)]
    asked = ["--reduce", "1", "2", "--jpeg", "none", "80"]
    assert run_script(data, tmp_path, *asked, *model) == 0
    assert eyes.seen == 4 * 4 * 4
    report = report_in(tmp_path / "out", "none-to-x2-jpeg80-easyocr")
    rows = {
        (r["degradation"], r["arm"]): r
        for r in report["rows"]
        if (r["subset"], r["rule"]) == ("all", "36 characters")
    }
    assert rows["none", "input"]["correct"] == 4
    assert rows["/2, JPEG 80", "input"]["correct"] == 1
    larger = rows["/2, JPEG 80", "tiny x4"]
    assert (larger["correct"], larger["fixed"], larger["broken"]) == (4, 3, 0)
    assert larger["recovered"] == 1
    assert larger["fixed_over_bicubic"] == 0
    assert rows["/2, JPEG 80", "tiny returned"]["recovered"] == 0
    assert rows["/2, JPEG 80", "tiny x4 or input"]["correct"] == 4
    assert rows["/2, JPEG 80", "tiny returned or input"]["correct"] == 1
    assert {r["subset"]: r["n"] for r in report["rows"]} == {
        "all": 4,
        "alphanumeric": 2,
        "alphanumeric, 3 or more": 1,
    }
    assert [r["correct"] for r in report["papers"]] == [934, 939, 937]
    assert {"cpu", "threads", "easyocr"} <= report.keys()
    assert "rapidocr" not in report
    assert report["devices"] == ", ".join(dict.fromkeys(r["device"] for r in report["rows"]))
    assert (report["weights"], report["seconds"] > 0) == (str(skip_weights), True)
    (path,) = reports_in(tmp_path / "out", "none-to-x2-jpeg80-easyocr")
    with path.with_suffix(".csv").open(newline="") as file:
        flat = list(csv.DictReader(file))
    assert len(flat) == len(report["rows"]) == 4 * 7 * 3 * 2
    assert [r["weights"] for r in flat] == [r["weights"] for r in report["rows"]]
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("N=4", "100 %", "4 (100.00)", "CAJNN, Table II"))
    sheets = sorted(p.name for p in path.with_suffix("").iterdir())
    assert len(sheets) == 8
    assert "x2-jpeg80_tiny-x4.png" in sheets


def test_a_run_that_was_stopped_goes_on(data, eyes, tmp_path, capsys):
    eyes.until = 5
    asked = ["--reduce", "1", "--jpeg", "none"]
    assert run_script(data, tmp_path, *asked) == 130
    assert "the same command goes on" in capsys.readouterr().err
    eyes.until = None
    assert run_script(data, tmp_path, *asked) == 0
    assert eyes.seen == 8, "every word is read once by each of the two arms"
    assert run_script(data, tmp_path, *asked) == 0
    assert eyes.seen == 8


def test_another_crop_under_a_name_that_was_read_is_read_anew(data, eyes, tmp_path):
    asked = ["--reduce", "1", "--jpeg", "none"]
    assert run_script(data, tmp_path, *asked) == 0
    with Image.open(data / CROPS / "word_1.png") as crop:
        other = crop.rotate(180)
    other.save(data / CROPS / "word_1.png")
    assert run_script(data, tmp_path, *asked) == 0
    assert eyes.seen == 8 + 2, "by each of the two arms"


def test_what_other_weights_or_another_dtype_make_of_a_word_is_read_anew(
    data, eyes, tmp_path, tiny_weights, skip_weights
):
    asked = ["--reduce", "1", "--jpeg", "none", "--model", "tiny", "--enlarged-only"]
    for weights, dtype, seen in (
        (tiny_weights, "float32", 12),
        (skip_weights, "float32", 16),
        (tiny_weights, "float32", 16),
        (tiny_weights, "bfloat16", 20),
    ):
        how = ["--weights", str(weights), "--dtype", dtype]
        assert run_script(data, tmp_path, *asked, *how) == 0
        assert eyes.seen == seen


def test_what_other_software_makes_of_a_word_is_read_anew(data, eyes, tmp_path, monkeypatch):
    asked = ["--reduce", "1", "--jpeg", "none"]
    for number, seen in (("1.0", 8), ("2.0", 16), ("1.0", 16)):
        monkeypatch.setattr("preproc.environment.version", lambda _, number=number: number)
        assert run_script(data, tmp_path, *asked) == 0
        assert eyes.seen == seen


def test_treating_and_reading_are_timed_apart_and_two_readings_take_the_time_of_both(
    data, eyes, tmp_path, monkeypatch
):
    clock, read = [0.0], eyes.readline

    def slow(img):
        clock[0] += 2
        return img

    def readline(image):
        clock[0] += 3
        return read(image)

    arms = [Arm("input", 1, lambda img: img), Arm("slow", 1, slow)]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(eyes, "readline", readline)
    monkeypatch.setattr(icdar2013.arm_options, "arms_from", lambda _: arms)
    assert run_script(data, tmp_path, "--reduce", "1", "--jpeg", "none") == 0
    rows = report_in(tmp_path / "out", "none-easyocr")["rows"]
    assert {r["arm"]: (r["arm_ms"], r["read_ms"]) for r in rows} == {
        "input": (0, 3000),
        "slow": (2000, 3000),
        "slow or input": (2000, 6000),
    }


def test_of_two_readings_the_surer_counts_and_of_equal_ones_that_of_the_arm_as_with_both():
    treated = {"a": Reading("treated", 0.5, 1, 2)}
    for sure, text in ((0.4, "treated"), (0.5, "treated"), (0.6, "as it is")):
        (read,) = icdar2013._surer(treated, {"a": Reading("as it is", sure, 0, 4)}).values()
        assert (read.text, read.arm_seconds, read.read_seconds) == (text, 1, 6)


def test_what_is_asked_for_twice_is_one_and_what_is_not_reduced_has_no_kernel(data, eyes, tmp_path):
    twice = ["--reduce", "2", "1", "2", "--jpeg", "none", "none", "--kernel", "lanczos"]
    assert run_script(data, tmp_path, *twice) == 0
    rows = report_in(tmp_path / "out", "x2lanczos-to-none-easyocr")["rows"]
    main = [r for r in rows if (r["subset"], r["rule"]) == ("all", "exact")]
    assert sorted((r["degradation"], r["arm"]) for r in main) == [
        (degradation, arm)
        for degradation in ("/2 lanczos", "none")
        for arm in ("bicubic x4", "bicubic x4 or input", "input")
    ]


def test_each_recogniser_and_part_of_the_words_has_a_report_and_sheets_of_its_own(
    data, eyes, tmp_path, tiny_weights, monkeypatch
):
    read_by("rapidocr", "others", eyes, monkeypatch)
    asked = ["--reduce", "1", "--jpeg", "none", "--enlarged-only"]
    asked += ["--model", "tiny", "--weights", str(tiny_weights)]
    out = tmp_path / "out"
    for suffix, more, title, words in (
        ("easyocr", [], "eyes", 4),
        ("rapidocr", ["--recogniser", "rapidocr"], "others", 4),
        ("rapidocr-every2", ["--recogniser", "rapidocr", "--every", "2"], "others", 2),
    ):
        assert run_script(data, tmp_path, *asked, *more) == 0
        report = report_in(out, f"none-{suffix}")
        assert (report["recogniser"], report["words"]) == (title, words)
        (path,) = reports_in(out, f"none-{suffix}")
        assert [sheet.name for sheet in path.with_suffix("").iterdir()] == ["none_tiny-x4.png"]
    assert eyes.seen == 2 * 4 * 3
    assert len([*out.glob("*.json")]) == 3


def test_no_report_or_sheet_replaces_one_of_other_runs(
    data, eyes, tmp_path, tiny_weights, skip_weights, monkeypatch
):
    runs = [
        ["--reduce", "2", "--jpeg", "80", "--model", "tiny", "--weights", str(tiny_weights), *how]
        for how in ([], ["--strength", "0.5"], ["--enlarged-only"], ["--dtype", "bfloat16"])
    ]
    runs.append([*runs[0][:-1], str(skip_weights)])
    runs.append([*runs[0], "--kernel", "box"])
    runs.append(["--reduce", "2", "1", "2", *runs[0][2:]])
    runs.append(runs[0][:4])
    out, kept = tmp_path / "out", {}
    for how in runs:
        assert run_script(data, tmp_path, *how) == 0
        new = {
            path: path.read_bytes() for path in out.rglob("*") if path.suffix in (".json", ".png")
        }
        assert new.items() > kept.items()
        kept = new
    assert len([*out.glob("*.json")]) == len([*out.glob("*.csv")]) == len(runs)
    assert run_script(data, tmp_path, *runs[0]) == 0
    assert len([*out.glob("*.json")]) == len(runs), "the same runs have the same name"
    for change in ("label", "software"):
        if change == "label":
            labels = (data / GROUND_TRUTH).read_text("utf-8-sig").replace('"up"', '"Up"')
            (data / GROUND_TRUTH).write_text(labels, encoding="utf-8-sig")
        else:
            monkeypatch.setattr("preproc.environment.version", lambda _: "0")
        before = len([*out.glob("*.json")])
        assert run_script(data, tmp_path, *runs[0]) == 0
        assert len([*out.glob("*.json")]) == before + 1


def test_what_there_is_to_win_back_is_always_read(data, eyes, tmp_path):
    assert run_script(data, tmp_path, "--reduce", "2", "--jpeg", "80") == 0
    assert eyes.seen == 4 * 3
    report = report_in(tmp_path / "out", "x2-jpeg80-easyocr")
    shown = [r for r in report["rows"] if r["arm"] == "bicubic x4" and r["subset"] == "all"]
    assert {r["recovered"] for r in shown} == {1}


def test_part_of_the_words_says_how_many(data, eyes, tmp_path, capsys):
    few = ["--reduce", "1", "--jpeg", "none", "--every", "2"]
    assert run_script(data, tmp_path, *few) == 0
    assert "N=2" in capsys.readouterr().out
    assert run_script(data, tmp_path, *few, "--limit", "1") == 0
    assert "N=1" in capsys.readouterr().out
    assert eyes.seen == 4
    first, second = (
        report_in(tmp_path / "out", f"none-easyocr-every2{rest}") for rest in ("", "-limit1")
    )
    told = ("folder", "every", "limit", "recogniser", "words")
    assert [first[key] for key in told] == ["data", "2", "none", "eyes", 2]
    assert [second[key] for key in told] == ["data", "2", "1", "eyes", 1]
    taken = [crop.file for crop in find_crops(data, every=2, limit=2)]
    assert taken == ["word_1.png", "word_3.png"]


def test_a_missing_crop_is_a_sentence(data, tmp_path, capsys):
    (data / CROPS / "word_2.png").unlink()
    assert run_script(data, tmp_path) == 1
    assert "word_2.png" in capsys.readouterr().err


def test_what_is_shown_of_many_is_spread_over_all():
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread(range(3), 4) == spread(range(3), None) == [0, 1, 2]


def test_a_sheet_shows_what_was_fixed_of_the_degraded_words(
    data, eyes, tmp_path, skip_weights, monkeypatch
):
    drawn = []
    monkeypatch.setattr(icdar2013, "draw", lambda *parts: drawn.append(parts) or draw(*parts))
    model = ["--model", "tiny", "--weights", str(skip_weights), "--enlarged-only"]
    assert run_script(data, tmp_path, "--reduce", "2", "--jpeg", "80", *model) == 0
    ((title, fixed, broken),) = drawn
    assert "/2, JPEG 80: input and tiny x4; of 4 words 3 fixed, 0 broken" in title
    assert [(s.label, s.read_before, s.read_after) for s in fixed] == [
        (label, "?", label) for label in LABELS[1:]
    ]
    assert broken == []
    small = Degradation(2, 80).apply(pixels(data / CROPS / "word_2.png"))
    np.testing.assert_array_equal(fixed[0].before, small)
    assert fixed[0].after.shape == (4 * small.shape[0], 4 * small.shape[1], 3)


def test_a_sheet_has_room_for_every_word():
    crop = np.zeros((10, 2000, 3), np.uint8)
    sample = Sample("label", crop, crop, "before", "x" * 500)
    few, many = draw("title", [sample], []), draw("title", [sample] * 3, [sample])
    assert many.height > few.height
    assert draw("title", [], []).width == few.width


def test_a_sheet_shows_before_left_of_after_and_fixed_left_of_broken():
    colours = ["#ff0000", "#00ff00", "#0000ff", "#ffff00"]
    crops = [np.asarray(Image.new("RGB", (30, 7), colour)) for colour in colours]
    fixed, broken = (Sample("it", *crops[k : k + 2], "is", "as") for k in (0, 2))
    sheet = np.asarray(draw("title", [fixed], [broken]))

    def middle(colour):
        found = (sheet == Image.new("RGB", (1, 1), colour).getpixel((0, 0))).all(-1)
        return np.argwhere(found).mean(0)[1]

    places = [middle(colour) for colour in colours]
    assert places == sorted(places)
    right, wrong = middle("#7fe07f"), middle("#ff9a7a")
    assert places[0] < right < places[3]
    assert places[0] < wrong < places[3]
