"""RapidOCR behind an enhancer; its wheel carries the models, so that it works without a network."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from integrations.protocols import ArrayEnhancer, RgbArray, Word
from integrations.view import look
from preproc.errors import PreprocError


class Engine(Protocol):
    """The part of ``rapidocr.RapidOCR`` that is used here."""

    def __call__(self, img_content: RgbArray, **options: object) -> Any:  # noqa: ANN401 - untyped
        """Finds and reads text in a BGR picture."""


class Reader:
    """A RapidOCR engine that sees the enhanced picture and answers in source pixels.

    ``Reader(enhancer=Enhancer())`` stands where ``rapidocr.RapidOCR()`` stood, and
    ``Reader(mine, enhancer=Enhancer())`` uses an engine that exists.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        enhancer: ArrayEnhancer | None = None,
        **options: object,
    ) -> None:
        """Wrap an engine, or make one.

        Args:
            engine: a ``rapidocr.RapidOCR``; None makes one.
            enhancer: enlarges the picture first; None reads it as it is.
            options: for ``rapidocr.RapidOCR``, when one is made.

        Raises:
            PreprocError: RapidOCR is not installed, or options are given for an engine that exists.
        """
        if engine is not None and options:
            raise PreprocError(
                f"The engine exists already, so {', '.join(options)} cannot be set here; "
                "set it where that engine is made."
            )
        self.enhancer = enhancer
        self.engine = engine or _make(options)

    def readtext(self, image: object) -> list[Word]:
        """Find and read the text in a picture of any kind."""
        view = look(image, self.enhancer)
        found = self.engine(_bgr(view.rgb), use_det=True, use_cls=True, use_rec=True)
        if found.boxes is None:
            return []
        return [
            Word((np.asarray(box, np.float64) / view.scale).tolist(), text, float(score))
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]

    def readline(self, image: object) -> Word:
        """Read a picture of any kind that is one line of text."""
        view = look(image, self.enhancer)
        found = self.engine(_bgr(view.rgb), use_det=False, use_cls=False, use_rec=True)
        height, width = (side / view.scale for side in view.rgb.shape[:2])
        corners = [[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]]
        return Word(
            corners, "".join(found.txts or ()), float(found.scores[0]) if found.txts else 0.0
        )


def _bgr(rgb: RgbArray) -> RgbArray:
    return np.ascontiguousarray(rgb[..., ::-1])


def _make(options: dict[str, object]) -> Engine:
    try:
        import rapidocr  # noqa: PLC0415 - the engine is imported only when used
    except ImportError as error:
        raise PreprocError("RapidOCR is missing: pip install rapidocr onnxruntime.") from error
    make: Any = rapidocr.RapidOCR
    engine: Engine = make(**options)
    return engine
