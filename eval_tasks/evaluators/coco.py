"""A second opinion on boxes: COCO's AP, computed by pycocotools."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval_tasks.pictures.wider_truth import Floats, Truth
from preproc.extras import from_extra, importing

MAX_DETECTIONS = 1000
"""An image counts this many: crowds have hundreds of faces, COCO's own limit is 100."""


@dataclass(frozen=True)
class CocoScores:
    """COCO's AP; None where there are no such faces.

    Attributes:
        ap: mean over overlaps of .50, .55 to .95.
        ap50: at an overlap of half.
        ap75: at an overlap of three quarters.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None


def coco_scores(
    truth: Mapping[str, Truth], detections: Mapping[str, Floats], subset: str = "hard"
) -> CocoScores:
    """Score the faces of a subset; the others are regions to be ignored ("crowds").

    Args:
        truth: the images to evaluate, by name.
        detections: (N, 5) x, y, width, height in px and score, by image.
        subset: whose faces count.

    Raises:
        MissingLibraryError: pycocotools is not installed.
    """
    with importing("A second opinion", from_extra("eval")):
        from pycocotools.coco import COCO  # noqa: PLC0415 - an extra
        from pycocotools.cocoeval import COCOeval  # noqa: PLC0415
    numbers = {name: number for number, name in enumerate(truth, 1)}
    rows = [
        np.column_stack([np.full(len(found), numbers[name]), found, np.ones(len(found))])
        for name, found in detections.items()
        if name in numbers and len(found)
    ]
    with redirect_stdout(io.StringIO()):  # it reports on itself
        faces = COCO()
        faces.dataset = _dataset(truth, numbers, subset)
        faces.createIndex()
        found = faces.loadRes(np.concatenate(rows)) if rows else COCO()
        evaluation = COCOeval(faces, found, "bbox")
        evaluation.params.imgIds = list(numbers.values())
        evaluation.params.catIds = [1]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.params.areaRng = evaluation.params.areaRng[:1]  # of all sizes
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]  # overlap, recall
    return CocoScores(_mean(precision), _mean(precision[0]), _mean(precision[5]))


def _dataset(truth: Mapping[str, Truth], numbers: Mapping[str, int], subset: str) -> dict[str, Any]:
    faces = [
        (numbers[name], box, counts)
        for name, labelled in truth.items()
        for box, counts in zip(labelled.boxes, labelled.counts[subset], strict=True)
        if min(box[2:]) > 0
    ]
    return {
        "images": [{"id": number} for number in numbers.values()],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "bbox": box.tolist(),
                "area": float(box[2] * box[3]),
                "iscrowd": int(not counts),
            }
            for number, (image, box, counts) in enumerate(faces, 1)
        ],
    }


def _mean(precision: NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
