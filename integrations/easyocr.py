"""EasyOCR behind an enhancer: reads more in compressed, small pictures, boxes in source pixels.

EasyOCR treats a path, bytes and an array of one picture differently, and shrinks without
antialiasing. The adapter decodes and resizes itself, so that neither happens.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from math import ceil, floor, sqrt
from typing import Any, Protocol

import numpy as np

from integrations.easyocr_options import FINDING, GROUPING, READING, SIZES, chosen
from integrations.easyocr_output import paragraphs, require_format, shaped
from integrations.engines import refuse_options, require_engine
from integrations.protocols import ArrayEnhancer, LineRecogniser, PageReader, RgbArray, Word, surer
from integrations.text_lines import GreyArray, corners_of, grey_line, is_upright, sheet_of, shrink
from integrations.view import Points, Regions, View, enlarge, look, require_usable
from preproc.errors import OptionError, PreprocWarning, warn
from preproc.extras import from_extra, importing
from preproc.pictures.picture import ChannelOrder

LINE_HEIGHT = 64
"""Height in px at which EasyOCR's recognisers read a line."""


class DetectionSizeWarning(PreprocWarning):
    """Text is looked for in a smaller picture than the enhancer made, to save memory."""


class Engine(Protocol):
    """The part of ``easyocr.Reader`` that is used here."""

    model_lang: str

    def detect(self, img: RgbArray, **options: object) -> tuple[list[Any], list[Any]]:
        """Finds text; upright boxes [x1, x2, y1, y2] and free ones of four corners."""

    def recognize(
        self,
        img_cv_grey: GreyArray,
        horizontal_list: list[Any],
        free_list: list[Any],
        **options: object,
    ) -> list[tuple[Any, str, float]]:
        """Reads the boxes of a grey picture."""


@dataclass(frozen=True)
class _Sizes:
    """How large the detector is shown a picture; `Reader.readtext` describes each."""

    min_size: float
    canvas_size: float
    mag_ratio: float
    max_scale: float
    max_pixels: float

    def enlarged(self, scale: int) -> _Sizes:
        """The same in px, and relative to the size, of a picture ``scale`` times as large."""
        return replace(
            self,
            min_size=scale * self.min_size,
            canvas_size=scale * self.canvas_size,
            max_scale=self.max_scale / scale,
        )


class Reader(PageReader, LineRecogniser):
    """An EasyOCR reader that sees the enhanced picture and answers in source pixels.

    ::

        reader = Reader(["en"], enhancer=Enhancer("cajnn-ocr", strength=0.5))
        for box, text, confidence in reader.readtext("photo.jpg"):
            print(text)

    It replaces ``easyocr.Reader(["en"])``; ``Reader(mine, enhancer=...)`` wraps a reader that you
    have. ``readtext`` takes EasyOCR's options and gives answers of the same shape, and so does the
    constructor take EasyOCR's, but by name. What differs: arrays are RGB, where EasyOCR takes BGR
    (``channel_order="bgr"`` does so here); URLs are not fetched; EasyOCR's other methods are those
    of ``engine``. Several threads may use one reader.

    Use strength 0.5 for pages: at full strength the network closes thin gaps, such as the one under
    the dot of an i.

    Enhancement mends more words than it spoils, but it spoils some. With ``both=True`` every text
    is read in the picture as it is, too, and the reading with more confidence counts; that pays for
    single words (`readline`) rather than for whole pages.

    An enhancer gets the whole picture, so that text is found which was too small before.
    ``enhancer=Regions(Enhancer(...))``, with ``integrations.view.Regions``, is cheaper, in time and
    above all in memory: text is looked for at the input's size, and only what was found is
    enhanced, to be read.
    """

    def __init__(
        self,
        engine: Sequence[str] | Set[str] | Engine | None = None,
        *,
        lang_list: Sequence[str] | Set[str] | None = None,
        enhancer: ArrayEnhancer | Regions | None = None,
        both: bool = False,
        channel_order: ChannelOrder = "rgb",
        **options: object,
    ) -> None:
        """Wrap a reader, or make one.

        Args:
            engine: an ``easyocr.Reader``, or the languages to make one for, such as ``["en"]``.
            lang_list: EasyOCR's name for the languages; instead of ``engine``.
            enhancer: enlarges the picture, or the regions with text; None reads it as it is.
            both: whether texts are read in the source as well; reading takes twice as long.
            channel_order: of arrays and tensors; ``"bgr"`` for those of OpenCV.
            options: for ``easyocr.Reader``, when one is made.

        Raises:
            MissingLibraryError: EasyOCR is not installed.
            OptionError: the engine is none, options are given for a reader that exists, it is made
                with ``recognizer=False``, or enhancer or order of channels cannot be used.
        """
        require_usable(enhancer, channel_order, regions=True)
        self.enhancer, self.both, self.channel_order = enhancer, both, channel_order
        if engine is not None and lang_list is not None:
            raise OptionError(
                "The languages are those of the reader or list that was given first; leave "
                "lang_list out."
            )
        given = lang_list if engine is None else engine
        if isinstance(given, Sequence | Set):
            self.engine = _make([given] if isinstance(given, str) else list(given), options)
        else:
            self.engine = require_engine(given, "easyocr.Reader", _INSTEAD, "detect", "recognize")
            refuse_options("reader", options)
        if _made_without(self.engine, "recognizer"):
            raise OptionError(
                "A reader made with recognizer=False cannot read; leave recognizer out, or use "
                "EasyOCR's own detect."
            )

    def readtext(
        self,
        image: object,
        decoder: str = "greedy",
        beamWidth: int = 5,  # noqa: N803 - EasyOCR's name
        batch_size: int = 1,
        workers: int = 0,
        allowlist: str | None = None,
        blocklist: str | None = None,
        detail: int = 1,
        rotation_info: list[int] | None = None,
        paragraph: bool = False,
        min_size: float | None = 20,
        contrast_ths: float = 0.1,
        adjust_contrast: float = 0.5,
        filter_ths: float = 0.003,
        text_threshold: float = 0.7,
        low_text: float = 0.4,
        link_threshold: float = 0.4,
        canvas_size: float = 2560,
        mag_ratio: float = 1.0,
        slope_ths: float = 0.1,
        ycenter_ths: float = 0.5,
        height_ths: float = 0.5,
        width_ths: float = 0.5,
        y_ths: float = 0.5,
        x_ths: float = 1.0,
        add_margin: float = 0.1,
        threshold: float = 0.2,
        bbox_min_score: float = 0.2,
        bbox_min_size: float = 3,
        max_candidates: int = 0,
        output_format: str = "standard",
        *,
        max_scale: float = 2.0,
        max_pixels: float = 12e6,
    ) -> list[Any]:
        """Find and read the text in a picture; ``easyocr.Reader.readtext`` has all the options.

        Sizes are in source px, so that they mean the same with and without an enhancer.

        Args:
            image: path, bytes, PIL image, array or tensor; the same answer for each.
            decoder: ``"greedy"``, ``"beamsearch"`` or ``"wordbeamsearch"``.
            beamWidth: how many candidates the two beam searches keep.
            batch_size: how many lines are read at a time; on the CPU EasyOCR reads one by one.
            workers: processes that prepare lines.
            allowlist: the only characters to read.
            blocklist: characters not to read.
            detail: 0 gives the texts alone.
            rotation_info: further angles, in degrees, at which lines are tried.
            paragraph: whether words near each other are put together, as [box, text].
            min_size: boxes with no side longer than this are dropped, in source px.
            contrast_ths: lines read with less confidence are read again with more contrast.
            adjust_contrast: the contrast they get.
            filter_ths: unused by EasyOCR.
            text_threshold: least confidence of text, 0 to 1.
            low_text: least score of what belongs to text, 0 to 1.
            link_threshold: least score of a link between characters, 0 to 1.
            canvas_size: longest side at which text is looked for, in source px.
            mag_ratio: enlargement before text is looked for, on top of the enhancer's.
            slope_ths: most slope of what counts as upright.
            ycenter_ths: most shift along y between the boxes of a line, in heights.
            height_ths: most difference in height between boxes that are joined, in heights.
            width_ths: most distance between boxes that are joined, in heights.
            y_ths: most distance along y within a paragraph, in heights.
            x_ths: most distance along x within a paragraph, in heights.
            add_margin: by how much boxes grow on each side, in heights.
            threshold: least score in DBNet's text map.
            bbox_min_score: least score of DBNet's boxes.
            bbox_min_size: least size of DBNet's boxes, in px of its map.
            max_candidates: most boxes of DBNet; 0 for no limit.
            output_format: ``"standard"``, ``"dict"``, ``"json"`` or ``"free_merge"``.
            max_scale: largest scale, relative to the source, at which text is looked for,
                ``mag_ratio`` aside. At 4 it takes four times as long as at 2 and finds no more;
                what was found is still read from the picture as the enhancer enlarged it. Not
                EasyOCR's.
            max_pixels: most px of the enlarged picture that the detector is shown; it needs about
                0.4 GB for a million. Larger ones are shown smaller, with a warning; their text is
                still read from the enlarged picture. Not EasyOCR's.

        Returns:
            `Word`s, upright ones from top to bottom, then tilted ones; or as ``detail``,
            ``paragraph`` and ``output_format`` say, shaped as EasyOCR shapes it. As EasyOCR's,
            boxes of upright words are integers, fit for slicing and drawing, and those of tilted
            ones floats.

        Raises:
            ImageError: the input is not an image.
            OptionError: EasyOCR has no such output format or decoder, an option is of the wrong
                kind or out of range, or the engine was made with ``detector=False``.
            ModelError: the enhancer's answer is not ``scale`` times as large as what it was given.
            PreprocError: whatever else the enhancer raises, such as DeviceMemoryError.
        """
        given = locals()
        require_format(output_format)
        finding, reading = chosen(given, FINDING), chosen(given, READING)
        grouping = chosen(given, GROUPING)
        sizes = _Sizes(**{**chosen(given, SIZES), "min_size": min_size or 0})
        if _made_without(self.engine, "detector"):
            raise OptionError(
                "The reader was made with detector=False and cannot look for text; use readline."
            )
        source = look(image, None, self.channel_order)
        views, quads = self._find(source, sizes, **finding)
        words: list[Any] = self._read(source, views, quads, **reading)
        if paragraph:
            from_right = self.engine.model_lang == "arabic"
            words = paragraphs(words, **grouping, right_to_left=from_right)
        return shaped(words, detail=detail, output_format=output_format)

    def readline(
        self,
        image: object,
        *,
        decoder: str = "greedy",
        beamWidth: int = 5,  # noqa: N803 - EasyOCR's name
        batch_size: int = 1,
        workers: int = 0,
        allowlist: str | None = None,
        blocklist: str | None = None,
        rotation_info: list[int] | None = None,
        contrast_ths: float = 0.1,
        adjust_contrast: float = 0.5,
        filter_ths: float = 0.003,
    ) -> Word:
        """Read a picture that is one line of text, such as a word's crop.

        Args:
            image: path, bytes, PIL image, array or tensor; the same answer for each.
            decoder: as for `readtext`, like all that follow.
            beamWidth: how many candidates the two beam searches keep.
            batch_size: how many of the turned lines are read at a time.
            workers: processes that prepare lines.
            allowlist: the only characters to read.
            blocklist: characters not to read.
            rotation_info: further angles, in degrees, at which the line is tried.
            contrast_ths: a line read with less confidence is read again with more contrast.
            adjust_contrast: the contrast it gets.
            filter_ths: unused by EasyOCR.

        Returns:
            The text, ``""`` for none; its box is the whole picture.

        Raises:
            ImageError: the input is not an image.
            OptionError, ModelError, PreprocError: as for `readtext`.
        """
        reading = chosen(locals(), READING)
        source = look(image, None, self.channel_order)
        height, width, _ = source.rgb.shape
        quad = np.array(corners_of(0, 0, width, height), np.float64)
        if isinstance(self.enhancer, Regions):
            views = self.enhancer.views(source.rgb, [quad])
        else:
            views = [enlarge(source.rgb, self.enhancer)]
        words = self._read(source, views, [quad], **reading)
        return words[0] if words else Word(_reported(quad), "", 0.0)

    def _find(
        self, source: View, sizes: _Sizes, **options: object
    ) -> tuple[list[View], list[Points]]:
        """Text as (4, 2) corners in source px, upright boxes first, and the view of each."""
        enhancer = self.enhancer
        whole = source if isinstance(enhancer, Regions) else enlarge(source.rgb, enhancer)
        found = self._detect(whole.rgb, sizes.enlarged(whole.scale), **options)
        quads = [whole.to_source(quad) for quad in found]
        if isinstance(enhancer, Regions):
            return enhancer.views(whole.rgb, quads), quads
        return [whole] * len(quads), quads

    def _detect(self, rgb: RgbArray, sizes: _Sizes, **options: object) -> list[Points]:
        """Text as (4, 2) corners in px of ``rgb``, upright boxes first; ``sizes`` in its px."""
        longest = max(rgb.shape[:2])
        target = min(sizes.mag_ratio * min(1.0, sizes.max_scale) * longest, sizes.canvas_size)
        largest = longest * sqrt(sizes.max_pixels / (rgb.shape[0] * rgb.shape[1]))
        if target > largest:
            enlarged = self.enhancer is not None and not isinstance(self.enhancer, Regions)
            warn(
                f"Text is looked for at {largest / longest:.2f} of the "
                f"{'enlarged' if enlarged else 'given'} size, because the detector would need more "
                f"memory than for {sizes.max_pixels / 1e6:.3g} million px; raise max_pixels="
                f"{', or enhance only where text is, with enhancer=Regions(...)' * enlarged}.",
                DetectionSizeWarning,
            )
            target = largest
        shrunk = shrink(rgb, target / longest)
        ratio = np.array([shrunk.shape[1] / rgb.shape[1], shrunk.shape[0] / rgb.shape[0]])
        upright, free = self.engine.detect(
            shrunk,
            min_size=sizes.min_size * ratio.max(),
            canvas_size=max(target, *shrunk.shape[:2]),
            mag_ratio=sizes.mag_ratio if shrunk is rgb else 1.0,
            reformat=False,
            **options,
        )
        boxes = [np.array(corners_of(x1, y1, x2, y2), np.float64) for x1, x2, y1, y2 in upright[0]]
        quads = [_inside(box / ratio, rgb) for box in boxes]
        quads.extend(np.asarray(quad, np.float64) / ratio for quad in free[0])
        return [quad for quad in quads if np.ptp(quad, axis=0).min() > 0]

    def _read(
        self, source: View, views: Sequence[View], quads: Sequence[Points], **options: object
    ) -> list[Word]:
        """Read quads in source px, each in its view, and in the source too if that is asked for."""
        found = self._read_in(views, quads, **options)
        if self.both and self.enhancer is not None:
            plain = self._read_in([source] * len(quads), quads, **options)
            for number, word in plain.items():
                found[number] = surer(found.get(number, word), word)
        return [found[number] for number in sorted(found)]

    def _read_in(
        self, views: Sequence[View], quads: Sequence[Points], **options: object
    ) -> dict[int, Word]:
        """Read quads, pasted onto one sheet at line height or less; words by quads' numbers."""
        if not quads:
            return {}
        lines = [
            grey_line(view.rgb, view.from_source(quad), LINE_HEIGHT)
            for view, quad in zip(views, quads, strict=True)
        ]
        sheet, places = sheet_of(lines)
        read = self.engine.recognize(sheet, places, [], reformat=False, **options)
        # EasyOCR may answer in another order, but its boxes are those it was given.
        found = {int(box[0][1]): (text, float(confidence)) for box, text, confidence in read}
        return {
            number: Word(_reported(quad), *found[top])
            for number, (quad, (_, _, top, _)) in enumerate(zip(quads, places, strict=True))
            if top in found
        }


_INSTEAD = 'to have one made, name its languages, as in Reader(["en"])'


def _make(languages: list[str], options: dict[str, object]) -> Engine:
    if not languages or not all(isinstance(language, str) for language in languages):
        raise OptionError(f'Languages must be a list such as ["en"], but are {languages!r}.')
    with importing("integrations.easyocr", from_extra("easyocr")):
        import easyocr  # noqa: PLC0415 - the engine is imported only when used
    engine: Engine = easyocr.Reader(languages, **options)
    return engine


def _made_without(engine: Engine, part: str) -> bool:
    """Whether it is a reader of EasyOCR's own class that lacks a network."""
    own = any(kind.__module__.partition(".")[0] == "easyocr" for kind in type(engine).__mro__)
    return own and not hasattr(engine, part)


def _inside(quad: Points, rgb: RgbArray) -> Points:
    """An upright box without the part that reaches past the border, on whole px."""
    return np.clip(np.rint(quad), 0, [rgb.shape[1], rgb.shape[0]])


def _reported(quad: Points) -> list[list[float]]:
    """Corners as EasyOCR gives them: whole px, that hold all of the text, where it is upright."""
    if is_upright(quad):
        return corners_of(*map(floor, quad[0]), *map(ceil, quad[2]))
    tilted: list[list[float]] = quad.tolist()
    return tilted
