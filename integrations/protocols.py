"""What an adapter asks of an enhancer, and what it promises as a reader or a face detector.

Coordinates are source pixels everywhere: those of the picture the caller gave, whatever an enhancer
did to it on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

RgbArray = NDArray[np.uint8]
"""A picture as (H, W, 3) uint8, RGB, right side up."""


class ArrayEnhancer(Protocol):
    """Anything that enlarges RGB arrays, ``preproc.Enhancer`` above all.

    Where it has a ``channel_order``, as that has, it must be ``"rgb"``.
    """

    @property
    def scale(self) -> int:
        """Output px per input px, along each side; 1 when it returns to the input size."""

    def __call__(self, img: RgbArray, /) -> RgbArray:
        """(H, W, 3) uint8 RGB in, (scale*H, scale*W, 3) uint8 RGB out."""


@runtime_checkable
class RegionEnhancer(Protocol):
    """Anything that enlarges parts of an RGB array by itself, ``preproc.Enhancer`` above all."""

    def regions(
        self, img: RgbArray, boxes: Sequence[Sequence[float]], *, margin: int
    ) -> list[RgbArray]:
        """What is in each box (left, top, right, bottom), enlarged as by an `ArrayEnhancer`.

        Args:
            img: (H, W, 3) uint8 RGB, the whole picture.
            boxes: in px of it.
            margin: px around a box that are computed with it, but not given back.
        """


class Word(NamedTuple):
    """A piece of text that was read; unpacks as EasyOCR's own triples do.

    Attributes:
        box: four corners [x, y] in source px: top left, top right, bottom right, bottom left. Its
            numbers are of the kind that the engine gives.
        text: what was read.
        confidence: 0 to 1.
    """

    box: list[list[float]]
    text: str
    confidence: float


def surer(word: Word, other: Word) -> Word:
    """The one of two readings of the same text that was read with more confidence.

    The first where they are equal; its box stays either way, for both are of one place.
    """
    return word if word.confidence >= other.confidence else other._replace(box=word.box)


class Faces(NamedTuple):
    """The N faces found in a picture; N may be 0 and the shapes stay as they are.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in source px; may reach past the border.
        probabilities: (N,) float32, 0 to 1.
        landmarks: (N, 5, 2) float32, x y in source px: eyes, nose, corners of the mouth.
    """

    boxes: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    landmarks: NDArray[np.float32]


class PageReader(Protocol):
    """Finds and reads the text in a picture."""

    def readtext(self, image: object) -> list[Word]:
        """Path, bytes, PIL image, array or tensor in; the text found, with boxes in its px."""


class LineRecogniser(Protocol):
    """Reads a picture that is one line of text, without looking for text first."""

    def readline(self, image: object) -> Word:
        """Path, bytes, PIL image, array or tensor in; its text out, ``""`` for none."""


class FaceDetector(Protocol):
    """Finds the faces in a picture."""

    def detect(self, image: object) -> Faces:
        """Path, bytes, PIL image, array or tensor in; the faces found, with boxes in its px."""
