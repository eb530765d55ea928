"""Reports of the evaluations, found by what their names begin with before the digest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def reports_in(folder: Path, beginning: str) -> list[Path]:
    """Those of these pictures and this engine, the oldest first."""
    name = re.compile(re.escape(beginning) + r"-[0-9a-f]{8}\.json")
    found = [path for path in folder.glob("*.json") if name.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def report_in(folder: Path, beginning: str) -> dict[str, Any]:
    """The only one."""
    (path,) = reports_in(folder, beginning)
    content: dict[str, Any] = json.loads(path.read_text())
    return content
