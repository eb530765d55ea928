"""At which sizes EasyOCR's adapter searches and reads, and that its answers are in source px."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from fake_engines import Bicubic, FixedText, rectangle

from integrations import easyocr
from integrations.view import Regions
from preproc.errors import PreprocError


def test_sizes_are_in_source_pixels():
    engine = FixedText([[40, 80, 20, 40]])
    words = easyocr.Reader(engine, enhancer=Bicubic(2)).readtext(
        np.zeros((50, 100, 3), np.uint8),
        min_size=7,
        canvas_size=100,
        add_margin=0.3,
        decoder="beamsearch",
    )
    sizes = {k: engine.options[k] for k in ("min_size", "canvas_size", "mag_ratio")}
    assert sizes == {"min_size": 14, "canvas_size": 200, "mag_ratio": 1.0}
    assert (engine.options["add_margin"], engine.options["reformat"]) == (0.3, False)
    assert engine.recognise_options["decoder"] == "beamsearch"
    assert engine.recognise_options["reformat"] is False
    assert words == [([[20, 10], [40, 10], [40, 20], [20, 20]], "40x20", 0.5)]


def test_what_is_larger_than_the_canvas_is_shrunk_without_aliasing():
    stripes = np.zeros((200, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    engine = FixedText([[10, 60, 0, 50]])
    words = easyocr.Reader(engine).readtext(stripes, canvas_size=100)
    assert engine.seen.shape == (50, 100, 3)
    assert np.ptp(engine.seen[:, 5:-5]) < 20
    assert engine.seen.mean() == pytest.approx(127.5, abs=5)
    assert rectangle(words[0]) == [40, 0, 240, 200]


def test_text_is_looked_for_at_twice_the_size_and_read_at_the_enhancers():
    engine = FixedText([[10, 60, 0, 50]])
    reader = easyocr.Reader(engine, enhancer=Bicubic(4))
    picture = np.zeros((50, 100, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = reader.readtext(picture)
    assert engine.seen.shape == (100, 200, 3)
    assert engine.options["min_size"] == 40
    assert rectangle(words[0]) == [5, 0, 30, 25]
    assert words[0].text == "64x64"  # 100 px high in the enlarged picture, and so brought to a line
    reader.readtext(picture, max_scale=3)
    assert engine.seen.shape == (150, 300, 3)
    reader.readtext(picture, max_scale=8)
    assert engine.seen.shape == (200, 400, 3)


@pytest.mark.parametrize(
    ("scale", "ratio", "shown", "left"),
    [(None, 2, (50, 100, 3), 2), (None, 0.5, (25, 50, 3), 1), (4, 1.5, (150, 300, 3), 1)],
)
def test_text_is_looked_for_as_much_larger_as_mag_ratio_says(scale, ratio, shown, left):
    """What is still to be enlarged is left to EasyOCR."""
    engine = FixedText([[1, 5, 1, 5]])
    reader = easyocr.Reader(engine, enhancer=scale and Bicubic(scale))
    reader.readtext(np.zeros((50, 100, 3), np.uint8), mag_ratio=ratio)
    assert engine.seen.shape == shown
    assert engine.options["mag_ratio"] == left
    assert engine.options["canvas_size"] == left * shown[1]


@pytest.mark.parametrize(
    ("scale", "limits", "shown", "canvas"),
    [
        (4, {"canvas_size": 60}, (100, 200, 3), 200),
        (4, {"canvas_size": 40}, (80, 160, 3), 160),
        (None, {"canvas_size": 150, "mag_ratio": 2}, (50, 100, 3), 150),
        (None, {"max_scale": 0.5}, (25, 50, 3), 50),
    ],
)
def test_text_is_looked_for_at_the_least_of_the_sizes_allowed(scale, limits, shown, canvas):
    engine = FixedText([[1, 5, 1, 5]])
    reader = easyocr.Reader(engine, enhancer=scale and Bicubic(scale))
    reader.readtext(np.zeros((50, 100, 3), np.uint8), **limits)
    assert (engine.seen.shape, engine.options["canvas_size"]) == (shown, canvas)


def test_boxes_of_a_strip_go_back_by_each_of_its_sides_to_the_nearest_px():
    """Its sides are rounded apart: it is shown as 70x10, where its 15 px would be 10.5."""
    free = [[7, 2], [56, 4], [55, 9], [6, 7]]
    reader = easyocr.Reader(FixedText([[7, 69, 2, 10]], [free]))
    upright, tilted = reader.readtext(np.zeros((15, 100, 3), np.uint8), canvas_size=70)
    assert rectangle(upright) == [10, 3, 99, 15]
    np.testing.assert_allclose(tilted.box, np.array(free) / (0.7, 10 / 15))


def test_what_was_shrunk_once_is_not_shrunk_again():
    engine = FixedText([[1, 5, 1, 5]])
    easyocr.Reader(engine).readtext(np.zeros((50, 100, 3), np.uint8), canvas_size=70.6)
    assert engine.seen.shape[1] == 71
    assert engine.options["canvas_size"] >= 71


def test_the_detector_is_spared_what_would_fill_the_memory():
    engine = FixedText([[10, 60, 0, 50]])
    reader = easyocr.Reader(engine, enhancer=Bicubic(4))
    picture = np.zeros((50, 100, 3), np.uint8)
    with pytest.warns(easyocr.DetectionSizeWarning, match="0.25 of the enlarged size") as caught:
        words = reader.readtext(picture, max_pixels=5_000)
    assert "Regions" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert engine.seen.shape == (50, 100, 3)
    assert rectangle(words[0]) == [10, 0, 60, 50]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.readtext(picture, max_scale=4, max_pixels=80_000)
    assert engine.seen.shape == (200, 400, 3)
    with pytest.warns(easyocr.DetectionSizeWarning, match="at 1.40 of the given size"):
        easyocr.Reader(engine).readtext(picture, mag_ratio=2, max_pixels=9_800)
    assert engine.options["canvas_size"] == pytest.approx(140)
    with pytest.warns(easyocr.DetectionSizeWarning, match="than for 12 million px"):
        easyocr.Reader(engine, enhancer=Bicubic(2)).readtext(np.zeros((1800, 1800, 3), np.uint8))


@pytest.mark.parametrize("enhancer", [None, Regions(Bicubic(4))], ids=["none", "regions"])
def test_the_detector_is_spared_what_would_fill_the_memory_without_enlargement(enhancer):
    reader = easyocr.Reader(FixedText([[10, 60, 0, 50]]), enhancer=enhancer)
    with pytest.warns(
        easyocr.DetectionSizeWarning, match=r"at 0.5\d of the given size.*raise max_pixels=\.$"
    ):
        reader.readtext(np.zeros((50, 100, 3), np.uint8), max_pixels=1_300)


@pytest.mark.parametrize("name", ["canvas_size", "mag_ratio", "max_scale", "max_pixels"])
@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_a_size_at_which_nothing_would_be_found_is_one_sentence(name, size):
    reader = easyocr.Reader(FixedText([[1, 5, 1, 5]]))
    with pytest.raises(PreprocError, match=f"{name} must be a number above 0, but is {size}"):
        reader.readtext(np.zeros((50, 100, 3), np.uint8), **{name: size})


def test_a_column_of_letters_is_read_at_its_width():
    engine = FixedText([[10, 50, 0, 300]])
    (word,) = easyocr.Reader(engine).readtext(np.zeros((300, 60, 3), np.uint8))
    assert word.text == "40x300"


def test_boxes_past_the_border_are_cut_and_those_outside_dropped():
    engine = FixedText([[-5, 30, -8, 12], [200, 220, 5, 10]])
    words = easyocr.Reader(engine).readtext(np.zeros((50, 100, 3), np.uint8))
    assert [rectangle(w) for w in words] == [[0, 0, 30, 12]]


def test_upright_boxes_are_whole_px_around_the_text_and_tilted_ones_are_not():
    tilted = [[30, 62], [50, 66], [49, 76], [29, 72]]
    engine = FixedText([[41, 82, 22, 43]], [tilted])
    picture = np.zeros((50, 100, 3), np.uint8)
    reader = easyocr.Reader(engine, enhancer=Bicubic(4))
    words = reader.readtext(picture, max_scale=4)
    assert words[0].box == [[10, 5], [21, 5], [21, 11], [10, 11]]
    (left, top), _, (right, bottom), _ = words[0].box
    assert picture[top:bottom, left:right].shape == (6, 11, 3)
    pytest.importorskip("cv2").rectangle(picture, words[0].box[0], words[0].box[2], (255, 0, 0))
    assert words[1].box[0] == [7.5, 15.5]
    assert {type(v) for corner in reader.readline(picture).box for v in corner} == {int}
