"""Weights on disk: safetensors files, the manifest about them, and networks built from them.

Only safetensors is read: a pickle (``.pth``, ``.pt``, ``.ckpt``) runs code when it is opened, so
this module never opens one. The shipped files are checked against the manifest's size and SHA-256
each time they are loaded; a user's own file is checked against the network's keys and shapes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from preproc.errors import ModelError, WeightsError
from preproc.files import replacing
from preproc.networks.registry import ModelDescriptor

MANIFEST = "manifest.json"
SUFFIX = ".safetensors"

_FORMAT = 1
_READABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_REPAIR = (
    "reinstall preproc, or run `git checkout -- weights` in a checkout, "
    "or pass weights= with a file of your own"
)


@dataclass(frozen=True)
class DataSource:
    """A set of pictures that weights were trained on, and its licence."""

    name: str
    licence: str


@dataclass(frozen=True)
class WeightsEntry:
    """What the manifest says about one shipped file.

    Attributes:
        model: registry name of the network.
        scale: output px per input px.
        file: name of the safetensors file, in the manifest's folder.
        sha256: of the file, 64 hexadecimal digits in lower case.
        bytes: size of the file.
        parameters: number of values the network trains.
        recipe: path of the TOML file it was trained with, from the repository's root.
        data: what it was trained on.
        steps: optimizer steps, over all stages.
        train_time: wall time of the training in seconds.
        results: measured set -> JPEG quality -> ``{"psnr": dB, "ssim": 0 to 1}``.
        perceptual_loss: the features a perceptual loss compared, or None where there was none.
        licence: of the weights, which may be narrower than the code's.
        card: name of the markdown file that tells the rest, in the manifest's folder.
        protocol: name of the `preproc.metrics.Protocol` that the results follow.
    """

    model: str
    scale: int
    file: str
    sha256: str
    bytes: int
    parameters: int
    recipe: str
    data: tuple[DataSource, ...]
    steps: int
    train_time: float
    results: Mapping[str, Mapping[str, Mapping[str, float]]]
    perceptual_loss: str | None
    licence: str
    card: str
    protocol: str = "cajnn"

    def __post_init__(self) -> None:
        for name in (self.file, self.card):
            if not name or Path(name).name != name:
                raise WeightsError(f"{self}: {name!r} is no plain file name.")
        if not self.file.endswith(SUFFIX):
            raise WeightsError(f"{self}: {self.file} does not end in {SUFFIX}.")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise WeightsError(f"{self}: {self.sha256!r} is no SHA-256 in lower-case hexadecimal.")

    def __str__(self) -> str:
        return f"{self.model} x{self.scale}"


def shipped_folder() -> Path:
    """Where the shipped weights lie: inside an installed wheel, else beside the package."""
    package = Path(__file__).parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def entries(*, folder: Path | None = None) -> list[WeightsEntry]:
    """Everything the manifest lists, in its order.

    Args:
        folder: where manifest and files lie; by default the shipped ones.

    Raises:
        WeightsError: the manifest is missing or malformed.
    """
    path = (folder or shipped_folder()) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"The weights' manifest {path} is missing; {_REPAIR}.") from None
    except OSError as error:
        raise WeightsError(f"Could not read {path}: {error.strerror}; {_REPAIR}.") from error
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON ({error}); {_REPAIR}.") from error
    try:
        if content["format"] != _FORMAT:
            raise WeightsError(
                f"{path} has format {content['format']}, but this version of preproc reads format "
                f"{_FORMAT}; {_REPAIR}."
            )
        return [_entry_from(record) for record in content["entries"]]
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{path} is malformed ({error}); {_REPAIR}.") from error


def entry_for(model: str, scale: int, *, folder: Path | None = None) -> WeightsEntry:
    """The manifest's entry for a network.

    Args:
        model: registry name.
        scale: output px per input px.
        folder: where manifest and files lie; by default the shipped ones.

    Raises:
        WeightsError: none is shipped for it, or the manifest is missing or malformed.
    """
    known = entries(folder=folder)
    for entry in known:
        if (entry.model, entry.scale) == (model, scale):
            return entry
    shipped = ", ".join(map(str, known)) or "none"
    raise WeightsError(
        f"No weights are shipped for {model} x{scale} (shipped: {shipped}); "
        f"pass your own with weights='FILE{SUFFIX}', on the command line --weights FILE{SUFFIX}."
    )


def read_card(entry: WeightsEntry, *, folder: Path | None = None) -> str:
    """The text (markdown) of the card that tells what the weights are and are not good for.

    Args:
        entry: from `entry_for` or `entries`.
        folder: where manifest and files lie; by default the shipped ones.

    Raises:
        WeightsError: the card is missing.
    """
    path = (folder or shipped_folder()) / entry.card
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise WeightsError(
            f"Could not read the card of {entry}, {path}: {error.strerror}; {_REPAIR}."
        ) from error


def load_state(
    descriptor: ModelDescriptor,
    weights: str | Path | None = None,
    *,
    folder: Path | None = None,
) -> dict[str, Tensor]:
    """Read and check a network's weights.

    Args:
        descriptor: the network they must fit, by key and shape.
        weights: the user's own safetensors file in half, bfloat16, single or double precision;
            by default the shipped file, whose size and SHA-256 must be the manifest's.
        folder: where the shipped ones lie, when not in their usual place.

    Returns:
        The state dict on the CPU, floating-point values in float32, in memory of its own.

    Raises:
        WeightsError: none is shipped, or the file is missing, truncated, altered, not safetensors,
            for another network, or holds values that are not finite.
    """
    return _state_for(_skeleton(descriptor), descriptor, weights, folder)


def load_network(
    descriptor: ModelDescriptor,
    weights: str | Path | None = None,
    *,
    folder: Path | None = None,
) -> nn.Module:
    """Build a network once, without initial values, and give it its weights.

    Args:
        descriptor: the network.
        weights: as for `load_state`.
        folder: as for `load_state`.

    Returns:
        The network on the CPU in float32, in evaluation mode; its parameters stay trainable.

    Raises:
        WeightsError: as for `load_state`.
        ModelError: the network has a buffer that no state dict holds.
    """
    network = _skeleton(descriptor)
    # assign: the tensors read become the parameters, so that nothing is copied or initialised.
    network.load_state_dict(_state_for(network, descriptor, weights, folder), assign=True)
    lost = [name for name, buffer in network.named_buffers() if buffer.is_meta]
    if lost:
        raise ModelError(
            f"{descriptor}: no weights file can hold the non-persistent buffer {_some(lost)}; "
            f"register it as persistent, or compute it in forward."
        )
    return network.eval()


def save_state(
    path: str | Path,
    state: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a state dict as safetensors; the file appears whole or not at all.

    Args:
        path: ends in ``.safetensors``; a file already there is replaced, a missing folder
            made.
        state: tensors of any device; only floating-point ones change their dtype.
        dtype: what floating-point values are stored as.
        metadata: text for the file's header.

    Raises:
        WeightsError: the name has another ending, or values are not finite once in ``dtype``.
        OutputError: the file could not be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise WeightsError(f"Weights are saved as safetensors: let {path} end in {SUFFIX}.")
    stored = {
        key: value.detach().to(
            device="cpu",
            dtype=dtype if value.is_floating_point() else value.dtype,
            memory_format=torch.contiguous_format,
            copy=True,  # safetensors refuses tensors that share memory
        )
        for key, value in state.items()
    }
    _require_finite(stored, f"Not saved to {path} as {dtype}")
    with replacing(path) as file:
        file.write(safetensors.torch.save(stored, dict(metadata or {})))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_entry(entry: WeightsEntry, *, folder: Path | None = None) -> None:
    """Put an entry into the manifest, in place of one for the same model and scale.

    The manifest is replaced in one step, and stays as it was on any error. A folder of one's own
    gets one if it has none.

    Args:
        entry: describes a file that lies beside the manifest already, and so does its card.
        folder: where manifest and files lie; by default the shipped ones.

    Raises:
        WeightsError: file or card is missing, or size or SHA-256 is not the file's.
        OutputError: the manifest could not be written.
    """
    begins = folder is not None and not (folder / MANIFEST).exists()
    folder = folder or shipped_folder()
    _verify(entry, folder)
    if not (folder / entry.card).is_file():
        raise WeightsError(f"{entry}: write its card {folder / entry.card} first.")
    known = [] if begins else entries(folder=folder)
    listed = {(e.model, e.scale): e for e in known}
    listed[entry.model, entry.scale] = entry
    content = {"format": _FORMAT, "entries": [asdict(e) for e in listed.values()]}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(folder / MANIFEST) as file:
        file.write(text.encode())


def _entry_from(record: Mapping[str, Any]) -> WeightsEntry:
    sources = tuple(DataSource(**source) for source in record["data"])
    return WeightsEntry(**{**record, "data": sources})


def _skeleton(descriptor: ModelDescriptor) -> nn.Module:
    """The network without values: built on the meta device, so that nothing is initialised."""
    with torch.device("meta"), _Unfilled():
        return descriptor.build()


class _Unfilled(TorchFunctionMode):
    """Skips ``normal_`` on the meta device, for which torch imports its compiler: seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        if func is Tensor.normal_ and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def _state_for(
    network: nn.Module,
    descriptor: ModelDescriptor,
    weights: str | Path | None,
    folder: Path | None,
) -> dict[str, Tensor]:
    if weights is None:
        folder = folder or shipped_folder()
        entry = entry_for(descriptor.family, descriptor.scale, folder=folder)
        path = _verify(entry, folder)
    else:
        path = Path(weights).expanduser()
    state = _read(path)
    wanted = network.state_dict()
    if descriptor.part_of:
        state = {key: value for key, value in state.items() if key in wanted}
    _require_fit(state, wanted, f"{path} does not fit {descriptor}")
    _require_finite(state, f"{path} cannot be used")
    return {
        key: value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
        for key, value in state.items()
    }


def _verify(entry: WeightsEntry, folder: Path) -> Path:
    """The entry's file, once its size and SHA-256 are known to be the manifest's."""
    path = folder / entry.file
    if not path.is_file():
        raise WeightsError(f"The weights of {entry} are missing at {path}; {_REPAIR}.")
    size = path.stat().st_size
    if size != entry.bytes:
        raise WeightsError(
            f"The weights of {entry} are damaged: {path} has {size:,} bytes, not "
            f"{entry.bytes:,}; {_REPAIR}."
        )
    if sha256_of(path) != entry.sha256:
        raise WeightsError(
            f"The weights of {entry} were altered: the SHA-256 of {path} is not the manifest's; "
            f"{_REPAIR}."
        )
    return path


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file as stored, mapped and not yet read."""
    if path.suffix != SUFFIX:
        raise WeightsError(
            f"{path} is not opened: only {SUFFIX} files are read, because a pickle runs code when "
            f"opened; convert it with safetensors.torch.save_file, or a checkpoint of "
            f"`preproc train` with `preproc export`."
        )
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}; check what is passed as weights=.")
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is no whole safetensors file ({error}); save or download it again."
        ) from error
    except OSError as error:
        raise WeightsError(
            f"Could not read {path}: {error.strerror or error}; check its permissions."
        ) from error


def _require_fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], problem: str) -> None:
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    both = [key for key in wanted if key in state]
    reshaped = [
        f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in both
        if state[key].shape != wanted[key].shape
    ]
    retyped = [
        f"{key} {state[key].dtype}"
        for key in both
        if state[key].dtype
        not in (_READABLE if wanted[key].is_floating_point() else (wanted[key].dtype,))
    ]
    found = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": reshaped,
        "of a dtype that is not read": retyped,
    }
    reasons = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in found.items() if keys]
    if reasons:
        raise WeightsError(f"{problem}: {'; '.join(reasons)}. Is it for another model or scale?")


def _require_finite(state: Mapping[str, Tensor], problem: str) -> None:
    bad = [
        key
        for key, value in state.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if bad:
        raise WeightsError(f"{problem}: infinite or NaN values in {_some(bad)}.")


def _some(words: Iterable[str], most: int = 3) -> str:
    words = list(words)
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")
