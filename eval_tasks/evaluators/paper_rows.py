"""The papers' own rows, to stand beside what is measured."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from eval_tasks.evaluators.restoration import Row
from eval_tasks.pictures.restoration_sets import SET_SIZES
from preproc.metrics import Protocol


def printed_beside(measured: Sequence[Row], protocol: Protocol) -> list[Row]:
    """The rows that the protocol's paper prints for the sets, qualities and scales measured.

    Where another number of images than the set has was measured, there is none to compare with.
    """
    cases = {
        (row.dataset, row.quality, row.scale)
        for row in measured
        if row.images == SET_SIZES.get(row.dataset)
    }
    return [
        row for row in paper_rows()[protocol.name] if (row.dataset, row.quality, row.scale) in cases
    ]


@cache
def paper_rows() -> dict[str, list[Row]]:
    """Rows of the papers by protocol (``cajnn``, ``cisrnet``), in the order they are printed.

    A row stands for one method on one set. What a paper does not print is None, with the reason
    in ``note``; so is the reason not to trust a figure that is printed.
    """
    text = files("eval_tasks.evaluators").joinpath("paper_rows.toml").read_text("utf-8")
    tables = tomllib.loads(text)
    return {
        table["protocol"]: [
            _row(table, entry, dataset) for entry in table["rows"] for dataset in _SETS
        ]
        for table in tables.values()
    }


_SETS = ("Set5", "Set14", "BSD100", "Urban100", "Manga109")


def _row(table: dict[str, Any], entry: dict[str, Any], dataset: str) -> Row:
    psnr, ssim = entry.get(dataset, (None, None))
    doubts = {**table.get("doubts", {}), **entry.get("doubts", {})}
    return Row(
        source=table["title"],
        method=entry["method"],
        dataset=dataset,
        scale=entry["scale"],
        quality=entry["quality"],
        psnr=psnr,
        ssim=ssim,
        seconds=entry.get("seconds") if table["timed_on"] == dataset else None,
        parameters=entry.get("parameters"),
        note=entry.get("missing") or doubts.get(dataset, ""),
    )
