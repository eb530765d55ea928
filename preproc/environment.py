"""The hardware and library versions that figures depend on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from PIL import features
from torch.backends import cudnn


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, the JPEG coder and the named packages."""
    found = {"python": platform.python_version()}
    found["libjpeg_turbo"] = str(features.version_feature("libjpeg_turbo"))
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine(device: torch.device) -> dict[str, object]:
    """CPU, threads and system, and where the device is a CUDA one, CUDA's versions."""
    facts: dict[str, object] = {
        "cpu": _cpu_name(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
    }
    if device.type == "cuda":
        facts["cuda"] = torch.version.cuda
        facts["cudnn"] = cudnn.version()  # type: ignore[no-untyped-call]
    return facts


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8") if info.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", lines, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
