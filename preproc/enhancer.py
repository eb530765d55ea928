"""The stage: a picture of any kind in, the same kind out, restored and enlarged.

Composes modules that each have a file of their own, and makes no decisions of theirs: ``pictures``
-> ``execution`` (tiles, network, stitch) -> ``blend`` -> ``pictures``.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from PIL import Image
from torch import Tensor

from preproc.blend import blend
from preproc.errors import ImageError, OptionError
from preproc.execution.assembly import assemble, device_of_input
from preproc.execution.devices import choose_device, choose_dtype, dtype_name
from preproc.execution.ensemble import geometric_self_ensemble
from preproc.execution.forks import compute_on_one_thread_after_forks
from preproc.execution.memory import explain_out_of_memory
from preproc.execution.runtime import Precision
from preproc.execution.sizes import sizes_for
from preproc.execution.tiles import Apply, run_tiles
from preproc.networks import Tiling, find
from preproc.options import require_options, tile_policy
from preproc.pictures.images import decode
from preproc.pictures.picture import ChannelOrder, Picture, require_channel_order
from preproc.progress import Progress
from preproc.regions import RegionPlan, plan_regions
from preproc.resize import BICUBIC_REACH, imresize
from preproc.samples import from_float, is_grey
from preproc.values import is_whole_number
from preproc.weights import load_network

Kind = TypeVar("Kind")


class Enhancer:
    """Removes compression artifacts and enlarges, in one pass of a network.

    ::

        enhance = Enhancer()  # cajnn-light, x4; on CUDA if available
        better = enhance(Image.open("photo.jpg"))
        crops = enhance([word, another_word])

    Pictures: PIL images of any mode, paths, the bytes of a file, arrays (H, W) or (H, W, C),
    tensors (C, H, W) or (N, C, H, W), and lists of these, of any sizes. Out comes the same kind,
    mode, dtype and device, for a path a PIL image. Grey stays grey, 16 bits stay 16 bits (of a
    path's colour Pillow gives 8, and a `DepthWarning` says so), alpha is resized separately, and
    ICC profile, DPI and EXIF are kept; a picture that EXIF says is rotated comes out upright.
    `preproc.pictures.images.decode` has the details.

    Large pictures: they are cut into tiles on the host and never lie on the device as a whole; with
    ``to_input_size`` the enlarged picture is never held as a whole, either. Networks that pool over
    the whole picture (CISRNet) get it whole, or layer by layer where it is large, unless ``tile``
    is given.

    Lists: pictures of one size go through the network together, and so do small ones (up to 128 px
    a side, 512 on a GPU) of nearly the same size where the network is `maskable`, as CAJNN is. Each
    gets the answer it gets alone, because nothing outside it is seen.

    When memory runs out, tiles are halved. When a reduced-precision dtype gives NaN or infinity,
    that and all that follows is computed in float32, with a
    `preproc.errors.PrecisionWarning`.

    May be called from several threads, and sent to other processes. Processes forked after an
    enhancer was made compute on one thread, and must not be forked while another thread computes
    (`preproc.execution.forks`); spawned ones compute on all, at any time. A process that has used
    torch otherwise, for a model of your own, must make an enhancer before it forks those that use
    one, or spawn them; otherwise they hang.

    Attributes:
        descriptor: what is known about the network.
        scale: output px per input px: the network's, or 1 with ``to_input_size``.
        device: where the network runs.
        channel_order: of the arrays and tensors it takes.
    """

    def __init__(
        self,
        model: str = "cajnn-light",
        *,
        scale: int | None = None,
        weights: str | Path | None = None,
        to_input_size: bool = False,
        device: str | int | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        tile: int | None = None,
        overlap: int | None = None,
        strength: float = 1.0,
        self_ensemble: bool = False,
        batch_size: int | None = None,
        channel_order: ChannelOrder = "rgb",
        strips: bool = True,
        layerwise: bool | None = None,
        map_folder: str | Path | None = None,
        fast: bool = True,
        compiled: bool = False,
    ) -> None:
        """Load a network.

        Args:
            model: registry name; ``preproc.list_models()`` has them. The default suits CPUs too.
            scale: px out per px in, along each side; by default the model's largest.
            weights: a safetensors file of your own; by default the shipped one.
            to_input_size: whether results are shrunk to the input's size (antialiased bicubic in
                the MATLAB convention, before anything is rounded).
            device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, 1...; by default CUDA where it is there.
                Other kinds, such as ``"mps"``, run in float32 where asked for; none was tried.
            dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"`` for the trunk; by default
                the first that the model allows (`ModelDescriptor.dtypes`) and the device has units
                for, else float32: CAJNN takes float16 on a GPU and bfloat16 on a CPU, CISRNet
                bfloat16 on both, in which its white can come out as 254 in grey pictures, too.
                GPUs of Nvidia since Ampere convolve float32 as TF32, with 10 bits of mantissa,
                unless ``torch.backends.cudnn.allow_tf32`` is set to False.
            tile: longest side of a tile in LR px, overlap included; 0 never cuts. By default 512,
                1024 on a GPU, and 0 for networks that pool over the whole picture. Cut, those pool
                over each tile, which is an approximation: seams of some levels can show.
            overlap: LR px of real neighbours a tile gets on its inner sides; by default the
                model's. With the shipped weights, tiles of 96 px differ from the whole picture by
                less than 0.05/255 at the default of 32 px, 2/255 at 16 and 15/255 at 8.
            strength: the network's share in the result, above 0 and at most 1; the rest is the
                picture itself, enlarged by plain bicubic (`preproc.blend`). Less than 1 keeps more
                of what the network would smooth away, artifacts too; 0.5 suits EasyOCR,
                Tesseract and MTCNN.
            self_ensemble: whether to average over the eight flips and transposes; eight times the
                cost.
            batch_size: most small pictures or tiles at a time; by default 8, 64 on a GPU. Together
                they have at most `execution.tiles.BATCH_PIXELS`.
            channel_order: of arrays and tensors; ``"bgr"`` for those of OpenCV.
            strips: whether the tail of a tile and its return to the input's size are computed in
                strips (`preproc.execution.strips`); False computes each at once and keeps the
                enlarged picture on the host, for comparison.
            layerwise: whether a network that pools over the whole picture runs layer by layer
                (`preproc.execution.layerwise`): always, never, or by default where the picture is
                large. The answer is the same.
            map_folder: a folder, made if missing, for the feature maps of a picture that goes layer
                by layer, which else lie in the host's memory: at x4 up to 12.3 kB an LR px for
                ``cisrnet``. For pictures that need more than there is; a disk is slower.
            fast: whether the network runs in its form for inference
                (`preproc.networks.inference`), small batches of one shape as CUDA graphs (unless
                results return to the input's size), and large results leave a GPU while it goes
                on. On a CPU glibc then keeps freed memory for reuse, in the whole process and for
                good (`preproc.execution.heap.keep_heap`). False runs the network as it was
                trained, for comparison.
            compiled: whether that form's repeated blocks go through ``torch.compile`` when first
                used, which takes a C++ compiler on a CPU and half a minute on either device, and
                once more when pictures stop being square or come several at a time. It may pay in
                long runs on GPUs before Hopper, where it was not measured: later ones run CAJNN
                faster without (`preproc.networks.dense`), and on a CPU nothing is gained. Pictures
                of different sizes then share no batch.

        Raises:
            ModelError: no such model, or not at that scale.
            OptionError: no such device or dtype, or options out of range or at odds.
            WeightsError: the weights are missing, damaged, or for another network.
            OutputError: ``map_folder`` cannot be made or written to.
        """
        require_channel_order(channel_order)
        if compiled and not fast:
            raise OptionError("Only the form for inference is compiled; leave fast=False out.")
        self.descriptor = find(model, scale)
        require_options(
            {
                "to_input_size": to_input_size,
                "tile": tile,
                "overlap": overlap,
                "strength": strength,
                "self_ensemble": self_ensemble,
                "batch_size": batch_size,
            }
        )
        self.device = choose_device(device)
        self._precision = Precision(choose_dtype(self.device, dtype, self.descriptor.dtypes))
        self.scale = 1 if to_input_size else self.descriptor.scale
        self._shrinks = to_input_size and strips
        self._sizes = sizes_for(self.device)
        # Masks are set between layers, where a compiled graph has no room for them.
        mixes = self.descriptor.maskable and not compiled
        self._policy = tile_policy(
            self.descriptor, tile, overlap, self._sizes, shrinks=self._shrinks, mixes=mixes
        )
        self._batch_size = self._sizes.batch if batch_size is None else batch_size
        self._strength, self._fast = strength, fast
        self.channel_order: ChannelOrder = channel_order
        compute_on_one_thread_after_forks()
        network = load_network(self.descriptor, weights)
        self._apply: Apply = assemble(
            network,
            self.descriptor,
            self.device,
            self._precision,
            masks=mixes,
            strips=strips,
            shrinks=self._shrinks,
            layerwise=layerwise,
            map_folder=map_folder,
            fast=fast,
            compiled=compiled,
        )
        if self_ensemble:
            self._apply = partial(geometric_self_ensemble, self._apply)
        self._given_on = device_of_input(network, self.device)

    @property
    def dtype(self) -> torch.dtype:
        """What the trunk is computed in; float32 once a `PrecisionWarning` has said so."""
        return self._precision.dtype

    def __repr__(self) -> str:
        """Which network runs where, in which dtype."""
        returned = ", returned to the input's size" if self.scale < self.descriptor.scale else ""
        where = f"{self.device} in {dtype_name(self.dtype)}"
        return f"<Enhancer: {self.descriptor} on {where}{returned}>"

    def __setstate__(self, state: dict[str, Any]) -> None:
        """An enhancer that comes from another process is as safe to fork with as one made here."""
        self.__dict__.update(state)
        compute_on_one_thread_after_forks()

    @overload
    def __call__(
        self, img: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> Image.Image: ...
    @overload
    def __call__(
        self, img: list[Any] | tuple[Any, ...], *, progress: Progress | None = None
    ) -> list[Any]: ...
    @overload
    def __call__(self, img: Kind, *, progress: Progress | None = None) -> Kind: ...
    def __call__(self, img: object, *, progress: Progress | None = None) -> object:
        """Enhance a picture, or a list of them.

        Args:
            img: a picture of any kind the class names, or a list.
            progress: called after each batch of tiles, and within one where a picture goes layer
                by layer, with the px of ``img`` that are done and all it has; of a list, those of
                all its pictures. The last call has both equal. What it raises ends the call.

        Returns:
            The same kind; a PIL image for a path, a list for a list.

        Raises:
            ImageError: it cannot be read, or its result cannot be written as bytes of its format,
                which shows at the end; for a list, the message says which one.
            ModelError: the network gives values that are not finite, even in float32.
            DeviceMemoryError: not even the smallest tile fits the memory, or the main memory has
                no room for the result.
            OutputError: the disk of ``map_folder`` has no room for the maps.
        """
        if isinstance(img, (list, tuple)):
            return self._enhanced([self._nth(n, item) for n, item in enumerate(img)], progress)
        return self._enhanced([decode(img, self.channel_order)], progress)[0]

    def regions(
        self,
        img: object,
        boxes: Sequence[Sequence[float]],
        *,
        margin: int | None = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Enhance parts of a picture, such as text boxes or face candidates, and nothing else.

        Every box is computed with real neighbours around it, so that its crop is what the enhanced
        picture has there (except for palettes, which are chosen separately for each result). Boxes
        near to each other are computed together, and those of nearly one size share a pass; apart
        from what fills them up to one size, more than the whole picture is never computed.

        Args:
            img: any one picture that the class names; boxes count in the upright one where EXIF
                says that it is rotated.
            boxes: (left, top, right, bottom) each, in px of ``img``; fractions are rounded
                outwards, and what is beyond the picture is cut off.
            margin: px of real neighbours; by default as many as tiles get. A network that pools
                over the whole picture gets the whole picture unless ``margin`` is given.
            progress: as for the whole picture; the px are those cut from it, neighbours included.

        Returns:
            For each box its crop, of the same kind as ``img``, ``scale`` times as large as the box.

        Raises:
            ImageError: no such picture, or a box that has no px of it.
            OptionError: ``margin`` is negative or no whole number.
            ModelError, DeviceMemoryError, OutputError: as for the whole picture.
        """
        picture = decode(img, self.channel_order)
        height, width = picture.color.shape[-2:]
        plan = self.plan_regions((height, width), boxes, margin=margin)
        windows = [picture.color[..., *window.slices()] for window in plan.windows]
        canvases = self._run(windows, progress)
        # In their own kind the crops lie there once more.
        with self._explain_if_full(2 * sum(canvas.nbytes for canvas in canvases), picture.color):
            results = list(map(self._finished, canvases, windows))
            return [
                picture.pack(results[n][..., *box.within(plan.windows[n], self.scale)].clone(), box)
                for box, n in zip(plan.boxes, plan.home, strict=True)
            ]

    def plan_regions(
        self, size: tuple[int, int], boxes: Sequence[Sequence[float]], *, margin: int | None = None
    ) -> RegionPlan:
        """What `regions` would compute for a picture of a size (height, width), and what it saves.

        Raises:
            ImageError: a box that has no px of the picture.
            OptionError: ``margin`` is negative or no whole number.
        """
        if margin is None:
            pools = self.descriptor.tiling is Tiling.WHOLE
            # Plain bicubic, which is mixed in, has a reach of its own.
            reach = 0 if self._strength == 1 else BICUBIC_REACH
            margin = max(size) if pools else max(self._policy.overlap, reach)
        elif not is_whole_number(margin, 0):
            raise OptionError(f"margin must be a whole number of px, 0 or more, but is {margin!r}.")
        side = self._policy.size or self._sizes.tile  # larger unions would be cut into tiles again
        return plan_regions(
            size,
            boxes,
            self._policy,
            margin=int(margin),
            side=side,
            window_cost=self._sizes.window_cost,
        )

    def _nth(self, number: int, img: object) -> Picture:
        try:
            return decode(img, self.channel_order)
        except ImageError as error:
            raise ImageError(f"Picture {number} of the list: {error}") from error

    def _enhanced(self, pictures: Sequence[Picture], progress: Progress | None) -> list[Any]:
        canvases = self._run([picture.color for picture in pictures], progress)
        return [
            self._packed(picture, canvas)
            for picture, canvas in zip(pictures, canvases, strict=True)
        ]

    def _run(self, colors: Sequence[Tensor], progress: Progress | None) -> list[Tensor]:
        """The canvases of pictures (N, C, H, W), filled by the network."""
        canvases = [self._canvas(color) for color in colors]
        images = [image for color in colors for image in _in_own_planes(color)]
        places = [place for canvas in canvases for place in canvas]
        run_tiles(
            images,
            [place[: len(image)] for image, place in zip(images, places, strict=True)],
            self._apply,
            self._policy,
            made=self.descriptor.scale,
            batch_size=self._batch_size,
            device=self._given_on,
            copy_at_once=not self._fast,
            progress=progress,
        )
        return canvases

    def _canvas(self, color: Tensor) -> Tensor:
        """Where results are stitched: float where they are still to be shrunk, else final."""
        count, channels, height, width = color.shape
        scale = 1 if self._shrinks else self.descriptor.scale
        dtype = torch.float32 if self.scale < scale else color.dtype
        # Laid out as the picture is, so that it is packed without a copy.
        layout = torch.contiguous_format if color.stride(-1) == 1 else torch.channels_last
        size = (count, channels, scale * height, scale * width)
        with self._explain_if_full(math.prod(size) * dtype.itemsize, color):
            return torch.empty(size, dtype=dtype, memory_format=layout, device=color.device)

    def _explain_if_full(self, needed: int, color: Tensor) -> AbstractContextManager[None]:
        """While ``needed`` bytes are allocated for the result of ``color``, explain a failure."""
        count, _, height, width = color.shape
        size = f"{self.scale * height}x{self.scale * width} px"
        cut = "cut the picture" if count == 1 else "give fewer pictures at once"
        return explain_out_of_memory(
            f"The result of {size if count == 1 else f'{count} times {size}'} needs "
            f"{needed / 1e9:,.1f} GB of main memory; "
            + (f"use to_input_size=True, or {cut}." if self.scale > 1 else f"{cut}.")
        )

    def _packed(self, picture: Picture, canvas: Tensor) -> object:
        # In its own kind the result lies there once more.
        with self._explain_if_full(2 * canvas.nbytes, picture.color):
            return picture.pack(self._finished(canvas, picture.color))

    def _finished(self, canvas: Tensor, color: Tensor) -> Tensor:
        if canvas.shape[-2:] != (self.scale * color.shape[-2], self.scale * color.shape[-1]):
            canvas = imresize(canvas, size=(color.shape[-2], color.shape[-1]))
        if color.is_floating_point():
            result = canvas.clamp_(0, 1)
        else:
            result = from_float(canvas, color.dtype) if canvas.is_floating_point() else canvas
        if self._strength < 1:
            result = blend(result, color, self._strength)
        for one, image in zip(result, _in_own_planes(color), strict=True):
            one[len(image) :] = one[:1]
        return result


def _in_own_planes(color: Tensor) -> list[Tensor]:
    """Pictures (N, C, H, W) one by one, each as it would be alone.

    Beside coloured ones of a batch, grey is stored in three planes, of which one is computed.
    """
    return [image[:1] if len(color) > 1 and is_grey(image) else image for image in color]


def _in_one_piece(enhancer: Enhancer) -> tuple[Any, ...]:
    return pickle.loads, (pickle.dumps(enhancer),)


# Otherwise torch passes every tensor through a file descriptor of its own.
ForkingPickler.register(Enhancer, _in_one_piece)
