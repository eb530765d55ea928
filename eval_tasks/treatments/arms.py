"""Arms of an experiment: what may be done to a picture before an engine sees it.

The picture as it is, plain bicubic enlargement, our models enlarging and returning to size, and
what a user might pick instead: any network that spandrel can load, two of them in a row, and
Real-ESRGAN x4plus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eval_tasks.treatments import realesrgan
from eval_tasks.treatments.plain_arms import BICUBIC, BICUBIC_SCALE, INPUT
from preproc.enhancer import Enhancer
from preproc.errors import OptionError
from preproc.execution.devices import choose_device, dtype_name
from preproc.extras import from_extra, importing
from preproc.manifest import digest_for, digest_of
from preproc.samples import Pixels

REALESRGAN = "realesrgan-x4plus"
"""The name that stands for Real-ESRGAN x4plus where a path is expected."""


@dataclass(frozen=True)
class Arm:
    """One way to treat pictures.

    Attributes:
        name: for tables.
        scale: output px per input px, along each side.
        apply: uint8 RGB (H, W, 3) in, (scale*H, scale*W, 3) out.
        weights: SHA-256 of the weights, so that results can be told apart; empty without weights.
        device: where it runs, and in which dtype where that is its choice; on both results depend.
    """

    name: str
    scale: float
    apply: Callable[[Pixels], Pixels]
    weights: str = ""
    device: str = "cpu"


def make_arms(
    models: Sequence[str] = (),
    weights: str | Path | None = None,
    peers: Sequence[str] = (),
    device: str | None = None,
    strengths: Sequence[float] = (1.0,),
    *,
    dtype: str | None = None,
    returned: bool = True,
    taken: Sequence[str] = (),
) -> list[Arm]:
    """Load what is to be compared.

    Args:
        models: registry names of ours; each gives an arm that enlarges and, if wanted, one that
            returns to the input's size.
        weights: the user's own safetensors for the one model.
        peers: paths for spandrel, `REALESRGAN`, or several of these joined by ``+``.
        device: where the networks run; by default CUDA where it is there.
        strengths: of our models' answers, each an arm of its own; see `preproc.Enhancer`.
        dtype: what our models are computed in; by default what the device is fast in.
        returned: whether to make the arms that return to the input's size.
        taken: names that the caller has for something else, which no arm may have.

    Returns:
        The input as it is, plain bicubic, then models and peers as given.

    Raises:
        ModelError: no such model, or a file that spandrel does not know.
        OptionError: no such device or dtype, two arms of one name, or an arm of a name that is
            taken.
        WeightsError: weights are missing or damaged.
        MissingLibraryError: an optional library is not installed.
    """
    models = list(dict.fromkeys(models))
    if weights and len(models) != 1:
        raise OptionError(f"--weights belongs to one model, but {len(models)} are to be measured.")
    arms = [
        Arm(INPUT, 1, lambda img: img),
        Arm(BICUBIC, BICUBIC_SCALE, _bicubic),
    ]
    for model, strength in product(models, dict.fromkeys(strengths)):
        arms += [
            _model_arm(model, weights, device, strength, dtype=dtype, returned=back)
            for back in ((False, True) if returned else (False,))
        ]
    arms += [_peer_arm(peer, device) for peer in dict.fromkeys(peers)]
    names = [*taken, *(arm.name for arm in arms)]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"Two arms would be called {name!r}; rename a file of theirs.")
    return arms


def _bicubic(img: Pixels) -> Pixels:
    height, width = img.shape[:2]
    size = (BICUBIC_SCALE * width, BICUBIC_SCALE * height)
    return np.array(Image.fromarray(img).resize(size, Image.Resampling.BICUBIC))


def _model_arm(
    model: str,
    weights: str | Path | None,
    device: str | None,
    strength: float,
    *,
    dtype: str | None,
    returned: bool,
) -> Arm:
    enhancer = Enhancer(
        model,
        weights=weights,
        to_input_size=returned,
        device=device,
        dtype=dtype,
        strength=strength,
    )
    family, scale = enhancer.descriptor.family, enhancer.descriptor.scale
    digest = digest_for(family, scale, weights)
    name = f"{model} returned" if returned else f"{model} x{scale}"
    name += "" if strength == 1 else f" at {strength:g}"
    return Arm(name, enhancer.scale, enhancer, digest, place_of(enhancer))


def _peer_arm(peer: str, device: str | None) -> Arm:
    """A network, or several in a row with 8-bit pictures between them, as between two programs."""
    steps = [_peer(name, device) for name in ([peer] if Path(peer).is_file() else peer.split("+"))]
    return reduce(_in_a_row, steps)


def _in_a_row(first: Arm, second: Arm) -> Arm:
    return Arm(
        f"{first.name}+{second.name}",
        first.scale * second.scale,
        lambda img: second.apply(first.apply(img)),
        sha256((first.weights + second.weights).encode()).hexdigest(),
        second.device,
    )


def _peer(name: str, device: str | None) -> Arm:
    with importing("--arm", from_extra("eval")):
        from eval_tasks.treatments.peers import load_peer  # noqa: PLC0415 - spandrel is an extra
    where = choose_device(device)
    path = realesrgan.weights_file() if name == REALESRGAN else Path(name)
    digest = digest_of(path)
    state = realesrgan.load_state() if name == REALESRGAN else None
    scale, apply = load_peer(path, where, state)
    return Arm(path.stem, scale, apply, digest, device_name(where))


def place_of(enhancer: Enhancer) -> str:
    """Where a model runs, and in which dtype, as reports have it."""
    return f"{device_name(enhancer.device)} ({dtype_name(enhancer.dtype)})"


def device_name(device: torch.device) -> str:
    """What reports call a device: its name, and for CUDA that of the hardware."""
    if device.type != "cuda":
        return str(device)
    return f"{device}: {torch.cuda.get_device_name(device)}"
