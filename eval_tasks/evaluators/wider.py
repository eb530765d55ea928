"""WIDER FACE's official rules: ground truth and detections in, precision over recall out.

What the MATLAB tools of the benchmark (Yang et al., WIDER FACE, CVPR 2016) compute, vectorised:
scores are normalised to 0..1 over the run, an image's detections are taken by falling score, and
each is matched to the labelled face of largest IoU, if that is at least 0.5. The first match of a
face that counts is a true positive, later ones and unmatched detections are false positives;
matches of faces that do not count are ignored. Precision and recall are read at 1000 thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eval_tasks.pictures.wider_truth import Flags, Floats, Truth
from preproc.errors import ImageError

Counts = NDArray[np.int64]

THRESHOLDS = 1000
"""How many there are, from 0.999 down to 0."""

OVERLAP = 0.5
"""Smallest intersection over union of a detection and the face it is matched to."""

HEIGHTS = (0.0, 12.0, 20.0, 40.0, 80.0, 160.0, float("inf"))
"""Edges of the classes of face height in px."""


@dataclass(frozen=True)
class Curve:
    """Precision over recall.

    Attributes:
        recall: (1000,) share of the faces found, by falling threshold.
        precision: (1000,) share of the detections that are right; 0 where there are none.
        faces: how many faces count.
    """

    recall: Floats
    precision: Floats
    faces: int

    @property
    def ap(self) -> float | None:
        """Average precision as in PASCAL VOC since 2010; None without faces."""
        if not self.faces:
            return None
        return float(average_precision(self.recall, self.precision))


@dataclass(frozen=True)
class Tally:
    """Counts for each of I images at each threshold; they are meant to be summed over images.

    Attributes:
        found: (I, 1000) faces found.
        proposed: (I, 1000) detections that count, right or wrong.
        faces: (I,) faces that count.
    """

    found: Counts
    proposed: Counts
    faces: Counts

    def curve(self) -> Curve:
        """The curve of all images together."""
        recall, precision = _rates(
            self.found.sum(0, keepdims=True),
            self.proposed.sum(0, keepdims=True),
            self.faces.sum(keepdims=True),
        )
        return Curve(recall[0], precision[0], int(self.faces.sum()))

    def resampled(self, draws: Counts) -> Floats:
        """AP of bootstrap samples of the images.

        Args:
            draws: (B, I) how often each image is in each of B samples. The same draws for two
                detectors give paired samples.

        Returns:
            (B,); NaN for a sample without faces.
        """
        # As floats, whose matrix products are fast; sums below 2**24 stay exact.
        times = draws.astype(np.float32)
        found, proposed, faces = (
            times @ counts.astype(np.float32) for counts in (self.found, self.proposed, self.faces)
        )
        return np.where(faces > 0, average_precision(*_rates(found, proposed, faces)), np.nan)


class Matches:
    """Which face each detection of a run is matched to, counted by subset or by height."""

    def __init__(self, truth: Mapping[str, Truth], detections: Mapping[str, Floats]) -> None:
        """Match a run.

        Args:
            truth: the images to evaluate, by name.
            detections: (N, 5) x, y, width, height in px and score by image, in any order; an image
                that is missing has none. Images that are not in ``truth`` are left out.

        Raises:
            ImageError: detections of another shape, or with values that are not finite.
        """
        self._truth = list(truth.values())
        found = [_by_score(detections.get(name), name) for name in truth]
        scores = _stretched(np.concatenate([d[:, 4] for d in found] or [np.empty(0)]))
        sizes = [len(d) for d in found]
        starts = np.cumsum([0, *(len(t.boxes) for t in self._truth)])
        aims = [
            _aims(d[:, :4], t.boxes, int(start))
            for d, t, start in zip(found, self._truth, starts, strict=False)
        ]
        # Detections in images without any labelled face are neither right nor wrong.
        valid = np.repeat([len(t.boxes) > 0 for t in self._truth], sizes).astype(bool)
        self._aim = np.concatenate(aims or [np.empty(0, np.int64)])[valid]
        self._height = np.concatenate([d[:, 3] for d in found] or [np.empty(0)])[valid]
        self._image = np.repeat(np.arange(len(sizes)), sizes)[valid]
        # The first threshold, of the falling ones, that a score reaches.
        thresholds = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
        self._bin = np.searchsorted(-thresholds, -scores[valid], side="left")

    @cached_property
    def _first(self) -> Flags:
        """Whether a detection is the first match of its face."""
        aiming = np.flatnonzero(self._aim >= 0)
        first = np.zeros(len(self._aim), bool)
        first[aiming[np.unique(self._aim[aiming], return_index=True)[1]]] = True
        return first

    def subset(self, name: str) -> Tally:
        """Count by the rules of one of `SUBSETS`."""
        return self._tally([t.counts[name] for t in self._truth], self._aim < 0)

    def heights(self) -> list[Tally]:
        """Count the hard faces by classes of height (`HEIGHTS`), low <= height < high.

        Faces of other heights are ignored, and so are unmatched detections of other heights: else
        false positives of all sizes would count in each class.
        """
        return [
            self._tally(
                [t.counts["hard"] & _within(t.boxes[:, 3], low, high) for t in self._truth],
                (self._aim < 0) & _within(self._height, low, high),
            )
            for low, high in pairwise(HEIGHTS)
        ]

    def _tally(self, counts: Sequence[Flags], stray: Flags) -> Tally:
        """Count what was found of the faces that count; ``stray`` detections are wrong."""
        chosen = np.concatenate([*counts, np.zeros(1, bool)])  # the last one is for aim -1
        counted = chosen[self._aim]
        return Tally(
            self._histogram(counted & self._first),
            self._histogram(counted | stray),
            np.array([c.sum() for c in counts], np.int64),
        )

    def _histogram(self, chosen: Flags) -> Counts:
        """(I, 1000) how many of the chosen detections reach each threshold, by image."""
        images = len(self._truth)
        flat = self._image[chosen] * THRESHOLDS + self._bin[chosen]
        table = np.bincount(flat, minlength=images * THRESHOLDS).reshape(images, THRESHOLDS)
        return np.cumsum(table, axis=1, dtype=np.int64)


def average_precision(recall: Floats, precision: Floats) -> Floats:
    """Area under curves of precision over rising recall.

    Precision is first made monotone: at each recall, the maximum over this and all higher recalls.

    Args:
        recall: (..., T).
        precision: (..., T).

    Returns:
        (...).
    """
    best = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    steps = np.diff(recall, axis=-1, prepend=0)
    return np.asarray((steps * best).sum(-1), np.float64)


def overlaps(boxes: Floats, faces: Floats) -> Floats:
    """Intersection over union of (P, 4) with (G, 4) boxes, x, y, width, height: (P, G).

    As the benchmark has it, a box reaches from x to x + width with both ends included, so that its
    sides are 1 px longer than stated.
    """
    first = np.maximum(boxes[:, None, :2], faces[None, :, :2])
    last = np.minimum(
        boxes[:, None, :2] + boxes[:, None, 2:], faces[None, :, :2] + faces[None, :, 2:]
    )
    shared = np.clip(last - first + 1, 0, None).prod(-1)
    areas = (boxes[:, 2:] + 1).prod(-1)[:, None] + (faces[:, 2:] + 1).prod(-1)[None]
    # The ground truth holds a box of width -2, which overlaps nothing and may have no area.
    share: Floats = np.divide(shared, areas - shared, out=np.zeros_like(shared), where=shared > 0)
    return share


def _rates(
    found: NDArray[np.generic], proposed: NDArray[np.generic], faces: NDArray[np.generic]
) -> tuple[Floats, Floats]:
    """Recall and precision (B, T) of found and proposed (B, T) and faces (B,)."""
    recall = np.divide(found, np.maximum(faces.astype(np.float64), 1)[:, None], dtype=np.float64)
    precision = np.divide(found, np.maximum(proposed.astype(np.float64), 1), dtype=np.float64)
    return recall, precision


def _by_score(detections: Floats | None, name: str) -> Floats:
    if detections is None:
        return np.empty((0, 5))
    if detections.ndim != 2 or detections.shape[1] != 5:
        raise ImageError(
            f"Detections must be (N, 5), x y width height score, but those of {name} have shape "
            f"{detections.shape}."
        )
    if not np.isfinite(detections).all():
        raise ImageError(f"Detections of {name} hold values that are not finite numbers.")
    return detections[np.argsort(-detections[:, 4], kind="stable")]


def _stretched(scores: Floats) -> Floats:
    """Scores normalised to 0..1 over the run; if all are equal, they become 1."""
    if not len(scores) or scores.min() == scores.max():
        return np.ones_like(scores)
    return np.asarray((scores - scores.min()) / (scores.max() - scores.min()), np.float64)


def _aims(boxes: Floats, faces: Floats, start: int) -> Counts:
    """For each detection, the index of its matched face, counted from ``start``, or -1."""
    if not (len(boxes) and len(faces)):
        return np.full(len(boxes), -1, np.int64)
    shared = overlaps(boxes, faces)
    best = shared.argmax(1)
    hits = shared[np.arange(len(boxes)), best] >= OVERLAP
    return np.where(hits, best + start, -1)


def _within(heights: Floats, low: float, high: float) -> Flags:
    return (heights >= low) & (heights < high)
