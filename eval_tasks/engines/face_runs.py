"""MTCNN's search of pictures for one arm, in px of the original; what it finds is kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape

from eval_tasks.engines.detection_store import DetectionStore
from eval_tasks.engines.face_detector import (
    ENGINE,
    FACTOR,
    THRESHOLDS,
    engine_title,
    make_engine,
)
from eval_tasks.engines.software import software
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.picture_files import digest, pixels
from eval_tasks.pictures.wider_truth import Floats
from eval_tasks.treatments.arms import Arm, device_name
from eval_tasks.treatments.timed_arm import TimedArm
from integrations.mtcnn import MTCNN, WINDOW, Engine
from preproc.console import progress_bar


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
            "thresholds": THRESHOLDS,
            "factor": FACTOR,
            "engine": engine_title(),
            "software": software(ENGINE, "spandrel"),
            "device": ", ".join(dict.fromkeys((device_name(self.device), self.arm.device))),
            "upright": self.upright,
        }

    @cached_property
    def store(self) -> DetectionStore:
        """What was found with these settings."""
        return DetectionStore(self.output, self.arm.name, self.settings)

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
        self.store.begin()
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
            self.store.keep(name, path.suffix, content, found, (timed.seconds, searching))
            advance()

    def _smallest(self) -> float:
        """Smallest face in px of the arm's input, as the adapter wants it."""
        scale, reduction = self.arm.scale, self.degradation.reduction
        in_view = self.smallest * scale / reduction
        return (max(in_view, WINDOW) if scale < reduction else in_view) / scale


def search(runs: Mapping[str, Run], images: Mapping[str, Path]) -> None:
    """Search the images that each run still lacks, with a bar on stderr.

    Args:
        runs: by the name that the bar shows; of one smallest face and one detector.
        images: picture files by name.

    Raises:
        PreprocError: as `make_engine` and `Run.make`.
    """
    todo = {name: run.store.missing(images) for name, run in runs.items()}
    total = sum(map(len, todo.values()))
    if not total:
        return
    engine = make_engine(next(iter(runs.values())).device)
    with progress_bar(transient=True) as progress:
        task = progress.add_task("", total=total)
        for name, run in runs.items():
            progress.update(task, description=escape(name))
            run.make(todo[name], engine, lambda: progress.advance(task))


def _official(boxes: NDArray[np.float32], scores: NDArray[np.float32], reduction: int) -> Floats:
    """Corners in px of the reduced picture as x, y, width, height of the original, and scores.

    The adapter counts a box's first and last px from 1, the last one included, and WIDER FACE adds
    1 to widths: a box of 12 px from the corner is 1 1 12 12 there and 1 1 11 11 here.
    """
    first = (boxes[:, :2].astype(np.float64) - 1) * reduction + 1
    last = boxes[:, 2:].astype(np.float64) * reduction
    return np.concatenate([first, last - first, scores[:, None]], axis=1, dtype=np.float64)
