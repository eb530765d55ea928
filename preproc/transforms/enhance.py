"""The stage in torchvision pipelines: a v2 transform, and a step for batches after collation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from preproc.box import Box
from preproc.errors import ImageError
from preproc.extras import from_extra, importing
from preproc.options import EnhancerOptions
from preproc.pictures.images import decode
from preproc.pictures.picture import Picture
from preproc.transforms.cache import PictureCache
from preproc.transforms.deferred import DeferredEnhancer, InWorker

with importing("EnhanceTransform", from_extra("transforms")):
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    from preproc.transforms.targets import (
        enlarged,
        enlarged_target,
        named_leaves,
        require_movable,
        require_no_labels_in_pictures,
    )

Target = Mapping[str, Any]


class EnhanceTransform(v2.Transform):  # type: ignore[misc]  # torchvision is not typed
    """Enhances the pictures of a sample, and enlarges boxes, masks and keypoints with them.

    ::

        transform = v2.Compose([EnhanceTransform("cajnn-light", cache="cache/"), v2.ToImage()])
        image, target = transform(image, target)

    Stands where other ``torchvision.transforms.v2`` transforms stand, best as the first, since a
    cache helps only where the same picture comes again. Takes what they take, in any nesting: PIL
    images, tensors and ``tv_tensors`` (``Image``, ``Video``, ``BoundingBoxes`` of all formats,
    ``Mask``, ``KeyPoints``). Everything else passes through, except for plain tensors, arrays and
    lists called ``boxes``, ``masks`` or ``keypoints`` (or, as in data sets that
    ``wrap_dataset_for_transforms_v2`` has not wrapped, ``bbox``, ``xmin``, ``mask``,
    ``segmentation`` or ``landmarks``), which are refused where the picture grows, because they
    would stay behind. An ``area`` stays as it is, as by torchvision's own transforms.

    A PIL image is a picture, whatever its mode. Labels would not survive that, so one that is
    called ``masks``, ``mask`` or ``segmentation``, or that has one band beside a picture in colour,
    is refused. It is taken as stored: an EXIF orientation is neither applied nor dropped, since
    boxes are counted that way.

    Can be sent to DataLoader workers by fork or spawn, and loads the network where it is first
    needed. On CUDA it raises in a worker unless the cache has the result; see ``in_worker``.

    Attributes:
        model: registry name.
        scale: output px per input px: the network's, or 1 with ``to_input_size``.
    """

    def __init__(
        self,
        model: str = "cajnn-light",
        *,
        device: str | int | torch.device | None = None,
        in_worker: InWorker = "error",
        cache: PictureCache | str | Path | None = None,
        **options: Unpack[EnhancerOptions],
    ) -> None:
        """Describe the stage; it is built on first use.

        Args:
            model: registry name.
            device: as for `preproc.Enhancer`; chosen now, and tried when the network is loaded.
            in_worker: in a DataLoader worker, where CUDA cannot be used, ``"error"`` raises and
                ``"cpu"`` runs on the CPU.
            cache: a folder that keeps up to 20 GiB of results, or a
                `preproc.transforms.cache.PictureCache` with a limit of its own. Results are keyed
                by content, model, weights and options; the device is not part of the key, and
                neither is the code of a network of your own: delete the folder when it changes.
            options: `preproc.Enhancer`'s ``scale``, ``weights``, ``to_input_size``, ``dtype``,
                ``tile``, ``overlap``, ``strength``, ``self_ensemble`` and ``batch_size``.

        Raises:
            ModelError: there is no such model, or not at that scale.
            OptionError: an option is out of range, or at odds with another.
            OutputError: the cache's folder cannot be made, or written to while it is empty.
        """
        super().__init__()
        self._stage = DeferredEnhancer(
            model, device=device, in_worker=in_worker, cache=cache, **options
        )
        self.model, self.scale = model, self._stage.scale

    def forward(self, *inputs: Any) -> Any:  # noqa: ANN401 - torchvision's
        """Enhance a sample.

        Raises:
            ImageError: the only pictures are numpy arrays, which torchvision's transforms ignore.
            AnnotationError: what would have to move is not a ``tv_tensor``, or a PIL image may be
                a mask.
            PreprocError: as for `preproc.Enhancer` and `preproc.transforms.cache.PictureCache`.
        """
        leaves = list(named_leaves(inputs))
        require_no_labels_in_pictures(leaves)
        if self.scale != 1:
            require_movable(leaves)
        _require_picture([leaf for _, leaf in leaves])
        return super().forward(*inputs)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401, ARG002
        """Enhance or enlarge one part of a sample; called by torchvision.

        Raises:
            ImageError: a picture cannot be read.
            OptionError: in a DataLoader worker, if the device is not the CPU.
            WeightsError: the weights are missing, damaged, or for another network.
        """
        # Of plain tensors torchvision gives only the one that it takes for a picture.
        if _is_picture(inpt) or not isinstance(inpt, tv_tensors.TVTensor):
            return _enhanced(self._stage, [inpt])[0]
        return enlarged(inpt, self.scale)


class EnhanceBatch:
    """Enhances a batch after collation, in the training process, where CUDA can be used.

    ``images, targets = enhance(images, targets)`` takes what torchvision's detection references
    collate: images of any sizes in a list or of one size in a tensor, and a dictionary of
    annotations for each. Results come back on the device the images came from; no gradient goes
    through (`preproc.EnhancerModule` has gradients).

    Attributes:
        model: registry name.
        scale: output px per input px: the network's, or 1 with ``to_input_size``.
    """

    def __init__(
        self,
        model: str = "cajnn-light",
        *,
        device: str | int | torch.device | None = None,
        in_worker: InWorker = "error",
        cache: PictureCache | str | Path | None = None,
        **options: Unpack[EnhancerOptions],
    ) -> None:
        """Describe the stage; arguments and errors are those of `EnhanceTransform`."""
        self._stage = DeferredEnhancer(
            model, device=device, in_worker=in_worker, cache=cache, **options
        )
        self.model, self.scale = model, self._stage.scale

    @overload
    def __call__(self, images: Tensor) -> Tensor: ...
    @overload
    def __call__(self, images: Sequence[Tensor]) -> list[Tensor]: ...
    @overload
    def __call__(
        self, images: Tensor, targets: Sequence[Target]
    ) -> tuple[Tensor, list[dict[str, Any]]]: ...
    @overload
    def __call__(
        self, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> tuple[list[Tensor], list[dict[str, Any]]]: ...
    def __call__(
        self, images: Tensor | Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> object:
        """Enhance a batch.

        Args:
            images: (N, C, H, W), or N times (C, H, W); uint8, uint16 or float in [0, 1].
            targets: N dictionaries, of any nesting. ``tv_tensors`` are enlarged by what they are,
                plain tensors by their key: ``boxes`` or ``bbox`` (n, 4), (n, 5) with the angle
                last, or (n, 8), in any format, ``masks`` (n, H, W), ``keypoints`` or ``landmarks``
                (n, k, 2 or more) with x and y first, and ``area`` (n,). All are in px: coordinates
                that are fractions of the picture's sides, as DETR has them, belong behind this
                step. A ``mask`` and a ``segmentation`` are refused unless they are ``tv_tensors``.
                The rest stays.

        Returns:
            The images in a tensor or list as they came, and with ``targets`` new dictionaries.

        Raises:
            ImageError: an image is not a tensor or cannot be read, they or the targets come one by
                one as from a generator, a tensor of them is not (N, C, H, W), there are more or
                fewer targets than images, or one is not a dictionary.
            AnnotationError: boxes, masks or keypoints that have to move are not tensors of such a
                shape, or an annotation's dtype cannot hold what it becomes.
            OptionError: in a DataLoader worker, if the device is not the CPU.
            PreprocError: as for `preproc.Enhancer` and `preproc.transforms.cache.PictureCache`.
        """
        for given in (images, () if targets is None else targets):
            if not isinstance(given, Tensor | Sequence):
                raise ImageError(
                    f"A {type(given).__name__} is not a batch; pass a tensor (N, C, H, W) or a "
                    "list of images, and a list of targets."
                )
        if isinstance(images, Tensor) and images.ndim != 4:
            raise ImageError(
                "A tensor of images must be (N, C, H, W), but this one has shape "
                f"{tuple(images.shape)}; use EnhanceTransform for one picture."
            )
        strangers = {type(image).__name__ for image in images if not isinstance(image, Tensor)}
        if strangers:
            raise ImageError(
                f"EnhanceBatch takes tensors, but got {', '.join(sorted(strangers))}; use "
                "EnhanceTransform before collation, or convert with v2.PILToTensor()."
            )
        if targets is not None and len(targets) != len(images):
            raise ImageError(f"There are {len(images)} images, but {len(targets)} targets.")
        if targets is not None and not all(isinstance(target, Mapping) for target in targets):
            raise ImageError("A target is a dictionary of annotations; give {} for none.")
        # First, so that what is wrong with them is said before the pictures are computed.
        moved = [enlarged_target(target, self.scale) for target in targets or ()]
        enhanced: Tensor | list[Tensor] = _enhanced(self._stage, list(images))
        if isinstance(images, Tensor):
            height, width = (self.scale * extent for extent in images.shape[-2:])
            empty = images.new_empty(0, images.shape[1], height, width)
            enhanced = torch.stack(list(enhanced)) if len(enhanced) else empty
            if isinstance(images, tv_tensors.TVTensor):
                enhanced = tv_tensors.wrap(enhanced, like=images)
        return enhanced if targets is None else (enhanced, moved)


def _require_picture(leaves: Sequence[object]) -> None:
    if any(_is_picture(leaf) for leaf in leaves):
        return
    if any(isinstance(leaf, np.ndarray) and leaf.ndim in (2, 3) for leaf in leaves):
        raise ImageError(
            "The sample's pictures are numpy arrays, which torchvision's transforms ignore; "
            "put v2.ToImage() first."
        )


def _is_picture(inpt: object) -> bool:
    if isinstance(inpt, tv_tensors.TVTensor):
        return isinstance(inpt, tv_tensors.Image | tv_tensors.Video)
    # Plain tensors with fewer axes are labels, not pictures.
    return isinstance(inpt, Image.Image) or (isinstance(inpt, Tensor) and inpt.ndim > 2)


def _enhanced(stage: DeferredEnhancer, images: Sequence[Any]) -> list[Any]:
    pictures = [_read(image) for image in images]
    results = stage([picture.color for picture in pictures])
    return [picture.pack(result) for picture, result in zip(pictures, results, strict=True)]


def _read(image: Image.Image | Tensor) -> Picture:
    """Decode a picture without turning it upright: its boxes are counted as it is stored."""
    if isinstance(image, Image.Image):
        return decode(image, upright=False)
    plain = image.as_subclass(Tensor)
    # Videos, and images with several leading axes: frames of one size are a batch.
    picture = decode(plain.flatten(0, -4) if plain.ndim > 4 else plain)

    def pack(result: Tensor, part: Box | None = None) -> Tensor:
        packed: Tensor = picture.pack(result, part)
        packed = packed.reshape(*plain.shape[:-2], *packed.shape[-2:])
        if isinstance(image, tv_tensors.TVTensor):
            packed = tv_tensors.wrap(packed, like=image)
        return packed

    return replace(picture, pack=pack)
