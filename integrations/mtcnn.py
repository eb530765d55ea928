"""The MTCNN of facenet-pytorch behind an enhancer: well-formed answers in source pixels.

MTCNN looks through a window of 12 px. For a smaller ``min_face_size`` it enlarges the picture by
repeating px, in which it finds next to nothing. An enhancer that enlarges lifts small faces above
the window. Enhancing and returning to the input size cannot give MTCNN faces under its 12-px
window; asking for it gets a `FaceSizeWarning`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from numbers import Real
from typing import Any, Protocol, overload

import numpy as np
from torch import Tensor

from integrations.engines import refuse_options, require_engine
from integrations.inputs import is_batch
from integrations.protocols import ArrayEnhancer, FaceDetector, Faces, RgbArray
from integrations.view import View, look, require_usable
from preproc.errors import ImageError, OptionError, PreprocWarning, warn
from preproc.extras import from_extra, importing
from preproc.pictures.picture import ChannelOrder

WINDOW = 12.0
"""Side in px of the first network's window."""


class FaceSizeWarning(PreprocWarning):
    """Faces are asked for that are too small for the detector's window."""


class Engine(Protocol):
    """The part of ``facenet_pytorch.MTCNN`` that is used here."""

    min_face_size: float

    def detect(self, img: RgbArray, landmarks: bool) -> tuple[object, object, object]:
        """Boxes, probabilities and landmarks as arrays, or None for no face."""


class MTCNN(FaceDetector):
    """A face detector that sees the enhanced picture and answers in source pixels.

    ::

        detector = MTCNN(enhancer=Enhancer(strength=0.5), min_face_size=6)
        boxes, probabilities, landmarks = detector.detect("photo.jpg")

    This makes a ``facenet_pytorch.MTCNN``; ``MTCNN(mine, enhancer=...)`` uses one that you have,
    and leaves it as it is. In compressed pictures half strength finds more faces than the network
    alone. Several threads may use one detector.

    Only ``detect`` is here. Its answer is one `Faces`; where there is no face its arrays are empty,
    not None. Coordinates are those that the engine would give: it counts px from 1. Its own
    ``extract``, which cuts faces out, takes None for no face::

        faces = detector.detect(image)
        crops = mine.extract(image, faces.boxes if len(faces.boxes) else None, None)
    """

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        enhancer: ArrayEnhancer | None = None,
        min_face_size: float | None = None,
        channel_order: ChannelOrder = "rgb",
        **options: object,
    ) -> None:
        """Wrap a detector, or make one.

        Args:
            engine: a ``facenet_pytorch.MTCNN``; None makes one.
            enhancer: enlarges the picture first; None searches it as it is. One of scale 1, such
                as ``Enhancer(to_input_size=True)``, finds no faces under 12 px.
            min_face_size: smallest face looked for, in source px; None is the engine's own, also
                where that changes later.
            channel_order: of arrays and tensors; ``"bgr"`` for those of OpenCV.
            options: for ``facenet_pytorch.MTCNN``, when one is made; those of its crops aside.

        Raises:
            MissingLibraryError: facenet-pytorch is not installed.
            OptionError: the engine is none, options are given for a detector that exists, or
                options of crops, the smallest face is not above 0, ``factor`` or ``thresholds``
                are out of range, or enhancer or order of channels cannot be used.
        """
        require_usable(enhancer, channel_order)
        if engine is not None:
            require_engine(engine, "facenet_pytorch.MTCNN", _INSTEAD, "detect", "min_face_size")
            refuse_options("detector", options)
        self.engine = _make(options) if engine is None else engine
        self.enhancer, self.channel_order = enhancer, channel_order
        self._smallest = min_face_size
        _require_size(self.min_face_size)
        self._warn_of_window()

    @property
    def min_face_size(self) -> float:
        """Smallest face looked for, in source px; may be set, else a PreprocError, above 0."""
        return self.engine.min_face_size if self._smallest is None else self._smallest

    @min_face_size.setter
    def min_face_size(self, px: float) -> None:
        _require_size(px)
        self._smallest = px
        self._warn_of_window()

    def _warn_of_window(self) -> None:
        enhancer, smallest = self.enhancer, self.min_face_size
        if enhancer is not None and enhancer.scale == 1 and smallest < WINDOW:
            warn(
                f"The enhancer returns to the input size, and MTCNN looks through a window of "
                f"{WINDOW:g} px, so min_face_size {smallest:g} cannot bring faces under "
                f"{WINDOW:g} px; use an enhancer that enlarges.",
                FaceSizeWarning,
            )

    @overload
    def detect(self, image: list[Any] | tuple[Any, ...]) -> list[Faces]: ...  # type: ignore[overload-overlap]
    @overload
    def detect(self, image: object) -> Faces: ...
    def detect(self, image: object) -> Faces | list[Faces]:
        """Find the faces in a picture, or in each of a list.

        Args:
            image: path, bytes, PIL image, array or tensor, the same answer for each; or a
                list of these, of any sizes. A list is enhanced and searched one by one, so that
                only one enlarged picture is in memory. Tensors are (C, H, W), as everywhere here,
                and not (H, W, C), as the engine takes them. A batch of one is its picture, for
                which the engine has a list of one; larger batches are refused.

        Returns:
            Faces in the engine's order, its largest first by default; a list for a list.

        Raises:
            ImageError: the input is not an image; for a list, the message says which one.
            ModelError: the enhancer's answer is not ``scale`` times as large as what it was given.
            PreprocError: whatever else the enhancer raises, such as DeviceMemoryError.
        """
        if isinstance(image, (list, tuple)):
            return [self._nth(number, item) for number, item in enumerate(image)]
        if is_batch(image):
            last = isinstance(image, Tensor) and image.shape[1] > 4  # channels, as for the engine
            raise ImageError(
                f"Several pictures must be a list, but these are a batch of shape "
                f"{tuple(image.shape)}; pass list({'batch.cpu().numpy()' if last else 'batch'})."
            )
        return self._detect(image)

    def _nth(self, number: int, image: object) -> Faces:
        try:
            return self._detect(image)
        except ImageError as error:
            raise ImageError(f"Picture {number} of the list: {error}") from error

    def _detect(self, image: object) -> Faces:
        view = look(image, self.enhancer, self.channel_order)
        smallest = self.min_face_size * view.scale
        if min(view.rgb.shape[:2]) * (WINDOW / smallest) < WINDOW:
            return _faces([], [], [], view)  # the engine fails where its pyramid is empty
        engine = copy(self.engine)
        engine.min_face_size = smallest
        boxes, probabilities, landmarks = engine.detect(view.rgb, landmarks=True)
        if boxes is None:
            return _faces([], [], [], view)
        return _faces(boxes, probabilities, landmarks, view)


_INSTEAD = "to have one made, leave it out, and give its options by name"


def _require_size(px: object) -> None:
    if not isinstance(px, Real) or not 0 < float(px) < math.inf:
        raise OptionError(f"min_face_size must be a number of px above 0, but is {px!r}.")


_OF_CROPS = ("image_size", "margin", "post_process", "keep_all", "selection_method")


def _make(options: dict[str, object]) -> Engine:
    if of_crops := [name for name in options if name in _OF_CROPS]:
        raise OptionError(
            f"{', '.join(of_crops)} would change nothing, because detect finds all faces and cuts "
            "none out; to cut them out, make a facenet_pytorch.MTCNN, and give it as the engine."
        )
    _require_possible(options)
    with importing("integrations.mtcnn", from_extra("mtcnn")):
        import facenet_pytorch  # noqa: PLC0415 - the engine is imported only when used
    engine: Engine = facenet_pytorch.MTCNN(**options)
    return engine


def _require_possible(options: dict[str, object]) -> None:
    """Refuse options with which the engine would search for ever, fail or find nothing."""
    if "factor" in options and not _is_between_0_and_1(options["factor"]):
        raise OptionError(
            f"factor must be a number between 0 and 1, by which MTCNN shrinks the picture step by "
            f"step, but is {options['factor']!r}."
        )
    if "thresholds" in options and not _are_scores(options["thresholds"]):
        raise OptionError(
            f"thresholds must be three numbers from 0 to 1, one for each of MTCNN's networks, but "
            f"are {options['thresholds']!r}."
        )


def _is_between_0_and_1(number: object) -> bool:
    return isinstance(number, Real) and 0 < float(number) < 1


def _are_scores(numbers: object) -> bool:
    return (
        isinstance(numbers, Sequence | np.ndarray)
        and len(numbers) == 3
        and all(isinstance(number, Real) and 0 <= float(number) <= 1 for number in numbers)
    )


def _faces(boxes: object, probabilities: object, landmarks: object, view: View) -> Faces:
    """Engine's answer about a view as arrays in source px.

    The engine counts px from 1, as the original MATLAB code did: a box's first and last, which it
    includes, and at landmarks the centre of the first px is 1. Both are kept; plain division would
    shift a box's first corner by 3/4 px at x4, and landmarks by 3/8 px, which matters to a face of
    10 px.
    """
    scale = view.scale
    found = np.asarray(boxes, np.float32).reshape(-1, 4)
    first, last = found[:, :2], found[:, 2:]
    points = np.asarray(landmarks, np.float32).reshape(-1, 5, 2)
    return Faces(
        np.concatenate([(first - 1) / scale + 1, last / scale], axis=1),
        np.asarray(probabilities, np.float32).reshape(-1),
        ((points - 0.5) / scale + 0.5).astype(np.float32),
    )
