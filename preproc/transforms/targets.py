"""Annotations of pictures that grow: boxes, masks and keypoints move with the pixels.

The stage enlarges both sides by one whole number and moves nothing else, so coordinates are
multiplied and masks repeated, which is exact; torchvision's own resizing would round rotated boxes
through their corners and clamp them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_leaves  # by which torchvision's v2 goes through samples
from torchvision import tv_tensors

from preproc.errors import AnnotationError

_NUMBERS = (Tensor, np.ndarray, Number)
"""What coordinates and masks may be."""

_TYPES: dict[object, str] = {
    "boxes": "BoundingBoxes",
    "bbox": "BoundingBoxes",
    "xmin": "BoundingBoxes",
    "masks": "Mask",
    "mask": "Mask",
    "segmentation": "Mask",
    "keypoints": "KeyPoints",
    "landmarks": "KeyPoints",
}
"""What annotations of the usual names are in ``tv_tensors``."""

_UNTOLD = ("mask", "segmentation", "xmin")
"""Names under which a plain tensor may be polygons or masks, so only a tv_tensor tells which."""

_SHAPES = {
    "BoundingBoxes": "'boxes' as a tensor of (n, 4), (n, 5) or (n, 8)",
    "Mask": "'masks' as a tensor of (n, H, W)",
    "KeyPoints": "'keypoints' as a tensor of (n, k, 2 or more)",
}
"""By which plain tensors are known for these kinds."""


def named_leaves(sample: object, key: object = None) -> Iterator[tuple[object, object]]:
    """What a sample holds, in any nesting, each with the name it is found under, if any."""
    if isinstance(sample, Mapping):
        # The numbers of a run-length encoded segmentation are its own.
        inherited = key == "segmentation"
        named: Iterable[tuple[object, object]] = (
            (key if inherited else name, item) for name, item in sample.items()
        )
    elif isinstance(sample, tuple) and hasattr(sample, "_fields"):
        named = zip(sample._fields, sample, strict=True)
    elif isinstance(sample, list | tuple | deque):
        named = ((key, item) for item in sample)
    else:
        yield from ((key, leaf) for leaf in tree_leaves(sample))
        return
    for name, item in named:
        yield from named_leaves(item, name)


def require_movable(leaves: Iterable[tuple[object, object]]) -> None:
    """Refuse annotations that a transform would leave where they are, as it knows them by type.

    Args:
        leaves: each with its name, as `named_leaves` gives them.

    Raises:
        AnnotationError: boxes, masks or keypoints, by their name, are not ``tv_tensors``.
    """
    leaves = list(leaves)
    for key, leaf in leaves:
        if _is_annotation(key, leaf) and not isinstance(leaf, tv_tensors.TVTensor):
            plain = isinstance(leaf, Tensor)
            batched = plain and key not in _UNTOLD
            raise AnnotationError(
                f"The target's {key!r} is {'a plain' if plain else 'not a'} tensor, which would "
                f"stay as it is while the picture grows; make it a tv_tensors.{_TYPES[key]}"
                f"{_wrapping(leaves)}"
                f"{', or take EnhanceBatch, which takes plain tensors' if batched else ''}."
            )


def _wrapping(leaves: Iterable[tuple[object, object]]) -> str:
    """How torchvision's wrapper helps: it makes ``tv_tensors``, or leaves out all that are not."""
    wrapper = "torchvision.datasets.wrap_dataset_for_transforms_v2"
    kinds = tv_tensors.BoundingBoxes | tv_tensors.Mask | tv_tensors.KeyPoints
    movable = {key for key, leaf in leaves if isinstance(key, str) and isinstance(leaf, kinds)}
    if not movable:
        return f" (or use {wrapper}), or leave it out"
    keys = tuple(sorted({*movable, "labels"}))
    return f", or leave it out, as {wrapper} does with target_keys={keys}"


def require_no_labels_in_pictures(leaves: Iterable[tuple[object, object]]) -> None:
    """Refuse PIL images that are masks, or may be: a network would make new labels of theirs.

    Args:
        leaves: each with its name, as `named_leaves` gives them.

    Raises:
        AnnotationError: a PIL image has the name of masks, or has one band beside pictures of
            another kind, as masks of torchvision's data sets have.
    """
    images = []
    for key, leaf in leaves:
        if isinstance(leaf, Image.Image) and _is_annotation(key, leaf):
            raise AnnotationError(
                f"The target's {key!r} is a PIL image, which would be enhanced as a picture; make "
                "it a tv_tensors.Mask, or leave it out."
            )
        if isinstance(leaf, Image.Image | tv_tensors.Image | tv_tensors.Video):
            images.append(leaf)
    grey = [i for i in images if isinstance(i, Image.Image) and len(i.getbands()) == 1]
    if 0 < len(grey) < len(images):
        raise AnnotationError(
            f"A PIL image of mode {grey[0].mode!r} beside a picture of another kind may be a mask, "
            "whose labels would not survive; make it a tv_tensors.Mask (or use "
            "torchvision.datasets.wrap_dataset_for_transforms_v2), or RGB if it is a picture."
        )


def _is_annotation(name: object, leaf: object) -> bool:
    # VOC's corners are texts, as they stand in its XML.
    texts = name == "xmin" and isinstance(leaf, str)
    numbers = isinstance(leaf, _NUMBERS) and not isinstance(leaf, bool)
    labels = isinstance(leaf, Image.Image) and _TYPES.get(name) == "Mask"
    return name in _TYPES and (numbers or texts or labels)


def enlarged(annotation: Tensor, scale: int) -> Any:  # noqa: ANN401 - a tv_tensor
    """A tv_tensor that is not a picture, enlarged with the picture it belongs to.

    Raises:
        AnnotationError: its dtype cannot hold what its numbers become.
    """
    plain = annotation.as_subclass(Tensor)
    if isinstance(annotation, tv_tensors.Mask):
        return tv_tensors.wrap(_repeated(plain, scale), like=annotation)
    if isinstance(annotation, tv_tensors.BoundingBoxes):
        moved = _boxes(plain, scale)
    elif isinstance(annotation, tv_tensors.KeyPoints):
        moved = _multiplied(plain, scale, count=2)
    else:
        return annotation
    height, width = annotation.canvas_size
    return tv_tensors.wrap(moved, like=annotation, canvas_size=(scale * height, scale * width))


def enlarged_target(target: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """A detection target, in any nesting, enlarged by its tensors' types or else usual names.

    Raises:
        AnnotationError: as `enlarged`; or boxes, masks or keypoints are not tensors, or one
            has a shape by which it cannot be told what to move.
    """
    if scale == 1:
        return dict(target)
    return {name: _enlarged_part(part, scale, name) for name, part in target.items()}


def _enlarged_part(part: Any, scale: int, name: object) -> Any:  # noqa: ANN401 - of any kind
    """What a target holds under a name; plain mappings take the place of others."""
    if isinstance(part, Mapping):
        if name == "segmentation":  # run-length encoded, by numbers of its own
            return {key: _enlarged_part(item, scale, name) for key, item in part.items()}
        return enlarged_target(part, scale)
    if hasattr(part, "_asdict"):
        return part._replace(**enlarged_target(part._asdict(), scale))
    if isinstance(part, list | tuple | deque):
        items = [_enlarged_part(item, scale, name) for item in part]
        same = all(new is old for new, old in zip(items, part, strict=True))
        return part if same else type(part)(items)
    return _enlarged_leaf(part, scale, name)


def _enlarged_leaf(leaf: object, scale: int, name: object) -> object:
    if isinstance(leaf, tv_tensors.TVTensor):
        return enlarged(leaf, scale)
    if name == "area" and isinstance(leaf, Tensor):
        return _times(leaf, scale**2)
    if not _is_annotation(name, leaf):
        return leaf
    kind, what = _TYPES[name], "is not a tensor"
    if isinstance(leaf, Tensor):
        moved = None if name in _UNTOLD else _moved(leaf, kind, scale)
        if moved is not None:
            return moved
        what = f"has shape {tuple(leaf.shape)}"
    raise AnnotationError(
        f"The target's {name!r} {what} and cannot be enlarged with the picture; make it a "
        f"tv_tensors.{kind}, give {_SHAPES[kind]}, or leave it out."
    )


def _moved(plain: Tensor, kind: str, scale: int) -> Tensor | None:
    """A plain tensor, enlarged as that kind of ``tv_tensor``; None where its shape is of none."""
    numbers = plain.shape[-1] if plain.ndim else 0
    if kind == "BoundingBoxes" and numbers in (4, 5, 8):
        return _boxes(plain, scale)
    # More than three numbers without an axis for the points are several points in a row.
    if kind == "KeyPoints" and (numbers in (2, 3) or (numbers > 3 and plain.ndim > 2)):
        return _multiplied(plain, scale, count=2)
    if kind == "Mask" and plain.ndim > 1:
        return _repeated(plain, scale)
    return None if plain.numel() else plain


def _boxes(boxes: Tensor, scale: int) -> Tensor:
    # Formats of five numbers end in an angle; all other numbers of all formats are px.
    return _multiplied(boxes, scale, count=4 if boxes.shape[-1] == 5 else boxes.shape[-1])


def _multiplied(coordinates: Tensor, scale: int, *, count: int) -> Tensor:
    """The first ``count`` numbers of the last axis times ``scale``; the dtype stays.

    Raises:
        AnnotationError: the dtype cannot hold them.
    """
    moved = coordinates.clone()
    moved[..., :count] = _times(coordinates[..., :count], scale)
    return moved


def _times(numbers: Tensor, factor: int) -> Tensor:
    """Numbers of px times a factor, of the same dtype.

    Raises:
        AnnotationError: the dtype cannot hold them.
    """
    exact = numbers if numbers.is_floating_point() else numbers.to(torch.int64)
    moved = (exact * factor).to(numbers.dtype)
    if numbers.is_floating_point():
        lost = moved.isinf() & numbers.isfinite()
    else:
        lost = moved.to(torch.int64) != exact * factor
    if lost.any():
        largest = int(exact[lost].abs().max()) * factor
        raise AnnotationError(
            f"Annotations of {numbers.dtype} cannot hold {largest}, which they become in the "
            "enlarged picture; make them float32 or int64."
        )
    return moved


def _repeated(mask: Tensor, scale: int) -> Tensor:
    """Every px of (..., H, W) as ``scale`` times ``scale`` px."""
    return mask.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
