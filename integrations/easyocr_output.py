"""The shapes in which EasyOCR gives its answers: details or not, paragraphs, dicts, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from integrations.protocols import Word
from integrations.text_lines import is_upright
from preproc.errors import OptionError

_FORMATS = ("standard", "dict", "json", "free_merge")
_KEYS = ("boxes", "text", "confident")  # EasyOCR's own spelling


def require_format(output_format: str) -> None:
    """Raise a PreprocError for a format that EasyOCR does not know, and would pass over."""
    if output_format not in _FORMATS:
        raise OptionError(
            f"output_format must be one of {', '.join(_FORMATS)}, but is {output_format!r}."
        )


def paragraphs(
    words: Sequence[Word], *, x_ths: float, y_ths: float, right_to_left: bool
) -> list[Any]:
    """Words near each other as [box, text], with EasyOCR's own grouping; boxes on whole px."""
    from easyocr.utils import get_paragraph  # noqa: PLC0415 - imported only when used

    mode = "rtl" if right_to_left else "ltr"
    grouped: list[Any] = get_paragraph(words, x_ths=x_ths, y_ths=y_ths, mode=mode)
    return grouped


def shaped(items: Sequence[Any], *, detail: int, output_format: str) -> list[Any]:
    """Words or paragraphs in the format asked for.

    Args:
        items: (box, text, confidence) or (box, text).
        detail: 0 gives the texts alone.
        output_format: ``"standard"`` gives the items; ``"dict"`` dicts of ``boxes``, ``text`` and
            ``confident``; ``"json"`` a string for each of these, boxes on whole px;
            ``"free_merge"`` the items with tilted words in reading order.
    """
    if detail == 0:
        return [item[1] for item in items]
    match output_format:
        case "dict":
            return [dict(zip(_KEYS, item, strict=False)) for item in items]
        case "json":
            return [
                json.dumps(
                    dict(zip(_KEYS, (np.rint(box).astype(int).tolist(), *rest), strict=False)),
                    ensure_ascii=False,
                )
                for box, *rest in items
            ]
        case "free_merge":
            return _merged(items)
    return list(items)


def _merged(items: Sequence[Any]) -> list[Any]:
    """Each tilted word in the last line that begins above it, before what is right of it.

    That is what EasyOCR's ``merge_to_free`` is for, which fails where no line begins below a
    tilted word.
    """
    upright = [item for item in items if is_upright(np.asarray(item[0]))]
    tilted = [item for item in items if not is_upright(np.asarray(item[0]))]
    if not upright:
        return sorted(tilted, key=lambda item: item[0][0][0])
    lines: list[list[Any]] = []
    for item in upright:
        if lines and lines[-1][-1][0][0][0] < item[0][0][0]:
            lines[-1].append(item)
        else:
            lines.append([item])
    for item in tilted:
        left, top = item[0][0]
        line = next((line for line in reversed(lines) if line[0][0][0][1] <= top), lines[0])
        line.insert(sum(word[0][0][0] <= left for word in line), item)
    return [item for line in lines for item in line]
