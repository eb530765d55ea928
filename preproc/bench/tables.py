"""What was timed, for JSON with all that the figures depend on, and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import torch

from preproc.bench.timing import Row, Timing
from preproc.environment import machine, versions

_VERSIONS = ("torch", "numpy", "pillow", "spandrel")


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


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "CPU" if device.type == "cpu" else str(device)


def _group(row: Row) -> tuple[object, ...]:
    return row.part, row.height, row.width, row.batch


def _mebibytes(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
