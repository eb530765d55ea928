"""EasyOCR behind an enhancer: reads more in compressed, small pictures, boxes in source pixels.

It goes in below EasyOCR's own input handling, which gives a path, bytes and an array of the same
picture three different answers, and hands over sizes at which EasyOCR's resizing, which does not
antialias, has nothing left to shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from integrations.protocols import ArrayEnhancer, RgbArray, Word
from integrations.view import look
from preproc.errors import PreprocError

GreyArray = NDArray[np.uint8]

LINE_HEIGHT = 64
"""Height in px at which EasyOCR's recognisers read a line."""

_DETECT_OPTIONS = {
    "text_threshold", "low_text", "link_threshold", "slope_ths", "ycenter_ths", "height_ths",
    "width_ths", "add_margin", "threshold", "bbox_min_score", "bbox_min_size", "max_candidates",
}  # fmt: skip
_RECOGNISE_OPTIONS = {
    "decoder", "beamWidth", "batch_size", "workers", "allowlist", "blocklist", "rotation_info",
    "contrast_ths", "adjust_contrast", "filter_ths",
}  # fmt: skip


class Engine(Protocol):
    """The two methods of ``easyocr.Reader`` that are called here."""

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


class Reader:
    """An EasyOCR reader that sees the enhanced picture and answers in source pixels.

    ``Reader(["en"], enhancer=Enhancer())`` stands where ``easyocr.Reader(["en"])`` stood;
    ``Reader(mine, enhancer=Enhancer())`` uses a reader that exists.
    """

    def __init__(
        self,
        engine: Sequence[str] | Engine,
        *,
        enhancer: ArrayEnhancer | None = None,
        **options: object,
    ) -> None:
        """Wrap a reader, or make one.

        Args:
            engine: an ``easyocr.Reader``, or the languages to make one for, such as ``["en"]``.
            enhancer: enlarges the picture first; None reads it as it is.
            options: for ``easyocr.Reader``, when one is made.

        Raises:
            PreprocError: EasyOCR is not installed, or options are given for a reader that exists.
        """
        self.enhancer = enhancer
        if isinstance(engine, Sequence):
            self.engine = _make([engine] if isinstance(engine, str) else list(engine), options)
            return
        if options:
            raise PreprocError(
                f"The reader exists already, so {', '.join(options)} cannot be set here; "
                "set it where that reader is made."
            )
        self.engine = engine

    def readtext(
        self,
        image: object,
        *,
        min_size: float = 20,
        canvas_size: float = 2560,
        mag_ratio: float = 1.0,
        **options: object,
    ) -> list[Word]:
        """Read the text in a picture.

        Args:
            image: path, bytes, PIL image, array (RGB) or tensor; the same answer for each.
            min_size: boxes with no side longer than this are dropped, in source px.
            canvas_size: longest side at which text is looked for, in source px. The detector
                needs about 0.4 GB per megapixel it is shown; lower this for large pictures.
            mag_ratio: enlargement before text is looked for, on top of the enhancer's.
            options: EasyOCR's other options of detection and recognition, by keyword.

        Returns:
            Upright boxes from top to bottom, then tilted ones.

        Raises:
            ImageError: the input is no image.
            PreprocError: an option is unknown.
        """
        unknown = sorted(options.keys() - _DETECT_OPTIONS - _RECOGNISE_OPTIONS)
        if unknown:
            raise PreprocError(
                f"readtext has no option {', '.join(unknown)}; it knows "
                f"{', '.join(sorted(_DETECT_OPTIONS | _RECOGNISE_OPTIONS))}."
            )
        view = look(image, self.enhancer)
        quads = self._find(
            view.rgb,
            min_size * view.scale,
            canvas_size * view.scale,
            mag_ratio,
            {k: v for k, v in options.items() if k in _DETECT_OPTIONS},
        )
        read = self._read(
            np.asarray(Image.fromarray(view.rgb).convert("L")),
            quads,
            {k: v for k, v in options.items() if k in _RECOGNISE_OPTIONS},
        )
        return [
            Word((quad / view.scale).tolist(), text, confidence) for quad, text, confidence in read
        ]

    def _find(
        self,
        rgb: RgbArray,
        min_size: float,
        canvas_size: float,
        mag_ratio: float,
        options: dict[str, object],
    ) -> list[NDArray[np.float64]]:
        """Text as (4, 2) corners in px of ``rgb``, upright boxes first."""
        longest = max(rgb.shape[:2])
        target = min(mag_ratio * longest, canvas_size)
        shrunk = _shrink(rgb, target / longest)
        ratio = np.array([shrunk.shape[1] / rgb.shape[1], shrunk.shape[0] / rgb.shape[0]])
        upright, free = self.engine.detect(
            shrunk,
            min_size=min_size * ratio.max(),
            canvas_size=max(target, *shrunk.shape[:2]),
            mag_ratio=mag_ratio if shrunk is rgb else 1.0,
            reformat=False,
            **options,
        )
        corners = [[[x1, y1], [x2, y1], [x2, y2], [x1, y2]] for x1, x2, y1, y2 in upright[0]]
        corners.extend(free[0])
        quads = [np.asarray(quad, dtype=np.float64) / ratio for quad in corners]
        return [_inside(quad, rgb) if k < len(upright[0]) else quad for k, quad in enumerate(quads)]

    def _read(
        self, grey: GreyArray, quads: list[NDArray[np.float64]], options: dict[str, object]
    ) -> list[tuple[NDArray[np.float64], str, float]]:
        """Read the quads from one sheet on which each is a strip of at most the line height."""
        strips = [(quad, _strip(grey, quad)) for quad in quads]
        strips = [(quad, strip) for quad, strip in strips if strip.size]
        if not strips:
            return []
        heights = [strip.shape[0] for _, strip in strips]
        tops = np.cumsum([0, *heights])
        sheet = np.zeros((int(tops[-1]), max(strip.shape[1] for _, strip in strips)), np.uint8)
        places = []
        for (_, strip), top in zip(strips, tops[:-1].tolist(), strict=True):
            height, width = strip.shape
            sheet[top : top + height, :width] = strip
            places.append([0, width, top, top + height])
        read = self.engine.recognize(sheet, places, [], reformat=False, **options)
        found = {int(box[0][1]): (text, float(confidence)) for box, text, confidence in read}
        return [
            (quad, *found[place[2]])
            for (quad, _), place in zip(strips, places, strict=True)
            if place[2] in found
        ]


def _make(languages: list[str], options: dict[str, object]) -> Engine:
    try:
        import easyocr  # noqa: PLC0415 - the engine is imported only when used
    except ImportError as error:
        raise PreprocError("EasyOCR is missing: pip install 'preproc[easyocr]'.") from error
    engine: Engine = easyocr.Reader(languages, **options)
    return engine


def _shrink(img: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Antialiased bicubic to ``factor`` of the size; the same array when that is 1 or more."""
    if factor >= 1:
        return img
    height, width = (max(1, round(side * factor)) for side in img.shape[:2])
    return np.asarray(Image.fromarray(img).resize((width, height), Image.Resampling.BICUBIC))


def _inside(quad: NDArray[np.float64], rgb: RgbArray) -> NDArray[np.float64]:
    """An upright box without the part that reaches past the border, on whole px."""
    return np.clip(np.rint(quad), 0, [rgb.shape[1], rgb.shape[0]])


def _strip(grey: GreyArray, quad: NDArray[np.float64]) -> GreyArray:
    """What a quad covers, upright, its shorter side at most ``LINE_HEIGHT`` px."""
    (left, top), (right, bottom) = quad[0], quad[2]
    upright = quad[1].tolist() == [right, top] and quad[3].tolist() == [left, bottom]
    if upright:
        crop = grey[int(top) : int(bottom), int(left) : int(right)]
    else:
        sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
        width, height = (max(1, int(max(sides[k], sides[k + 2]))) for k in (0, 1))
        corners = quad[[0, 3, 2, 1]].ravel().tolist()
        crop = np.asarray(
            Image.fromarray(grey).transform(
                (width, height), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC
            )
        )
    return _shrink(crop, LINE_HEIGHT / min(crop.shape)) if crop.size else crop
