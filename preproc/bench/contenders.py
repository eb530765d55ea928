"""What `preproc bench` times: our networks, and a common alternative to them.

The peer is spandrel's ESRGAN x4 with 23 blocks, the network of Real-ESRGAN x4plus, as its users run
it (float32, NCHW, eager) and at its best (16-bit dtype, channels_last, and compiled where asked).
Speed does not depend on the values of weights, so whatever ships none runs on its initial ones.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from preproc.enhancer import Enhancer
from preproc.execution.assembly import assemble
from preproc.execution.devices import choose_dtype, dtype_name
from preproc.execution.runtime import Precision
from preproc.manifest import entries
from preproc.networks import ModelDescriptor, find
from preproc.networks.counts import cost_of
from preproc.samples import Pixels, from_float, to_float
from preproc.weights import load_network, save_state

Part = Literal["network", "stage"]
Work: TypeAlias = Callable[[Sequence[bytes]], Callable[[], object]]
"""Prepares files, which is not timed, and returns the function to be timed."""

PEER = "spandrel ESRGAN x4"
PEER_MACS = 17_926_848
"""Multiply-accumulates per LR px, as `preproc.networks.counts.count_macs` counts them."""
_JPEG_QUALITY = 40


@dataclass(frozen=True)
class Contender:
    """Something to time.

    Attributes:
        name: for tables.
        part: ``"network"`` alone, from a tensor on the device to one, or the whole ``"stage"``:
            decode a file, enhance, return to the input's size, encode.
        dtype: what most of it is computed in.
        macs_per_pixel: multiply-accumulates per LR px.
        work: see `Work`.
    """

    name: str
    part: Part
    dtype: str
    macs_per_pixel: int
    work: Work


def photograph(height: int, width: int) -> bytes:
    """A JPEG file of something with edges, gradients and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    smooth = np.stack([127 + 80 * np.sin(x / 19 + c) * np.cos(y / 23) for c in range(3)], -1)
    smooth[(x // 40 + y // 56) % 3 == 0] += 50
    noisy = smooth + rng.normal(0, 6, smooth.shape).astype(np.float32)
    return _encoded(np.clip(noisy, 0, 255).astype(np.uint8))


def ours(
    model: str,
    device: torch.device,
    dtype: torch.dtype | str | None = None,
    *,
    compiled: bool = False,
) -> list[Contender]:
    """One of our networks, alone and as a stage.

    Raises:
        ModelError: no such model.
        OptionError: no such dtype.
    """
    descriptor = find(model)
    with tempfile.TemporaryDirectory() as folder:
        path = _initial_weights(descriptor, Path(folder))
        enhancer = Enhancer(
            model, weights=path, to_input_size=True, device=device, dtype=dtype, compiled=compiled
        )
        network = load_network(descriptor, path)
    run = assemble(
        network,
        descriptor,
        device,
        Precision(enhancer.dtype),
        masks=descriptor.maskable and not compiled,
        layerwise=False,
        compiled=compiled,
    )

    def alone(files: Sequence[bytes]) -> Callable[[], object]:
        batch = _batch(files, device)
        return lambda: run(batch, None)

    def stage(files: Sequence[bytes]) -> Callable[[], object]:
        pictures = list(files)
        return lambda: [_encoded(np.asarray(y)) for y in enhancer(list(map(_decoded, pictures)))]

    name = f"{model}, compiled" if compiled else model
    return _both(name, enhancer.dtype, cost_of(descriptor).macs_per_pixel, alone, stage)


def has_peer() -> bool:
    """Whether spandrel is installed."""
    return find_spec("spandrel") is not None


def peers(device: torch.device, *, compiled: bool = False) -> list[Contender]:
    """The peer as users run it, at its best and, if asked, compiled; needs spandrel."""
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    best = choose_dtype(device, None, (half,))
    contenders = _peer(f"{PEER}, as users run it", device, torch.float32, torch.contiguous_format)
    contenders += _peer(f"{PEER}, at its best", device, best, torch.channels_last)
    if compiled:
        name = f"{PEER}, at its best, compiled"
        contenders += _peer(name, device, best, torch.channels_last, compiled=True)
    return contenders


def _peer(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    layout: torch.memory_format,
    *,
    compiled: bool = False,
) -> list[Contender]:
    from spandrel.architectures.ESRGAN import ESRGAN  # noqa: PLC0415 - an extra

    torch.manual_seed(0)
    network: nn.Module = ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=23, scale=4)
    network = network.eval().requires_grad_(requires_grad=False)
    network = network.to(device, dtype).to(memory_format=layout)
    run: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network

    def batch_of(files: Sequence[bytes]) -> Tensor:
        return _batch(files, device).to(dtype, memory_format=layout)

    @torch.inference_mode()
    def enlarged(batch: Tensor) -> Tensor:
        return run(batch)

    def alone(files: Sequence[bytes]) -> Callable[[], object]:
        batch = batch_of(files)
        return lambda: enlarged(batch)

    def stage(files: Sequence[bytes]) -> Callable[[], object]:
        return lambda: [_shrunk(enlarged(batch_of([file]))) for file in files]

    return _both(name, dtype, PEER_MACS, alone, stage)


def _both(name: str, dtype: torch.dtype, macs: int, network: Work, stage: Work) -> list[Contender]:
    """A network alone and as a stage."""
    short = dtype_name(dtype)
    return [
        Contender(name, "network", short, macs, network),
        Contender(name, "stage", short, macs, stage),
    ]


def _shrunk(enlarged: Tensor) -> bytes:
    """The file that a user of the peer writes of its result (1, 3, 4H, 4W): HxW, by Pillow."""
    samples = from_float(enlarged[0].float(), torch.uint8).permute(1, 2, 0).cpu()
    image = Image.fromarray(samples.contiguous().numpy())
    size = (image.width // 4, image.height // 4)
    return _encoded(np.asarray(image.resize(size, Image.Resampling.BICUBIC)))


def _initial_weights(descriptor: ModelDescriptor, folder: Path) -> Path | None:
    """None where weights are shipped, else a file of the values training would start from."""
    if (descriptor.family, descriptor.scale) in entries():
        return None
    torch.manual_seed(0)
    path = folder / "initial.safetensors"
    save_state(path, descriptor.build().state_dict(), torch.float32)
    return path


def _decoded(file: bytes) -> Pixels:
    with Image.open(io.BytesIO(file)) as image:
        return np.array(image.convert("RGB"))


def _encoded(picture: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def _batch(files: Sequence[bytes], device: torch.device) -> Tensor:
    pictures = torch.stack([torch.from_numpy(_decoded(file)) for file in files])
    return to_float(pictures.permute(0, 3, 1, 2)).to(device)
