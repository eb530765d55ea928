"""How long networks and stages take, and how much memory, measured side by side.

Contenders take turns, so that a machine that slows down slows all of them. The first run and the
median of the warm runs are reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import torch

from preproc.bench.contenders import Contender, Part, photograph
from preproc.bench.peak_memory import PeakMemory
from preproc.bench.sizes import Size
from preproc.execution.memory import is_out_of_memory

Clock = Literal["wall", "cpu"]
MIN_RUNS = 3


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
        seconds: a contender whose warm runs have taken this long gets no more of them, once it has
            had `MIN_RUNS`.
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
