"""RapidOCR behind an enhancer; its wheel carries the models, so that it works without a network."""

from __future__ import annotations

from math import inf
from typing import Any, Protocol

import numpy as np

from integrations.protocols import ArrayEnhancer, RgbArray, Word
from integrations.strips import shrink
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
        """Find and read the text in a picture of any kind.

        An engine made with ``params={"Global.max_side_len": ...}`` looks at larger pictures than
        its 2000 px, and takes longer.
        """
        view = look(image, self.enhancer)
        shown = shrink(view.rgb, self._longest() / max(view.rgb.shape[:2]))
        found = self.engine(_bgr(shown), use_det=True, use_cls=True, use_rec=True)
        if found.boxes is None:
            return []
        ratio = np.array([shown.shape[1], shown.shape[0]]) / (view.rgb.shape[1::-1])
        return [
            Word(view.to_source(np.asarray(box, np.float64) / ratio).tolist(), text, float(score))
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]

    def _longest(self) -> float:
        """Px to which the engine would shrink the longer side itself, but without antialiasing."""
        return getattr(self.engine, "max_side_len", inf)

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
