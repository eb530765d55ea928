"""MTCNN's detections for one arm, kept on disk image by image.

A folder is named after all settings that matter, so a killed run resumes, and other settings get
another folder. Digests of the pictures lie beside, so that a changed picture is searched again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from re import sub
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape

from eval_tasks.engines.detection_files import detections_path, write_file
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.picture_files import digest, pixels
from eval_tasks.pictures.wider_truth import Floats
from eval_tasks.treatments.arms import Arm, device_name
from eval_tasks.treatments.timed_arm import TimedArm
from integrations.mtcnn import MTCNN, WINDOW, Engine
from preproc.console import progress_bar
from preproc.environment import versions
from preproc.errors import OutputError
from preproc.reports import write_json

ENGINE = "facenet-pytorch"
"""The package of the detector."""

_THRESHOLDS = (0.5, 0.5, 0.3)  # of MTCNN's three networks
_FACTOR = 0.709  # between the steps of its pyramid


@dataclass(frozen=True)
class Run:
    """An arm, what is done before and after it, and the folder that holds what was found.

    Attributes:
        arm: how pictures are treated.
        degradation: what is done to them before.
        smallest: side of the smallest face looked for, in px of the original. The detector's window
            sets a limit: an arm whose result is smaller than the original is searched from
            `WINDOW` px there.
        device: where the detector runs.
        output: the folder of all results.
        upright: whether pictures are turned as their EXIF data says. Labels know nothing of that,
            and so are made for pictures as they are stored.
    """

    arm: Arm
    degradation: Degradation
    smallest: float
    device: torch.device
    output: Path
    upright: bool = False

    @cached_property
    def settings(self) -> dict[str, object]:
        """All that decides which faces are found."""
        return {
            "arm": self.arm.name,
            "weights": self.arm.weights,
            **asdict(self.degradation),
            "smallest": self.smallest,
            "thresholds": _THRESHOLDS,
            "factor": _FACTOR,
            "engine": engine_title(),
            "device": ", ".join(dict.fromkeys((device_name(self.device), self.arm.device))),
            "upright": self.upright,
        }

    @cached_property
    def folder(self) -> Path:
        """Its name tells these settings from all others."""
        digest = sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        readable = sub(r"[^a-z0-9.]+", "-", self.arm.name.lower()).strip("-")
        return self.output / "detections" / f"{readable}-{digest[:8]}"

    def missing(self, names: Mapping[str, Path]) -> dict[str, Path]:
        """The images whose detections are still to be made, or are not known to be this picture's.

        Raises:
            ImageError: a picture cannot be read.
        """
        searched = {record["image"]: record["digest"] for record in self._records()}
        return {
            name: path
            for name, path in names.items()
            if searched.get(name) != digest(path)
            or not detections_path(self.folder, name).is_file()
        }

    def make(self, images: Mapping[str, Path], engine: Engine, advance: Callable[[], None]) -> None:
        """Search images, and write what is found.

        Args:
            images: picture files by name, ``event/image``.
            engine: what `make_engine` gives.
            advance: called after each image.

        Raises:
            ImageError: a picture cannot be read.
            OutputError: a result cannot be written.
        """
        if not images:
            return
        write_json(self.folder / "settings.json", self.settings)
        reduction = self.degradation.reduction
        timed = TimedArm(self.arm)
        detector = MTCNN(engine, enhancer=timed, min_face_size=self._smallest())
        for name, path in images.items():
            content = digest(path)
            seen = self.degradation.apply(pixels(path, upright=self.upright, multiple=reduction))
            start = time.perf_counter()
            timed.seconds = 0.0
            faces = detector.detect(seen)
            searching = time.perf_counter() - start - timed.seconds
            found = _official(faces.boxes, faces.probabilities, reduction)
            write_file(detections_path(self.folder, name), f"{name}{path.suffix}", found)
            self._record(image=name, digest=content, seconds=[timed.seconds, searching])
            advance()

    def seconds(self, names: Iterable[str]) -> tuple[float, float] | None:
        """Mean seconds an image to treat and to search, of images; None if none was searched."""
        last = {record["image"]: record["seconds"] for record in self._records()}
        times = [last[name] for name in names if name in last]
        return (fmean(t for t, _ in times), fmean(t for _, t in times)) if times else None

    def _smallest(self) -> float:
        """Smallest face in px of the arm's input, as the adapter wants it."""
        scale, reduction = self.arm.scale, self.degradation.reduction
        in_view = self.smallest * scale / reduction
        return (max(in_view, WINDOW) if scale < reduction else in_view) / scale

    @property
    def _searched(self) -> Path:
        return self.folder / "pictures.jsonl"

    def _records(self) -> Iterator[dict[str, Any]]:
        """What was searched so far, one record an image; the last of a name counts."""
        with suppress(FileNotFoundError):
            for line in self._searched.read_bytes().splitlines():
                with suppress(ValueError):  # cut short with the run that wrote it
                    yield json.loads(line)

    def _record(self, **record: object) -> None:
        try:
            with self._searched.open("ab") as file:
                # The line break comes first, to end what a run that was killed left unfinished.
                file.write(f"\n{json.dumps(record)}".encode())
        except OSError as error:
            raise OutputError(f"Cannot write {self._searched}: {error.strerror}.") from error


def search(runs: Mapping[str, Run], images: Mapping[str, Path]) -> None:
    """Search the images that each run still lacks, with a bar on stderr.

    Args:
        runs: by the name that the bar shows; of one smallest face and one detector.
        images: picture files by name.

    Raises:
        PreprocError: as `make_engine` and `Run.make`.
    """
    todo = {name: run.missing(images) for name, run in runs.items()}
    total = sum(map(len, todo.values()))
    if not total:
        return
    engine = make_engine(next(iter(runs.values())).device)
    with progress_bar(transient=True) as progress:
        task = progress.add_task("", total=total)
        for name, run in runs.items():
            progress.update(task, description=escape(name))
            run.make(todo[name], engine, lambda: progress.advance(task))


def make_engine(device: torch.device) -> Engine:
    """The detector.

    Raises:
        PreprocError: facenet-pytorch is not installed.
    """
    return MTCNN(
        thresholds=list(_THRESHOLDS), factor=_FACTOR, select_largest=False, device=device
    ).engine


def engine_title() -> str:
    """The detector and its version."""
    return f"{ENGINE} {versions(ENGINE)[ENGINE]}"


def _official(boxes: NDArray[np.float32], scores: NDArray[np.float32], reduction: int) -> Floats:
    """Corners in px of the reduced picture as x, y, width, height of the original, and scores.

    The adapter counts a box's first and last px from 1, the last one included, and WIDER FACE adds
    1 to widths: a box of 12 px from the corner is 1 1 12 12 there and 1 1 11 11 here.
    """
    first = (boxes[:, :2].astype(np.float64) - 1) * reduction + 1
    last = boxes[:, 2:].astype(np.float64) * reduction
    return np.concatenate([first, last - first, scores[:, None]], axis=1, dtype=np.float64)
