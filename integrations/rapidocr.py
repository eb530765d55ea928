"""RapidOCR behind an enhancer; its wheel carries the models, so that it works without a network."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from math import inf
from numbers import Real
from typing import Any, Protocol

import numpy as np

from integrations.engines import refuse_options, require_engine
from integrations.protocols import ArrayEnhancer, LineRecogniser, PageReader, RgbArray, Word, surer
from integrations.text_lines import corners_of, level, shrink
from integrations.view import Points, enlarge, look, require_usable
from preproc.errors import OptionError, PreprocWarning, warn
from preproc.extras import importing
from preproc.pictures.picture import ChannelOrder


class ShownSizeWarning(PreprocWarning):
    """The engine shrinks the enhanced picture again, to the size of its source or below."""


class Engine(Protocol):
    """The part of ``rapidocr.RapidOCR`` that is used here."""

    cfg: Any
    max_side_len: float
    text_score: float
    use_cls: bool

    def __call__(self, img_content: RgbArray, **options: object) -> Any:  # noqa: ANN401 - untyped
        """Finds and reads text in a BGR picture."""


class Reader(PageReader, LineRecogniser):
    """A RapidOCR engine that sees the enhanced picture and answers in source pixels.

    ::

        reader = Reader(enhancer=Enhancer("cajnn-ocr", strength=0.5), both=True)
        for box, text, confidence in reader.readtext("photo.jpg"):
            print(text)

    This makes a ``rapidocr.RapidOCR``; ``Reader(mine, enhancer=...)`` uses one that you have, and
    leaves its settings as they are. Arrays are RGB, where RapidOCR takes BGR
    (``channel_order="bgr"`` does so here). Several threads may use one reader.

    RapidOCR was trained on poor pictures, and reads fewer words after enhancement than before. Try
    it without first. With ``both=True`` every text is read in the picture as it is, too, and the
    reading with more confidence counts: of single words hardly any is lost so, and none won.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        enhancer: ArrayEnhancer | None = None,
        both: bool = False,
        channel_order: ChannelOrder = "rgb",
        **options: object,
    ) -> None:
        """Wrap an engine, or make one.

        Args:
            engine: a ``rapidocr.RapidOCR``; None makes one.
            enhancer: enlarges the picture first; None reads it as it is.
            both: whether texts are read in the source as well; reading takes twice as long.
            channel_order: of arrays and tensors; ``"bgr"`` for those of OpenCV.
            options: for ``rapidocr.RapidOCR``, when one is made. Its thresholds are set in
                ``params``, as ``{"Det.box_thresh": 0.3}``.

        Raises:
            MissingLibraryError: RapidOCR is not installed.
            OptionError: the engine is none, options are given for an engine that exists, or would
                change nothing here, or enhancer or order of channels cannot be used.
        """
        require_usable(enhancer, channel_order)
        if engine is not None:
            parts = ("__call__", "cfg", "max_side_len", "text_score", "use_cls")
            require_engine(engine, "rapidocr.RapidOCR", "to have one made, leave it out", *parts)
            refuse_options("engine", options)
        self.enhancer, self.both, self.channel_order = enhancer, both, channel_order
        self.engine = _make(options) if engine is None else engine

    def readtext(self, image: object, *, text_score: float | None = None) -> list[Word]:
        """Find and read the text in a picture of any kind.

        An engine made with ``params={"Global.max_side_len": ...}`` looks at larger pictures than
        its 2000 px, and takes longer. Where that limit undoes all enlargement, there is a
        `ShownSizeWarning`. Whether lines are looked at for being upside down is the
        engine's own ``Global.use_cls``.

        Args:
            image: path, bytes, PIL image, array or tensor.
            text_score: least confidence of what is given, 0 to 1; None is the engine's own.

        Raises:
            ImageError: the input is not an image.
            OptionError: ``text_score`` is not from 0 to 1.
            ModelError: the enhancer's answer is not ``scale`` times as large as what it was given.
            PreprocError: whatever else the enhancer raises, such as DeviceMemoryError.
        """
        if text_score is not None:
            _require_score(text_score)
        source = look(image, None, self.channel_order)
        view = enlarge(source.rgb, self.enhancer)
        shown = shrink(view.rgb, self._longest() / max(view.rgb.shape[:2]))
        if self.enhancer is not None and shown is not view.rgb:
            _warn_if_undone(source.rgb, view.rgb, shown)
        ratio = np.array([shown.shape[1], shown.shape[0]]) / (view.rgb.shape[1::-1])
        # The engine drops blank and unsure readings itself, so where there is a second reading it
        # only detects.
        both = self._reads_both
        use_cls = False if both else None
        found = self._ask(
            shown, use_det=True, use_cls=use_cls, use_rec=not both, text_score=text_score
        )
        if found.boxes is None:
            return []
        boxes = np.asarray(found.boxes, np.float64)
        quads = [view.to_source(box / ratio) for box in boxes]
        if both:
            least = self.engine.text_score if text_score is None else text_score
            pairs = zip(boxes, quads, strict=True)
            words = [self._surer(box, shown, quad, source.rgb) for box, quad in pairs]
            return [word for word in words if word.text and word.confidence >= least]
        return [
            Word(quad.tolist(), text, float(score))
            for quad, text, score in zip(quads, found.txts, found.scores, strict=True)
        ]

    def _surer(self, box: Points, shown: RgbArray, quad: Points, source: RgbArray) -> Word:
        """The surer reading of a box of the picture shown and of the same place in the source."""
        word = self._read(_line(shown, box), turned=True)
        word = surer(word, self._read(_line(source, quad), turned=True))
        return word._replace(box=quad.tolist())

    def _longest(self) -> float:
        """Px to which the engine would shrink the longer side itself, but without antialiasing."""
        return self.engine.max_side_len if self.engine.cfg.Global.use_preprocess_img else inf

    def readline(self, image: object) -> Word:
        """Read a picture of any kind that is one line of text, the right way up.

        Raises:
            ImageError: the input is not an image.
            ModelError: as for `readtext`.
        """
        source = look(image, None, self.channel_order)
        height, width = source.rgb.shape[:2]
        word = self._read(enlarge(source.rgb, self.enhancer).rgb)
        if self._reads_both:
            word = surer(word, self._read(source.rgb))
        return word._replace(box=corners_of(0.0, 0.0, width, height))

    @property
    def _reads_both(self) -> bool:
        return self.both and self.enhancer is not None

    def _read(self, line: RgbArray, *, turned: bool = False) -> Word:
        """Read a line, that may be upside down if ``turned``; the box is left open."""
        line = shrink(line, self._longest() / max(line.shape[:2]))
        found = self._ask(line, use_det=False, use_cls=None if turned else False)
        text = "".join(found.txts or ())
        return Word([], text, float(found.scores[0])) if text.strip() else Word([], "", 0.0)

    def _ask(
        self,
        rgb: RgbArray,
        *,
        use_det: bool,
        use_cls: bool | None,
        use_rec: bool = True,
        **others: object,
    ) -> Any:  # noqa: ANN401 - untyped
        """Ask a copy of the engine, because it remembers its arguments for later calls."""
        turns = use_cls is None and self.engine.use_cls
        _load(self.engine, det=use_det, cls=turns, rec=use_rec)
        flags = {"use_det": use_det, "use_cls": use_cls, "use_rec": use_rec}
        return copy(self.engine)(_bgr(rgb), **flags, **others)


def _warn_if_undone(source: RgbArray, enhanced: RgbArray, shown: RgbArray) -> None:
    if max(shown.shape[:2]) <= max(source.shape[:2]):
        warn(
            f"The enhanced picture has {enhanced.shape[1]}x{enhanced.shape[0]} px, but RapidOCR is "
            f"shown {shown.shape[1]}x{shown.shape[0]}, no more than were given; make it with "
            f'params={{"Global.max_side_len": {max(enhanced.shape)}}}, or leave the enhancer out.',
            ShownSizeWarning,
        )


def _load(engine: Engine, **models: bool) -> None:
    """Have an engine load models now: it does so when they are first used, and each copy anew."""
    for name, needed in models.items():
        load = getattr(engine, f"_load_{name}_model", None)
        if needed and load is not None:
            load()


def _line(rgb: RgbArray, quad: Points) -> RgbArray:
    """What a quad covers, as the engine turns it: lying, where it is half as high again as wide."""
    line = level(rgb, quad)
    return np.rot90(line) if line.shape[0] >= 1.5 * line.shape[1] else line


def _bgr(rgb: RgbArray) -> RgbArray:
    return np.ascontiguousarray(rgb[..., ::-1])


def _require_score(score: object) -> None:
    if not isinstance(score, Real) or not 0 <= float(score) <= 1:
        raise OptionError(f"text_score must be a number from 0 to 1, but is {score!r}.")


_OF_OTHER_ANSWERS = tuple(
    f"Global.{name}" for name in ("use_det", "use_rec", "return_word_box", "return_single_char_box")
)


def _make(options: dict[str, object]) -> Engine:
    params = options.get("params")
    named = params if isinstance(params, Mapping) else {}
    if in_vain := [name for name in named if name in _OF_OTHER_ANSWERS]:
        raise OptionError(
            f"{', '.join(in_vain)} would change nothing, because readtext finds lines and reads "
            "them, readline only reads, and both answer with Words; leave it out, or use RapidOCR "
            "itself."
        )
    with importing("integrations.rapidocr", "pip install rapidocr onnxruntime"):
        import rapidocr  # noqa: PLC0415 - the engine is imported only when used

        make: Any = rapidocr.RapidOCR  # which imports what the engine stands on
        engine: Engine = make(**options)
    return engine
