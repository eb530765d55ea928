"""The picture, or its regions, as an engine gets to see them, and the way back to source pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from integrations.inputs import rgb_of
from integrations.protocols import ArrayEnhancer, RegionEnhancer, RgbArray
from preproc.errors import ModelError, OptionError
from preproc.pictures.picture import ChannelOrder, require_channel_order
from preproc.values import is_whole_number

Points = NDArray[np.float64]
"""(..., 2), x y of each, in px."""


@dataclass(frozen=True)
class View:
    """An RGB picture of all or a part of its source, ``scale`` times as large.

    Attributes:
        rgb: (scale*H, scale*W, 3) uint8.
        scale: px of this view per source px; 1 for the source itself.
        origin: x y of the view's first corner in source px; not 0 for a part.
    """

    rgb: RgbArray
    scale: int
    origin: tuple[int, int] = (0, 0)

    def to_source(self, points: ArrayLike) -> Points:
        """Points that an engine found in this view, as points of the picture it was made from.

        Args:
            points: (..., 2) x y in px of ``rgb``, as an array or lists: corners (4, 2), or boxes
                (N, 2, 2).

        Returns:
            The same shape, in source px.
        """
        return np.asarray(points, np.float64) / self.scale + self.origin

    def from_source(self, points: ArrayLike) -> Points:
        """Points (..., 2) of the picture this view was made from, in px of ``rgb``."""
        return (np.asarray(points, np.float64) - self.origin) * self.scale


def look(
    image: object, enhancer: ArrayEnhancer | None, channel_order: ChannelOrder = "rgb"
) -> View:
    """Decode a picture of any kind, and enhance it, for an engine to look at.

    Args:
        image: path, bytes, PIL image, array (H, W, C) or tensor (C, H, W).
        enhancer: such as ``preproc.Enhancer()``; None shows the picture as it is.
        channel_order: of arrays and tensors; ``"bgr"`` for those of OpenCV.

    Returns:
        The whole picture, right side up; what an engine finds in its ``rgb`` goes back to px of
        the input with its ``to_source``.

    Raises:
        ImageError: the input is not an image, or a batch of several.
        OptionError, ModelError: as `enlarge`.
    """
    return enlarge(rgb_of(image, channel_order), enhancer)


def enlarge(rgb: RgbArray, enhancer: ArrayEnhancer | None) -> View:
    """Enhance a picture that is decoded already, such as the ``rgb`` of another view.

    Args:
        rgb: (H, W, 3) uint8.
        enhancer: such as ``preproc.Enhancer()``; None shows the picture as it is.

    Returns:
        The whole picture, ``enhancer.scale`` times as large.

    Raises:
        OptionError: the enhancer takes BGR.
        ModelError: its answer is not ``scale`` times as large as its input.
    """
    if enhancer is None:
        return View(rgb, 1)
    _require_rgb(enhancer)
    enhanced = enhancer(rgb)
    _require_scale(rgb, enhanced, enhancer.scale)
    return View(enhanced, enhancer.scale)


@dataclass(frozen=True)
class Regions:
    """Enhances some regions of a picture instead of all of it.

    Uses the enhancer's own ``regions`` if it has that (as ``preproc.Enhancer`` does, which judges
    greyness by the whole picture, and computes regions of nearly one size together); else hands it
    crop after crop.

    Attributes:
        enhancer: enlarges RGB arrays; if it has ``regions(rgb, boxes, *, margin)``, that is called
            instead.
        margin: px of the picture around a region that are enhanced with it, so that the network
            sees real neighbours and no border. Word-sized regions of a picture at JPEG quality 40
            differ from the whole picture by a mean of 4/255 with none, 0.3/255 with 8 px and
            0.01/255 with 16 px, in single px by 150, 20 and 1 (cajnn-light, cajnn-ocr).

    Raises:
        OptionError: the enhancer is not one, or the margin is not a whole number of 0 px or more.
    """

    enhancer: ArrayEnhancer
    margin: int = 8

    def __post_init__(self) -> None:
        _require_enhancer(self.enhancer)
        if not is_whole_number(self.margin, 0):
            raise OptionError(
                f"The margin must be a whole number of px, 0 or more, but is {self.margin!r}."
            )

    def views(self, rgb: RgbArray, quads: Sequence[Points]) -> list[View]:
        """One enhanced view for each quad, of its bounding box and the margin around it.

        Args:
            rgb: (H, W, 3) uint8, the whole picture.
            quads: (4, 2) corners each, in px of it.

        Returns:
            In the order of ``quads``; the ``to_source`` of each gives px of the whole picture.

        Raises:
            OptionError: the enhancer takes BGR.
            ModelError: its answers are not ``scale`` times as large as its inputs.
        """
        if not quads:
            return []
        _require_rgb(self.enhancer)
        boxes = [bounds(quad, rgb, self.margin) for quad in quads]
        crops = [rgb[top:bottom, left:right] for left, top, right, bottom in boxes]
        if isinstance(self.enhancer, RegionEnhancer):
            enhanced = self.enhancer.regions(rgb, boxes, margin=0)  # the boxes have theirs
            _require_number(enhanced, len(boxes))
        else:
            enhanced = [self.enhancer(crop.copy()) for crop in crops]
        views = []
        for crop, result, (left, top, _, _) in zip(crops, enhanced, boxes, strict=True):
            _require_scale(crop, result, self.enhancer.scale)
            views.append(View(result, self.enhancer.scale, (left, top)))
        return views


def bounds(quad: Points, rgb: RgbArray, margin: int) -> tuple[int, int, int, int]:
    """Whole px (left, top, right, bottom) around a quad, inside the picture, never without px."""
    limit = np.array([rgb.shape[1], rgb.shape[0]])
    first = np.clip(np.floor(quad.min(axis=0)) - margin, 0, limit - 1).astype(int)
    last = np.clip(np.ceil(quad.max(axis=0)) + margin, first + 1, limit).astype(int)
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _require_rgb(enhancer: object) -> None:
    order = getattr(enhancer, "channel_order", "rgb")
    if order != "rgb":
        raise OptionError(
            f"The enhancer takes arrays as {order}, but engines' adapters hand it RGB; give "
            "channel_order to the adapter, and make the enhancer with 'rgb'."
        )


def _require_number(enhanced: object, wanted: int) -> None:
    number = len(enhanced) if isinstance(enhanced, list | tuple) else None
    if number != wanted:
        given = f"a {type(enhanced).__name__}" if number is None else number
        raise ModelError(
            f"The enhancer's regions were asked for {wanted} of a picture, but gave {given}; they "
            "must be a list with one array a box, as those of preproc.Enhancer are."
        )


def _require_scale(given: RgbArray, enhanced: object, scale: int) -> None:
    height, width, _ = given.shape
    if not isinstance(enhanced, np.ndarray):
        raise ModelError(
            f"The enhancer was given an array, but gave back a {type(enhanced).__name__}; it must "
            "answer with an array of the same kind, as preproc.Enhancer does."
        )
    if enhanced.shape != (scale * height, scale * width, 3) or enhanced.dtype != given.dtype:
        raise ModelError(
            f"The enhancer says it has scale {scale}, but made {enhanced.shape} of "
            f"{enhanced.dtype} from {given.shape} of {given.dtype}; boxes could not be mapped back."
        )


def require_usable(enhancer: object, channel_order: str, *, regions: bool = False) -> None:
    """Refuse what an adapter cannot work with, where it is made rather than at the first picture.

    Args:
        enhancer: an enhancer or None; `Regions` too, with ``regions``.
        channel_order: of arrays and tensors.
        regions: whether the adapter can enhance only parts.

    Raises:
        OptionError: the enhancer is not one, has no scale or takes BGR, or the order is neither
            ``"rgb"`` nor ``"bgr"``.
    """
    if enhancer is not None and not (regions and isinstance(enhancer, Regions)):
        _require_enhancer(enhancer)
    require_channel_order(channel_order)


def _require_enhancer(enhancer: object) -> None:
    if not callable(enhancer) or isinstance(enhancer, type):
        raise OptionError(
            f"An enhancer must be an object such as preproc.Enhancer(), but {enhancer!r} was given."
        )
    scale = getattr(enhancer, "scale", None)
    if not is_whole_number(scale, 1):
        raise OptionError(
            f"An enhancer must have an attribute scale, the whole number by which it enlarges, but "
            f"that of {enhancer!r} is {scale!r}."
        )
    _require_rgb(enhancer)
