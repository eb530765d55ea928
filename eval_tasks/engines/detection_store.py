"""What a detector found with some settings, kept on disk image by image.

A folder is named after all settings that matter, so a killed run resumes, and other settings get
another folder. Digests of the pictures lie beside, so that a changed picture is searched again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from eval_tasks.engines.detection_files import detections_path, read_detections, write_file
from eval_tasks.engines.names import name_for
from eval_tasks.pictures.picture_files import digest
from eval_tasks.pictures.wider_truth import Floats
from preproc.errors import OutputError
from preproc.reports import write_json


class DetectionStore:
    """A folder of detections, with what they are of and how long they took.

    Attributes:
        folder: its name tells these settings from all others. Nothing is there before `begin`.

    Args:
        output: the folder of all results.
        name: what the folder's name begins with.
        settings: all that decides what is found.
    """

    def __init__(self, output: Path, name: str, settings: Mapping[str, object]) -> None:
        self.folder = output / "detections" / name_for(name, settings)
        self._settings = settings

    def missing(self, images: Mapping[str, Path]) -> dict[str, Path]:
        """The images whose detections are still to be made, or are not known to be this picture's.

        Args:
            images: picture files by name, ``event/image``.

        Raises:
            ImageError: a picture cannot be read.
        """
        searched = {record["image"]: record["digest"] for record in self._records()}
        return {
            name: path
            for name, path in images.items()
            if searched.get(name) != digest(path)
            or not detections_path(self.folder, name).is_file()
        }

    def begin(self) -> None:
        """Make the folder, and write the settings into it, before the first detections are kept.

        Raises:
            OutputError: they cannot be written.
        """
        write_json(self.folder / "settings.json", self._settings)

    def keep(
        self, name: str, suffix: str, content: str, found: Floats, seconds: tuple[float, float]
    ) -> None:
        """Keep what was found in an image, in place of what was found under its name before.

        Args:
            name: ``event/image``.
            suffix: of the picture's file.
            content: the picture's `digest` from before it was searched.
            found: (N, 5) x, y, width, height, score.
            seconds: to treat and to search it.

        Raises:
            OutputError: it cannot be written.
        """
        write_file(detections_path(self.folder, name), f"{name}{suffix}", found)
        # Last, so that what a killed run left without a record is searched again.
        self._record(image=name, digest=content, seconds=seconds)

    def read(self, names: Iterable[str]) -> dict[str, Floats]:
        """The detections of images; see `read_detections`."""
        return read_detections(self.folder, names)

    def seconds(self, names: Iterable[str]) -> tuple[float, float] | None:
        """Mean seconds an image to treat and to search, of images; None if none was searched."""
        last = {record["image"]: record["seconds"] for record in self._records()}
        times = [last[name] for name in names if name in last]
        return (fmean(t for t, _ in times), fmean(t for _, t in times)) if times else None

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
