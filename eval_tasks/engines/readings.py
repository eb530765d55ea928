"""What was read, kept on disk as it comes, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from os import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from rich.markup import escape

from preproc.console import progress_bar
from preproc.errors import OutputError


class Key(NamedTuple):
    """What a reading depends on.

    Attributes:
        recogniser: with version and device.
        degradation: what was done to the source crop.
        arm: what was done to the degraded crop.
        weights: SHA-256 of the arm's weights, ``""`` without weights.
        device: where the arm ran, and in which dtype.
        word: name of the picture, with a digest of its content.
        software: versions of all that treats and reads; ``""`` in files from before they were kept.
    """

    recogniser: str
    degradation: str
    arm: str
    weights: str
    device: str
    word: str
    software: str = ""


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        text: ``""`` for nothing.
        confidence: 0 to 1, by the recogniser's own measure.
        arm_seconds: wall time of the arm.
        read_seconds: wall time of the recogniser.
    """

    text: str
    confidence: float
    arm_seconds: float
    read_seconds: float


class Readings:
    """Readings in a file of JSON lines; each is on disk before the next one is made.

    A context manager; what the file holds already is known from the start.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Args:
            path: a file of this class's making, or one that does not exist yet. A last line that a
                killed run left unfinished is cut off.

        Raises:
            OutputError: it cannot be opened for writing, or is some other file.
        """
        self._known: dict[Key, Reading] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            self._file.seek(0)
            content = self._file.read()
            whole = content.rfind(b"\n") + 1
            for line in content[:whole].splitlines():
                record = json.loads(line)
                self._known[Key(**record["key"])] = Reading(**record["reading"])
            # Another run may have gone on with the file meanwhile.
            if whole < len(content) == self._file.seek(0, SEEK_END):
                self._file.truncate(whole)
        except OSError as error:
            raise OutputError(f"Cannot write readings to {path}: {error.strerror}.") from error
        except (ValueError, TypeError, KeyError) as error:
            self._file.close()
            raise OutputError(
                f"{path} holds something else than readings of this script ({error}); choose "
                "another folder, or remove it."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, wanted: Mapping[Key, Callable[[], Reading]]) -> dict[Key, Reading]:
        """All readings that are wanted; those not known yet are made, with a bar on stderr.

        Args:
            wanted: what makes each.

        Raises:
            OutputError: the disk is full or the like; what was kept before stays.
        """
        missing = {key: make for key, make in wanted.items() if key not in self._known}
        with progress_bar(transient=True) as progress:
            task = progress.add_task("", total=len(missing))
            for key, make in missing.items():
                progress.update(task, description=escape(f"{key.degradation}: {key.arm}"))
                self._keep(key, make())
                progress.advance(task)
        return {key: self._known[key] for key in wanted}

    def _keep(self, key: Key, reading: Reading) -> None:
        """Keep a reading, in the file too, which is closed if that fails."""
        line = json.dumps({"key": key._asdict(), "reading": asdict(reading)}) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
        except OSError as error:
            # Closing tries to write the rest again, and would fail again where nobody expects it.
            with suppress(OSError):
                self._file.close()
            raise OutputError(
                f"Cannot keep a reading: {error.strerror}. What was read before is kept; mend "
                "that, and the same command goes on."
            ) from error
        self._known[key] = reading
