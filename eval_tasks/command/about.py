"""What every script's figures depend on: pictures, devices, weights, versions and the machine."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from eval_tasks.engines.software import software
from preproc.environment import machine
from preproc.execution.devices import choose_device
from preproc.reports import Value


def about(
    options: argparse.Namespace,
    folder: Path,
    facts: Mapping[str, str],
    *,
    devices: Iterable[str],
    packages: Iterable[str],
    start: float,
) -> dict[str, Value]:
    """The facts that a report begins with.

    Args:
        options: the script's; which part of the pictures was taken is told where it has a choice.
        folder: that of the pictures.
        facts: what the figures of this script depend on besides.
        devices: where each arm ran, and in which dtype.
        packages: as in `environment`.
        start: when the script began, by `time.perf_counter`.

    Raises:
        OptionError: there is no such device.
    """
    parts = [name for name in ("every", "limit") if name in options]
    places = ", ".join(dict.fromkeys(devices))
    return {
        "folder": folder.resolve().name,
        **{name: f"{getattr(options, name) or 'none'}" for name in parts},
        **facts,
        **environment(options.device, *packages),
        **({"devices": places} if places else {}),
        **({"weights": str(options.weights)} if options.weights else {}),
        "seconds": round(time.perf_counter() - start, 3),
    }


def environment(device: str | None, *packages: str) -> dict[str, str]:
    """Versions and the machine.

    Args:
        device: what the user asked for; by default CUDA where it is there.
        packages: whose versions matter besides those of all scripts.

    Raises:
        OptionError: there is no such device.
    """
    facts = machine(choose_device(device))
    return {
        **software(*packages),
        **{name: f"{fact}" for name, fact in facts.items()},
    }
