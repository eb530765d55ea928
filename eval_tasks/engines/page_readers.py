"""The engines that whole pictures are read with: they look for text, and read what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from eval_tasks.engines.recognisers import (
    easyocr_with_detector,
    rapidocr_reader,
    tesseract_reader,
)
from eval_tasks.treatments.stage import Stage
from integrations import easyocr, rapidocr
from integrations.protocols import PageReader
from integrations.view import Regions
from preproc.errors import PreprocError

Behind: TypeAlias = Callable[[Stage | Regions, bool], PageReader]
"""Puts an engine behind an enhancer; True also reads what is found in the picture as it is.

Raises:
    PreprocError: the engine cannot do that, or read regions only.
"""


@dataclass(frozen=True)
class PageEngine:
    """An engine.

    Attributes:
        title: its name with version and device, by which its readings are kept apart.
        behind: see `Behind`.
    """

    title: str
    behind: Behind


def _easyocr(cuda: bool) -> PageEngine:
    title, engine = easyocr_with_detector(cuda=cuda)

    def behind(enhancer: Stage | Regions, both: bool) -> PageReader:
        return easyocr.Reader(engine, enhancer=enhancer, both=both)

    return PageEngine(title, behind)


def _rapidocr(cuda: bool) -> PageEngine:
    del cuda
    title, made = rapidocr_reader()

    def behind(enhancer: Stage | Regions, both: bool) -> PageReader:
        return rapidocr.Reader(made.engine, enhancer=_whole(enhancer), both=both)

    return PageEngine(title, behind)


def _tesseract(cuda: bool) -> PageEngine:
    del cuda
    title, _ = tesseract_reader()

    def behind(enhancer: Stage | Regions, both: bool) -> PageReader:
        if both:
            raise PreprocError("Tesseract does not read words apart; leave --both out.")
        return tesseract_reader(_whole(enhancer))[1]

    return PageEngine(title, behind)


def _whole(enhancer: Stage | Regions) -> Stage:
    if isinstance(enhancer, Regions):
        raise PreprocError("Only EasyOCR reads regions; leave --regions out.")
    return enhancer


PAGE_ENGINES: dict[str, Callable[[bool], PageEngine]] = {
    "easyocr": _easyocr,
    "rapidocr": _rapidocr,
    "tesseract": _tesseract,
}
"""How each engine is loaded, by the name on the command line; True for CUDA, where it can.

Raises:
    MissingLibraryError: the optional library behind it is not installed.
"""
