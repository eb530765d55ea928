"""Faces that a detector finds in pictures treated in one way, kept on disk picture by picture.

What is found is written at once, in WIDER FACE's text format and in px of the original, into a
folder named after everything that matters to it but the pictures, whose digests lie beside: a run
that was killed goes on where it was, other settings get another folder, and what was found in
another picture of the same name is not taken for this one's.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from re import sub
from statistics import fmean
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from eval_tasks.evaluators.wider import Floats
from eval_tasks.evaluators.wider_files import detections_path, write_file
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.picture_files import digest, pixels
from eval_tasks.treatments.arms import Arm, device_name
from eval_tasks.treatments.stage import Stage
from integrations.mtcnn import MTCNN, WINDOW, Engine
from preproc.console import progress_bar
from preproc.degrade import USUAL_KERNEL
from preproc.errors import OutputError
from preproc.execution.devices import choose_device
from preproc.reports import versions, write_json

ENGINE = "facenet-pytorch"
"""The package of the detector."""


@dataclass(frozen=True)
class Settings:
    """What decides which faces are found; lengths are px of the original picture.

    Attributes:
        arm: name of the arm.
        weights: SHA-256 of the arm's weights, if it has any.
        reduction: px of the original per px of the arm's input.
        quality: JPEG quality of the arm's input; None is not compressed again.
        kernel: of the reduction.
        smallest: side of the smallest face looked for. The detector's window sets a limit: an arm
            whose result is smaller than the original is searched from `WINDOW` px there.
        thresholds: of MTCNN's three networks.
        factor: between the steps of MTCNN's pyramid.
        engine: the detector and its version.
        device: where it runs, and with it the arm's network: their rounding differs a little, and
            their time by much.
    """

    arm: str
    weights: str = ""
    reduction: int = 1
    quality: int | None = None
    smallest: float = 20.0
    thresholds: tuple[float, float, float] = (0.5, 0.5, 0.3)
    factor: float = 0.709
    engine: str = field(default_factory=lambda: f"{ENGINE} {versions(ENGINE)[ENGINE]}")
    device: str = "cpu"
    kernel: str = USUAL_KERNEL

    @property
    def folder(self) -> str:
        """A name that tells these settings from all others."""
        key = json.dumps(asdict(self), sort_keys=True)
        readable = sub(r"[^a-z0-9.]+", "-", self.arm.lower()).strip("-")
        return f"{readable}-{sha256(key.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Run:
    """An arm, under settings, with the folder that holds what it found.

    Attributes:
        arm: how pictures are treated.
        settings: how they are degraded before, and searched after.
        folder: where the files are.
        upright: whether pictures are turned as their EXIF data says. Labels know nothing of that,
            and so are made for pictures as they are stored.
    """

    arm: Arm
    settings: Settings
    folder: Path
    upright: bool = False

    def missing(self, names: Mapping[str, Path]) -> dict[str, Path]:
        """The images whose detections are still to be made, or are not known to be this picture's.

        Raises:
            ImageError: a picture cannot be read.
        """
        searched = self._searched()
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
            engine: a ``facenet_pytorch.MTCNN`` with the thresholds and factor of the settings.
            advance: called after each image.

        Raises:
            ImageError: a picture cannot be read.
            OutputError: a result cannot be written.
        """
        if not images:
            return
        write_json(self.folder / "settings.json", asdict(self.settings))
        settings = self.settings
        degradation = Degradation(settings.reduction, settings.quality, settings.kernel)
        stage = Stage(self.arm)
        detector = MTCNN(engine, enhancer=stage, min_face_size=self._smallest())
        for name, path in images.items():
            content = digest(path)
            whole = pixels(path, upright=self.upright, multiple=degradation.reduction)
            seen = degradation.apply(whole)
            start = time.perf_counter()
            stage.seconds = 0.0
            faces = detector.detect(seen)
            seconds = time.perf_counter() - start
            found = _official(faces.boxes, faces.probabilities, self.settings.reduction)
            write_file(detections_path(self.folder, name), f"{name}{path.suffix}", found)
            _append(self._pictures, json.dumps({"image": name, "digest": content}) + "\n")
            _append(self._times, self._times_of(name, stage.seconds, seconds - stage.seconds))
            advance()

    def seconds(self) -> tuple[float, float] | None:
        """Mean seconds an image to treat and to search, over all images ever searched.

        Returns:
            None where no time is known.
        """
        try:
            lines = self._times.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return None
        times = [time for line in lines if (time := _seconds(line))]
        return (fmean(t for t, _ in times), fmean(t for _, t in times)) if times else None

    def _smallest(self) -> float:
        """Smallest face in px of the arm's input, as the adapter wants it."""
        scale, wanted = self.arm.scale, self.settings.smallest
        in_view = wanted * scale / self.settings.reduction
        return (max(in_view, WINDOW) if scale < self.settings.reduction else in_view) / scale

    @property
    def _times(self) -> Path:
        return self.folder / "seconds.csv"

    @property
    def _pictures(self) -> Path:
        return self.folder / "pictures.jsonl"

    def _searched(self) -> dict[str, str]:
        """Digests of the pictures that were searched last, by the images' names."""
        try:
            lines = self._pictures.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        return dict(picture for line in lines if (picture := _picture(line)))

    def _times_of(self, name: str, *seconds: float) -> str:
        row = io.StringIO()
        csv.writer(row).writerow([name, *(f"{s:.4f}" for s in seconds), self.arm.device])
        return row.getvalue()


def make_run(
    arm: Arm,
    degradation: Degradation,
    output: Path,
    smallest: float,
    device: str | None,
    *,
    upright: bool = False,
) -> Run:
    """A run with a folder of its own.

    Args:
        arm: how pictures are treated.
        degradation: what is done to them before.
        output: the folder of all results.
        smallest: side of the smallest face looked for, in px of the original.
        device: of the detector; by default CUDA where it is there.
        upright: as for `Run`.
    """
    settings = Settings(
        arm=arm.name,
        weights=arm.weights,
        reduction=degradation.reduction,
        quality=degradation.quality,
        kernel=degradation.kernel,
        smallest=smallest,
        device=", ".join(dict.fromkeys((device_name(choose_device(device)), arm.device))),
    )
    return Run(arm, settings, output / "detections" / settings.folder, upright)


def search(runs: Mapping[str, Run], images: Mapping[str, Path], device: str | None) -> None:
    """Search the images that each run still lacks, with a bar on stderr.

    Args:
        runs: by the name that the bar shows; of one smallest face and one detector.
        images: picture files by name.
        device: of the detector; by default CUDA where it is there.

    Raises:
        PreprocError: as `make_engine` and `Run.make`.
    """
    todo = {name: run.missing(images) for name, run in runs.items()}
    total = sum(map(len, todo.values()))
    if not total:
        return
    engine = make_engine(next(iter(runs.values())).settings, device)
    with progress_bar(transient=True) as progress:
        task = progress.add_task("", total=total)
        for name, run in runs.items():
            progress.update(task, description=escape(name))
            run.make(todo[name], engine, lambda: progress.advance(task))


def make_engine(settings: Settings, device: str | None) -> Engine:
    """The detector, on a device; by default CUDA where it is there.

    Raises:
        PreprocError: facenet-pytorch is not installed.
    """
    made = MTCNN(
        thresholds=list(settings.thresholds),
        factor=settings.factor,
        select_largest=False,
        device=choose_device(device),
    )
    return made.engine


def _seconds(line: str) -> tuple[float, float] | None:
    """The two times of a row; None where it was cut short with the run that wrote it."""
    try:
        _, treating, searching, _ = next(csv.reader([line]))
        return float(treating), float(searching)
    except (StopIteration, ValueError, csv.Error):
        return None


def _picture(line: bytes) -> tuple[str, str] | None:
    """An image's name and its picture's digest; None where the line was cut short."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record["image"], record["digest"]


def _append(path: Path, line: str) -> None:
    """Add a line to a file, or make it; one that was cut short is ended before."""
    try:
        with path.open("ab+") as file:
            if not _ends_a_line(file):
                file.write(b"\r\n")
            file.write(line.encode(errors="surrogateescape"))
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error


def _ends_a_line(file: BinaryIO) -> bool:
    """Whether what is appended to a file begins a line."""
    if not file.seek(0, io.SEEK_END):
        return True
    file.seek(-1, io.SEEK_END)
    return file.read(1) == b"\n"


def _official(boxes: NDArray[np.float32], scores: NDArray[np.float32], reduction: int) -> Floats:
    """Corners in px of the reduced picture as x, y, width, height of the original, and scores.

    The adapter counts a box's first and last px from 1, the last one included, and WIDER FACE adds
    1 to widths: a box of 12 px from the corner is 1 1 12 12 there and 1 1 11 11 here.
    """
    first = (boxes[:, :2].astype(np.float64) - 1) * reduction + 1
    last = boxes[:, 2:].astype(np.float64) * reduction
    return np.concatenate([first, last - first, scores[:, None]], axis=1, dtype=np.float64)
