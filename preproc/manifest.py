"""The manifest of weights: what is shipped, how it was trained, and what it measured.

Each file is known by its size and SHA-256, which are checked each time it is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from preproc.errors import WeightsError
from preproc.files import write_text
from preproc.paths import expanded

MANIFEST = "manifest.json"
SUFFIX = ".safetensors"

_FORMAT = 1
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
        recipe: name or path of the recipe it was trained with.
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
                raise WeightsError(f"{self}: {name!r} is not a plain file name.")
        if not self.file.endswith(SUFFIX):
            raise WeightsError(f"{self}: {self.file} does not end in {SUFFIX}.")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise WeightsError(
                f"{self}: {self.sha256!r} is not a SHA-256 in lower-case hexadecimal."
            )

    def __str__(self) -> str:
        return f"{self.model} x{self.scale}"


def shipped_folder() -> Path:
    """Where the shipped weights lie: inside an installed wheel, else beside the package."""
    package = Path(__file__).parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def entries(*, folder: Path | None = None) -> dict[tuple[str, int], WeightsEntry]:
    """Everything the manifest lists, in its order, by registry name and scale.

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
        raise WeightsError(f"{path} is not JSON ({error}); {_REPAIR}.") from error
    try:
        if content["format"] != _FORMAT:
            raise WeightsError(
                f"{path} has format {content['format']}, but this version of preproc reads format "
                f"{_FORMAT}; {_REPAIR}."
            )
        listed = map(_entry_from, content["entries"])
        return {(entry.model, entry.scale): entry for entry in listed}
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{path} is malformed ({error}); {_REPAIR}.") from error


def entry_for(model: str, scale: int) -> WeightsEntry:
    """The shipped entry for a network.

    Args:
        model: registry name.
        scale: output px per input px.

    Raises:
        WeightsError: none is shipped for it, or the manifest is missing or malformed.
    """
    known = entries()
    if entry := known.get((model, scale)):
        return entry
    shipped = ", ".join(map(str, known.values())) or "none"
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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_for(model: str, scale: int, weights: str | Path | None) -> str:
    """SHA-256 of the weights a network gets: the user's own if there are any, else those shipped.

    Raises:
        WeightsError: as `digest_of` or `entry_for`.
    """
    return entry_for(model, scale).sha256 if weights is None else digest_of(weights)


def digest_of(weights: str | Path) -> str:
    """SHA-256 of a weights file of the user's own.

    Raises:
        WeightsError: it cannot be read.
    """
    path = expanded(weights)
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(
            f"The weights {path} cannot be read: {error.strerror or error}; check what is passed "
            "as weights."
        ) from error


def add_entry(entry: WeightsEntry, folder: Path) -> None:
    """Put an entry into a folder's manifest, in place of one for the same model and scale.

    The manifest is made if there is none, is replaced in one step, and stays as it was on any
    error.

    Args:
        entry: describes a file that lies in the folder already, and so does its card.
        folder: where manifest and files lie.

    Raises:
        WeightsError: file or card is missing, or size or SHA-256 is not the file's.
        OutputError: the manifest could not be written.
    """
    verified(entry, folder=folder)
    if not (folder / entry.card).is_file():
        raise WeightsError(f"{entry}: write its card {folder / entry.card} first.")
    listed = entries(folder=folder) if (folder / MANIFEST).exists() else {}
    listed[entry.model, entry.scale] = entry
    content = {"format": _FORMAT, "entries": [asdict(e) for e in listed.values()]}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / MANIFEST, text + "\n")


def verified(entry: WeightsEntry, *, folder: Path | None = None) -> Path:
    """The path of the entry's file, after checking its size and SHA-256.

    Args:
        entry: from `entry_for` or `entries`.
        folder: where manifest and files lie; by default the shipped ones.

    Raises:
        WeightsError: the file is missing, or its size or SHA-256 is another.
    """
    path = (folder or shipped_folder()) / entry.file
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


def _entry_from(record: Mapping[str, Any]) -> WeightsEntry:
    sources = tuple(DataSource(**source) for source in record["data"])
    return WeightsEntry(**{**record, "data": sources})
