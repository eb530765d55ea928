"""The engines that whole pictures are read with: they look for text, and read what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from eval_tasks.engines.recognisers import (
    easyocr_with_detector,
    rapidocr_reader,
    tesseract_reader,
)
from integrations import easyocr, rapidocr
from integrations.protocols import PageReader


@dataclass(frozen=True)
class PageEngine:
    """An engine.

    Attributes:
        title: its name with version and device, by which its readings are kept apart.
        behind: makes a reader for an ``enhancer``, which only for EasyOCR may be `Regions`;
            ``both`` also reads each text in the untreated picture, but not with Tesseract.
    """

    title: str
    behind: Callable[..., PageReader]


def _easyocr(cuda: bool) -> PageEngine:
    title, engine = easyocr_with_detector(cuda=cuda)
    return PageEngine(title, partial(easyocr.Reader, engine))


def _rapidocr(_: bool) -> PageEngine:
    title, reader = rapidocr_reader()
    return PageEngine(title, partial(rapidocr.Reader, reader.engine))


def _tesseract(_: bool) -> PageEngine:
    title, _reader = tesseract_reader()
    return PageEngine(title, lambda enhancer, both: tesseract_reader(enhancer)[1])  # noqa: ARG005


PAGE_ENGINES: dict[str, Callable[[bool], PageEngine]] = {
    "easyocr": _easyocr,
    "rapidocr": _rapidocr,
    "tesseract": _tesseract,
}
"""How each engine is loaded, by the name on the command line; True for CUDA, where it can.

Raises:
    MissingLibraryError: the optional library behind it is not installed.
"""
