"""Lines of text are cut out level, shrunk without aliasing, and read without being looked for."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from fake_engines import Bicubic, FixedText, rectangle
from PIL import Image

from integrations import easyocr
from integrations.text_lines import level, shrink
from integrations.view import Regions


def test_a_tilted_line_is_cut_as_from_the_whole_picture(rng):
    picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
    quad = np.array([[10.5, 9], [40.5, 14], [38.5, 26], [8.5, 21]])
    corners = quad[[0, 3, 2, 1]].ravel()
    whole = Image.fromarray(picture).transform(
        (30, 12), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC
    )
    line = level(picture, quad)
    assert line.shape == (12, 30, 3)
    assert np.abs(line - np.asarray(whole, int)).max() <= 1


def test_what_a_tilted_line_covers_outside_the_picture_is_black(rng):
    picture = rng.integers(1, 256, (40, 60, 3), np.uint8)
    quad = np.array([[-9.5, 9], [20.5, 14], [18.5, 26], [-11.5, 21]])
    line = level(picture, quad)
    around = level(np.pad(picture, ((15, 15), (15, 15), (0, 0))), quad + 15)
    assert line.shape == (12, 30, 3)
    assert not line[:, :8].any()
    assert np.abs(line[:, 14:] - around[:, 14:].astype(int)).max() <= 1


def test_an_upright_line_is_cut_at_the_nearest_px(rng):
    picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
    quad = np.array([[10.4, 8.6], [40.3, 8.6], [40.3, 20.4], [10.4, 20.4]])
    np.testing.assert_array_equal(level(picture, quad), picture[9:20, 10:40])


def test_a_line_seen_from_a_side_is_as_large_as_its_longer_sides():
    quad = np.array([[10, 10], [50, 14], [50, 26], [10, 30]], float)
    assert level(np.zeros((40, 60, 3), np.uint8), quad).shape == (20, 40, 3)


def test_tall_lines_are_shrunk_with_antialiasing():
    stripes = np.zeros((256, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    engine = FixedText(
        [[0, 512, 0, 256], [520, 600, 0, 40]], [[[0, 0], [512, 1], [511, 257], [-1, 256]]]
    )
    words = easyocr.Reader(engine).readtext(stripes)
    assert [w.text for w in words] == ["128x64", "80x40", "128x64"]
    assert np.ptp(engine.sheet[2:62, 5:120]) < 30
    assert engine.sheet[2:62, 5:120].mean() == pytest.approx(127.5, abs=5)


def test_a_line_of_one_px_stays_one():
    assert shrink(np.zeros((1, 40, 3), np.uint8), 0.2).shape == (1, 8, 3)


@pytest.mark.parametrize(
    "enhancer", [None, Bicubic(2), Regions(Bicubic(2))], ids=["none", "whole", "regions"]
)
def test_a_line_is_read_without_looking_for_it(text_engine, sign, enhancer):
    crop = sign.crop((8, 12, 268, 54))
    word = easyocr.Reader(text_engine, enhancer=enhancer).readline(crop)
    assert word.text == "Emergency exit"
    assert rectangle(word) == [0, 0, 260, 42]
    assert 0.5 < word.confidence <= 1


def test_options_of_a_line_reach_the_recogniser_and_no_text_is_empty(monkeypatch):
    engine = FixedText()
    easyocr.Reader(engine).readline(np.zeros((12, 40, 3), np.uint8), allowlist="0123")
    assert engine.recognise_options["allowlist"] == "0123"
    assert engine.recognise_options["reformat"] is False
    monkeypatch.setattr(engine, "recognize", lambda *_, **__: [])
    word = easyocr.Reader(engine).readline(np.zeros((12, 40, 3), np.uint8))
    assert word == ([[0, 0], [40, 0], [40, 12], [0, 12]], "", 0)


def test_a_line_takes_readtexts_options_of_recognition_and_no_others(text_engine, sign):
    everything = inspect.signature(easyocr.Reader.readtext).parameters
    ours = inspect.signature(easyocr.Reader.readline).parameters
    theirs = inspect.signature(text_engine.recognize).parameters
    for name in set(ours) - {"self", "image"}:
        assert ours[name].default == everything[name].default == theirs[name].default

    reader = easyocr.Reader(text_engine)
    crop = sign.crop((8, 12, 268, 54))
    given = {name: p.default for name, p in ours.items() if name not in ("self", "image")}
    assert reader.readline(crop, **given) == reader.readline(crop)
    assert set(reader.readline(crop, allowlist="abc").text) <= set("abc")
    with pytest.raises(TypeError, match="'detail'"):
        reader.readline(crop, detail=0)
