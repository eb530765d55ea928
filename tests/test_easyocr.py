"""EasyOCR's adapter reads what it is shown, and is made of languages or of a reader that exists."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engines import Bicubic, FixedText, kinds, rectangle
from PIL import Image, ImageDraw, ImageFont

from integrations import easyocr
from preproc.errors import PreprocError


@pytest.mark.parametrize("scale", [None, 2])
def test_reads_a_sign_where_it_is(text_engine, sign, scale):
    reader = easyocr.Reader(text_engine, enhancer=scale and Bicubic(scale))
    words = reader.readtext(sign)
    assert [w.text for w in words] == ["Emergency exit", "Second floor"]
    assert all(w.confidence > 0.5 for w in words)
    np.testing.assert_allclose(rectangle(words[0]), [14, 19, 250, 50], atol=10)
    box, text, confidence = words[1]  # unpacks as EasyOCR's own triples
    assert (len(box), text) == (4, "Second floor")
    assert 0 < confidence <= 1


def test_every_kind_of_input_gives_the_same_text(text_engine, sign, tmp_path):
    reader = easyocr.Reader(text_engine)
    expected = reader.readtext(sign)
    assert expected
    for kind, given in kinds(sign, tmp_path).items():
        words = reader.readtext(given)
        if kind == "palette":
            assert [w.text for w in words] == [w.text for w in expected]
        else:
            assert words == expected, kind


def test_several_threads_read_with_one_reader(text_engine, sign):
    reader = easyocr.Reader(text_engine, enhancer=Bicubic(2))
    pages = [sign, sign.crop((0, 0, sign.width, sign.height // 2)), sign.resize((200, 60))]
    expected = [reader.readtext(page) for page in pages]
    assert expected[0] != expected[1] != expected[2]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(reader.readtext, pages)) == expected


def test_tilted_text_is_read_along_its_slope(text_engine):
    image = Image.new("RGB", (300, 300), (20, 90, 60))
    draw = ImageDraw.Draw(image)
    draw.text((20, 120), "Emergency exit", fill="white", font=ImageFont.load_default(36))
    words = easyocr.Reader(text_engine).readtext(
        image.rotate(15, Image.Resampling.BICUBIC, fillcolor=(20, 90, 60))
    )
    assert {w.text for w in words} == {"Emergency", "exit"}
    for word in words:
        corners = np.asarray(word.box)
        assert corners[1, 1] < corners[0, 1] - 10  # the right end is higher


def test_a_picture_without_text_has_no_words(text_engine):
    reader = easyocr.Reader(text_engine, enhancer=Bicubic(2))
    assert reader.readtext(np.full((40, 60, 3), 128, np.uint8)) == []
    assert reader.readtext(np.full((1, 1, 3), 128, np.uint8)) == []


def test_a_reader_made_without_a_network_says_what_it_is_for(sign):
    models = pytest.importorskip("easyocr_en_models", reason="the offline EasyOCR models")
    options = {"model_storage_directory": models.model_dir(), "download_enabled": False}
    make = pytest.importorskip("easyocr").Reader
    deaf = make(["en"], gpu=False, verbose=False, recognizer=False, **options)
    with pytest.raises(PreprocError, match="made with recognizer=False cannot read"):
        easyocr.Reader(deaf)
    blind = easyocr.Reader(["en"], gpu=False, verbose=False, detector=False, **options)
    with pytest.raises(PreprocError, match=r"made with detector=False .* use readline"):
        blind.readtext(sign)
    assert blind.readline(sign.crop((8, 12, 268, 54))).text == "Emergency exit"


@pytest.mark.parametrize(
    "name",
    [
        lambda **options: easyocr.Reader(["en"], **options),
        lambda **options: easyocr.Reader("en", **options),
        lambda **options: easyocr.Reader({"en"}, **options),
        lambda **options: easyocr.Reader(lang_list=["en"], **options),
    ],
)
def test_languages_are_named_as_for_easyocr(monkeypatch, name):
    made = []

    def make(lang_list, **options):
        made.append((lang_list, options))
        return FixedText()

    monkeypatch.setitem(sys.modules, "easyocr", SimpleNamespace(Reader=make))
    assert isinstance(name(gpu=False, verbose=False).engine, FixedText)
    assert made == [(["en"], {"gpu": False, "verbose": False})]


def test_languages_of_a_reader_that_exists_cannot_be_named():
    with pytest.raises(PreprocError, match="leave lang_list out"):
        easyocr.Reader(FixedText(), lang_list=["en"])


@pytest.mark.parametrize("languages", [[], [7], b"en"], ids=str)
def test_what_is_no_language_is_refused(languages):
    with pytest.raises(PreprocError, match=r'Languages must be a list such as \["en"\], but are'):
        easyocr.Reader(languages)
