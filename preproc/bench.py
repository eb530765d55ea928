"""How long networks and stages take, and how much memory, measured side by side.

Contenders take turns, so that a machine that slows down slows all of them. The first run and the
median of the warm runs are reported. Every report names its device and versions.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Literal

import torch

from preproc.contenders import Contender, Part, photograph
from preproc.environment import machine, versions
from preproc.errors import ModelError
from preproc.execution.memory import is_out_of_memory
from preproc.peak_memory import PeakMemory

Clock = Literal["wall", "cpu"]
Size = tuple[int, int]

SIZES: dict[str, Size] = {
    "word": (32, 100),
    "128x128": (128, 128),
    "512x512": (512, 512),
    "720p": (720, 1280),
    "4k": (2160, 3840),
}
"""Heights and widths in LR px, by name."""
CPU_SIZES = ("word", "128x128")
GPU_SIZES = ("word", "512x512", "720p", "4k")
MAX_SIDE = 65_500
"""Of a JPEG file, in px; libjpeg's limit."""
MAX_PIXELS = 2 * 89_478_485
"""Of a file that Pillow decodes: twice its default ``MAX_IMAGE_PIXELS``."""
MIN_RUNS = 3
_VERSIONS = ("torch", "numpy", "pillow", "spandrel")


@dataclass(frozen=True)
class Row:
    """One contender on one size.

    Attributes:
        contender: its name.
        part: ``"network"`` or ``"stage"``.
        height: LR px.
        width: LR px.
        batch: pictures at a time.
        dtype: what most of it is computed in.
        runs: warm runs.
        first_ms: the first run at this size, with all that is set up in it.
        median_ms: a warm run.
        fastest_ms: the fastest warm run.
        pixels_per_s: LR px a second, from the median.
        flop_per_s: floating-point operations a second, two for each multiply-accumulate.
        device_mib: peak of the first run on the device, above what was allocated before it; None on
            a CPU.
        host_mib: the same of the process' resident memory; None where it is unknown.
    """

    contender: str
    part: Part
    height: int
    width: int
    batch: int
    dtype: str
    runs: int
    first_ms: float
    median_ms: float
    fastest_ms: float
    pixels_per_s: float
    flop_per_s: float
    device_mib: float | None
    host_mib: float | None


@dataclass(frozen=True)
class Timing:
    """How to time.

    Attributes:
        device: where the contenders run; waited for before a clock is read.
        runs: maximum number of warm runs of each contender.
        seconds: a contender whose warm runs have taken this long gets no more of them, but always
            `MIN_RUNS`.
        clock: ``"wall"``, or ``"cpu"`` for the time the process computes, summed over its threads:
            for machines that do other work as well.
    """

    device: torch.device
    runs: int = 20
    seconds: float = 2.0
    clock: Clock = "wall"

    def take(self, work: Callable[[], object]) -> float:
        """Seconds that a piece of work takes."""
        read = time.process_time if self.clock == "cpu" else time.perf_counter
        self._wait()
        start = read()
        work()
        self._wait()
        return read() - start

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


def parse_size(text: str) -> Size:
    """Height and width from a name in `SIZES` or from ``WIDTHxHEIGHT``.

    Raises:
        ModelError: it is neither, or too large for the JPEG file that a stage begins with.
    """
    if text.lower() in SIZES:
        return SIZES[text.lower()]
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text.lower())
    if match is None:
        raise ModelError(
            f"A size must be WIDTHxHEIGHT in px, such as 640x480, or one of {', '.join(SIZES)}, "
            f"but is {text!r}."
        )
    height, width = int(match[2]), int(match[1])
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise ModelError(
            f"A size must have {MAX_SIDE:,} px a side and {MAX_PIXELS:,} px in all at most, but "
            f"{text} has {height * width:,} px; more cannot be decoded from a JPEG file."
        )
    return height, width


def measure(
    contenders: Sequence[Contender],
    sizes: Iterable[Size],
    batches: Iterable[int],
    timing: Timing,
) -> Iterator[Row | str]:
    """Time contenders on every size and batch, those of a part side by side.

    Yields:
        Rows as they are done, or in a sentence why one is missing.
    """
    batches = list(batches)
    for size in sizes:
        try:
            file = photograph(*size)
        except MemoryError:
            yield (
                f"There is no memory for a picture of {size[1]}x{size[0]} px, so its rows are "
                "missing."
            )
            continue
        for batch in batches:
            for part in dict.fromkeys(contender.part for contender in contenders):
                rivals = [contender for contender in contenders if contender.part == part]
                yield from _side_by_side(rivals, [file] * batch, size, timing)


def report(rows: Sequence[Row], notes: Sequence[str], timing: Timing) -> dict[str, object]:
    """Everything as JSON may hold it, and what the figures depend on."""
    return {
        "environment": {
            "device": _device_name(timing.device),
            **machine(timing.device),
            "versions": versions(*_VERSIONS),
        },
        "clock": timing.clock,
        "rows": [asdict(row) for row in rows],
        "notes": notes,
    }


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells; rows of one part, size and batch are compared with the slowest of them."""
    slowest: dict[tuple[object, ...], float] = {}
    for row in rows:
        speed = slowest.get(_group(row), math.inf)
        slowest[_group(row)] = min(speed, row.pixels_per_s)
    header = ["Part", "Size", "Batch", "Contender", "dtype", "Runs", "First ms", "Median ms"]
    header += ["LR Mpx/s", "TFLOP/s", "x slowest", "Device MiB", "Host MiB"]
    cells = [
        [
            row.part,
            f"{row.width}x{row.height}",
            str(row.batch),
            row.contender,
            row.dtype,
            str(row.runs),
            f"{row.first_ms:.4g}",
            f"{row.median_ms:.4g}",
            f"{row.pixels_per_s / 1e6:.3g}",
            f"{row.flop_per_s / 1e12:.3g}",
            f"{row.pixels_per_s / slowest[_group(row)]:.3g}",
            _mebibytes(row.device_mib),
            _mebibytes(row.host_mib),
        ]
        for row in rows
    ]
    return header, cells


def _side_by_side(
    rivals: Sequence[Contender], files: Sequence[bytes], size: Size, timing: Timing
) -> Iterator[Row | str]:
    """Rows of rivals that take turns."""
    racers: list[_Racer] = []
    for rival in rivals:
        memory = PeakMemory(timing.device)
        try:
            work = rival.work(files)
            first = timing.take(work)
        except (RuntimeError, MemoryError) as error:
            yield _out_of_memory(error, rival, files, size)
            continue
        memory.stop()
        racers.append(_Racer(rival, work, first, memory))
    for _ in range(timing.runs):
        for racer in tuple(racers):
            if racer.is_done(timing):
                continue
            try:
                racer.warm.append(timing.take(racer.work))
            except (RuntimeError, MemoryError) as error:
                yield _out_of_memory(error, racer.rival, files, size)
                racers.remove(racer)
    for racer in racers:
        yield racer.row(size, len(files))


@dataclass(eq=False)
class _Racer:
    """A contender with its files, after its first run.

    Attributes:
        rival: the contender.
        work: what is timed.
        first: s, of the first run.
        memory: its peaks in the first run.
        warm: s, of each warm run so far.
    """

    rival: Contender
    work: Callable[[], object]
    first: float
    memory: PeakMemory
    warm: list[float] = field(default_factory=list)

    def is_done(self, timing: Timing) -> bool:
        """Whether it has run often enough and for as long as it may."""
        return len(self.warm) >= MIN_RUNS and sum(self.warm) >= timing.seconds

    def row(self, size: Size, batch: int) -> Row:
        """What it took."""
        speed = size[0] * size[1] * batch / median(self.warm)
        return Row(
            self.rival.name,
            self.rival.part,
            *size,
            batch=batch,
            dtype=self.rival.dtype,
            runs=len(self.warm),
            first_ms=1e3 * self.first,
            median_ms=1e3 * median(self.warm),
            fastest_ms=1e3 * min(self.warm),
            pixels_per_s=speed,
            flop_per_s=2 * self.rival.macs_per_pixel * speed,
            device_mib=self.memory.device_mib,
            host_mib=self.memory.host_mib,
        )


def _out_of_memory(error: Exception, rival: Contender, files: Sequence[bytes], size: Size) -> str:
    """Why a rival has no row.

    Raises:
        Exception: the same, where it is another error.
    """
    if not is_out_of_memory(error):
        raise error
    return (
        f"{rival.name} ({rival.part}) ran out of memory with {len(files)} picture(s) of "
        f"{size[1]}x{size[0]} px, so that row is missing."
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "CPU" if device.type == "cpu" else str(device)


def _group(row: Row) -> tuple[object, ...]:
    return row.part, row.height, row.width, row.batch


def _mebibytes(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
