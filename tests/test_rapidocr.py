"""RapidOCR's adapter leaves the engine as it is, and shows it what it can use."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engines import Bicubic, Flagged, Rapid, TwoReadings, rectangle

from integrations import rapidocr
from integrations.protocols import Word
from preproc.errors import PreprocError


@pytest.fixture(scope="module")
def rapid_engine():
    pytest.importorskip("rapidocr")
    return rapidocr.Reader(params={"Global.log_level": "error", "Global.use_cls": False}).engine


def test_rapidocr_is_asked_in_bgr_and_answers_in_source_px(make_skip):
    seen = []

    class Found:
        boxes = np.array([[[4, 8], [40, 8], [40, 20], [4, 20]]])
        txts, scores = ("one",), (0.9,)

    def engine(img, **options):
        seen.append((img, options))
        return Found()

    red = np.zeros((6, 12, 3), np.uint8)
    red[..., 0] = 200
    reader = rapidocr.Reader(Rapid(engine), enhancer=make_skip())
    assert reader.readtext(red) == [Word([[1, 2], [10, 2], [10, 5], [1, 5]], "one", 0.9)]
    box = [[0, 0], [12, 0], [12, 6], [0, 6]]
    assert reader.readline(red) == Word(box, "one", 0.9)
    img, options = seen[1]
    assert img.shape == (24, 48, 3)
    assert img[0, 0].tolist() == [0, 0, 200]
    assert img.flags.c_contiguous
    assert options == {"use_det": False, "use_cls": False, "use_rec": True}


def test_rapidocr_keeps_its_own_settings():
    for turns in (True, False):
        engine = Flagged()
        engine.use_cls = turns
        before = dict(vars(engine))
        reader = rapidocr.Reader(engine)
        picture = np.zeros((9, 9, 3), np.uint8)
        assert reader.readline(picture).text == "det False cls False rec True"
        assert [w.text for w in reader.readtext(picture)] == [f"det True cls {turns} rec True"]
        rapidocr.Reader(engine, enhancer=Bicubic(1), both=True).readtext(picture)
        found, *read = engine.said[-3:]
        assert found == "det True cls False rec False", "lines are turned where they are read"
        assert read == [f"det False cls {turns} rec True"] * 2
        assert vars(engine) == before


@pytest.mark.parametrize(("height", "shape"), [(14, (14, 10, 3)), (15, (10, 15, 3))])
def test_rapidocr_lays_lines_down_that_are_half_as_high_again_as_wide(rng, height, shape):
    class Standing(Flagged):
        def __call__(self, img_content, **flags):
            found = super().__call__(img_content, **flags)
            self.shown.append(img_content)
            found.boxes = [[[0, 0], [10, 0], [10, height], [0, height]]]
            return found

    engine, picture = Standing(), rng.integers(0, 256, (20, 20, 3), np.uint8)
    engine.shown = []
    reader = rapidocr.Reader(engine, enhancer=Bicubic(1), both=True)
    reader.readtext(picture)
    assert engine.shapes[1:] == [shape, shape]
    line = picture[:height, :10, ::-1]
    wanted = line if height == 14 else line.swapaxes(0, 1)[::-1]  # its top is at the left
    for shown in engine.shown[1:]:
        np.testing.assert_array_equal(shown, wanted)


@pytest.mark.parametrize("turns", [True, False])
def test_rapidocr_loads_its_models_itself_and_none_in_vain(turns):
    loaded = []

    class Loading(Flagged):
        def _load_det_model(self):
            loaded.append("det")

        def _load_cls_model(self):
            loaded.append("cls")

        def _load_rec_model(self):
            loaded.append("rec")

    engine, picture = Loading(), np.zeros((9, 9, 3), np.uint8)
    engine.use_cls = turns
    reader = rapidocr.Reader(engine, enhancer=Bicubic(1), both=True)
    reader.readline(picture)
    assert set(loaded) == {"rec"}
    reader.readtext(picture)
    assert set(loaded) == {"det", "rec", *["cls"] * turns}


def test_a_real_rapidocr_is_left_as_it_is(rapid_engine, sign):
    reader = rapidocr.Reader(rapid_engine, enhancer=Bicubic(2), both=True)
    lines = ["Emergency exit", "Second floor"]
    assert reader.readline(sign.crop((8, 12, 268, 54))).text == lines[0]
    assert (rapid_engine.use_det, rapid_engine.use_cls) == (True, False)
    assert [word.text for word in reader.readtext(sign)] == lines
    assert (rapid_engine.use_det, rapid_engine.use_cls) == (True, False)
    assert rapid_engine.text_det is not None  # else each call's copy would load it anew
    assert rapid_engine.text_rec is not None
    assert rapid_engine.text_cls is None  # not needed, and so not loaded


def test_rapidocr_reads_both_ways_and_keeps_the_surer(make_skip):
    lines = []

    class Found:
        boxes = np.array([[[4, 8], [40, 8], [40, 20], [4, 20]], [[0, 0], [8, 0], [8, 24], [0, 24]]])

    readings = iter([("one", 0.9), ("plain", 0.6), ("two", 0.4), ("plain", 0.6)])

    def engine(img, use_rec, **_):
        if not use_rec:
            return Found()
        lines.append(img)
        text, score = next(readings)
        return SimpleNamespace(txts=(text,), scores=(score,))

    picture = np.zeros((6, 12, 3), np.uint8)
    picture[0] = 255
    words = rapidocr.Reader(Rapid(engine), enhancer=make_skip(), both=True).readtext(picture)
    assert [(word.text, word.confidence) for word in words] == [("one", 0.9), ("plain", 0.6)]
    assert words[1].box == [[0, 0], [2, 0], [2, 6], [0, 6]]
    shapes = [line.shape for line in lines]
    assert shapes[::2] == [(12, 36, 3), (8, 24, 3)], "in px of the enlarged picture"
    assert shapes[1::2] == [(3, 9, 3), (2, 6, 3)], "in source px, and what stands is laid down"
    assert (lines[3][:, 0] == 255).all(), "to the left, as RapidOCR does"


def test_rapidocr_reads_one_place_both_ways_where_the_enhanced_picture_is_shrunk():
    lines = []

    def answer(img, use_rec, **_):
        if not use_rec:
            return SimpleNamespace(boxes=[[[10, 2], [18, 2], [18, 6], [10, 6]]])
        lines.append(img)
        return SimpleNamespace(txts=("one",), scores=(0.9,))

    engine = Rapid(answer)
    engine.max_side_len = 20
    ramp = np.zeros((5, 15, 3), np.uint8)
    ramp[:] = 16 * np.arange(15)[:, None]
    (word,) = rapidocr.Reader(engine, enhancer=Bicubic(2), both=True).readtext(ramp)
    # It is shown as 20x7, where its 30x10 would be 20x6.7.
    np.testing.assert_allclose(rectangle(word), [7.5, 10 / 7, 13.5, 30 / 7])
    assert [line.shape for line in lines] == [(4, 8, 3), (3, 6, 3)]
    assert lines[0].mean() == pytest.approx(lines[1].mean(), abs=16)


@pytest.mark.parametrize("both", [False, True])
def test_rapidocr_finds_no_words_where_there_are_none(rapid_engine, both):
    reader = rapidocr.Reader(rapid_engine, enhancer=Bicubic(2), both=both)
    blank = np.full((40, 60, 3), 128, np.uint8)
    assert reader.readtext(blank) == []
    assert reader.readline(blank)[1:] == ("", 0.0)


@pytest.mark.parametrize("first", [("wrong", 0.3), ("wrong", 0.7), ("", 0.0), (" ", 0.99)], ids=str)
def test_rapidocr_reads_in_the_source_what_is_doubtful_or_blank_enhanced(sign, first):
    words = rapidocr.Reader(TwoReadings(*first), enhancer=Bicubic(2)).readtext(sign)
    assert [word.text for word in words] == ["wrong"] * (first[1] == 0.7)
    (word,) = rapidocr.Reader(TwoReadings(*first), enhancer=Bicubic(2), both=True).readtext(sign)
    assert (word.text, word.confidence) == ("right", 0.9)
    assert rectangle(word) == [4, 6, 134, 27]
    line = rapidocr.Reader(TwoReadings(*first), enhancer=Bicubic(2), both=True).readline(sign)
    assert (line.text, line.confidence) == ("right", 0.9)


@pytest.mark.parametrize(("second", "least"), [(("right", 0.9), 0.95), ((" ", 0.9), 0.5)], ids=str)
def test_rapidocr_leaves_out_what_neither_reading_is_sure_of(sign, second, least):
    engine = TwoReadings("", 0.0)
    engine.readings[1], engine.text_score = second, least
    assert rapidocr.Reader(engine, enhancer=Bicubic(2), both=True).readtext(sign) == []


def test_rapidocr_gives_what_is_just_as_sure_as_asked_for(sign):
    reader = rapidocr.Reader(TwoReadings("", 0.0), enhancer=Bicubic(2), both=True)
    assert [word.text for word in reader.readtext(sign, text_score=0.9)] == ["right"]


@pytest.mark.parametrize(("second", "texts"), [(("doubtful", 0.1), ["doubtful"]), (("", 0.0), [])])
def test_rapidocr_gives_all_but_the_blank_where_no_confidence_is_asked_for(sign, second, texts):
    engine = TwoReadings("", 0.0)
    engine.readings[1] = second
    reader = rapidocr.Reader(engine, enhancer=Bicubic(2), both=True)
    assert [word.text for word in reader.readtext(sign, text_score=0)] == texts


@pytest.mark.parametrize("both", [False, True])
def test_rapidocrs_least_confidence_may_be_chosen_for_a_picture(rapid_engine, sign, both):
    reader = rapidocr.Reader(rapid_engine, enhancer=Bicubic(1), both=both)
    tops = [rectangle(word)[1] for word in reader.readtext(sign)]
    np.testing.assert_allclose(tops, [10, 62], atol=8)
    assert reader.readtext(sign, text_score=1) == []
    assert rapid_engine.text_score == 0.5
    engine = TwoReadings("wrong", 0.3)
    engine.readings[1] = ("right", 0.4)
    doubtful = rapidocr.Reader(engine, enhancer=Bicubic(1), both=both)
    (word,) = doubtful.readtext(sign, text_score=0.2)
    assert word.text == ("right" if both else "wrong")
    for score in ("0.5", 50, float("nan")):
        with pytest.raises(PreprocError, match=f"from 0 to 1, but is {score!r}"):
            reader.readtext(sign, text_score=score)


@pytest.mark.parametrize(
    "name", ["use_det", "use_rec", "return_word_box", "return_single_char_box"]
)
def test_rapidocrs_settings_that_would_change_nothing_are_refused(name):
    with pytest.raises(PreprocError, match=f"Global.{name} would change nothing"):
        rapidocr.Reader(params={f"Global.{name}": True})


def test_rapidocr_is_asked_by_two_threads_at_once():
    barrier = threading.Barrier(2, timeout=20)
    reader = rapidocr.Reader(Flagged(barrier.wait))
    picture = np.zeros((9, 9, 3), np.uint8)
    with ThreadPoolExecutor(2) as threads:
        words = threads.submit(reader.readtext, picture)
        line = threads.submit(reader.readline, picture)
        assert [w.text for w in words.result()] == ["det True cls True rec True"]
        assert line.result().text == "det False cls False rec True"


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (10, 20, 3)),
        ({"use_preprocess_img": True}, (10, 20, 3)),
        ({"use_preprocess_img": False}, (40, 80, 3)),
    ],
)
def test_rapidocr_is_shown_what_it_would_shrink_to(settings, shape):
    engine = Flagged(**settings)
    (word,) = rapidocr.Reader(engine).readtext(np.zeros((40, 80, 3), np.uint8))
    assert engine.shapes == [shape]
    assert rectangle(word)[2] == 8 * 80 / shape[1]
    assert rapidocr.Reader(engine).readline(np.zeros((40, 80, 3), np.uint8)).text
    assert engine.shapes == [shape, shape]


def test_rapidocr_gets_large_pictures_antialiased_at_its_own_limit(make_skip):
    seen = []

    class Found:
        boxes = np.array([[[0, 0], [20, 0], [20, 10], [0, 10]]])
        txts, scores = ("all",), (0.9,)

    def answer(img, **_):
        seen.append(img)
        return Found()

    engine = Rapid(answer)
    engine.max_side_len = 20
    stripes = np.zeros((10, 20, 3), np.uint8)
    stripes[:, ::2] = 255
    with pytest.warns(rapidocr.ShownSizeWarning):
        (word,) = rapidocr.Reader(engine, enhancer=make_skip()).readtext(stripes)
    assert seen[0].shape == (10, 20, 3)
    assert word.box == [[0, 0], [20, 0], [20, 10], [0, 10]]
    seen.clear()
    (word,) = rapidocr.Reader(engine).readtext(stripes.repeat(2, 0).repeat(2, 1))
    assert word.box == [[0, 0], [40, 0], [40, 20], [0, 20]]
    seen.clear()
    fine = np.zeros((20, 40, 3), np.uint8)
    fine[:, ::2] = 255
    rapidocr.Reader(engine).readtext(fine)
    assert abs(seen[0][:, 2:-2].astype(int) - 128).max() < 40


def test_rapidocr_is_shown_lines_of_a_large_source_as_it_would_shrink_them():
    engine = Flagged()
    with pytest.warns(rapidocr.ShownSizeWarning):
        rapidocr.Reader(engine, enhancer=Bicubic(1), both=True).readtext(
            np.zeros((40, 80, 3), np.uint8)
        )
    assert engine.shapes == [(10, 20, 3), (4, 8, 3), (10, 20, 3)]


def test_rapidocr_that_undoes_all_enlargement_gets_a_warning():
    reader = rapidocr.Reader(Flagged(), enhancer=Bicubic(4))
    sentence = r'has 160x80 px, but RapidOCR is shown 20x10, .*"Global.max_side_len": 160\}'
    with pytest.warns(rapidocr.ShownSizeWarning, match=sentence) as caught:
        reader.readtext(np.zeros((20, 40, 3), np.uint8))
    assert caught[0].filename == __file__
    with pytest.warns(rapidocr.ShownSizeWarning, match="no more than were given"):
        reader.readtext(np.zeros((9, 20, 3), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.readtext(np.zeros((9, 19, 3), np.uint8))
        rapidocr.Reader(Flagged()).readtext(np.zeros((20, 40, 3), np.uint8))
        rapidocr.Reader(Flagged(), enhancer=Bicubic(1)).readtext(np.zeros((9, 19, 3), np.uint8))
