"""MTCNN as the experiments use it."""

from __future__ import annotations

import torch

from integrations.mtcnn import MTCNN, Engine
from preproc.environment import versions

ENGINE = "facenet-pytorch"
"""The package of the detector."""

THRESHOLDS = (0.5, 0.5, 0.3)
"""Of MTCNN's three networks."""

FACTOR = 0.709
"""Between the steps of its pyramid."""


def make_engine(device: torch.device) -> Engine:
    """The detector.

    Raises:
        MissingLibraryError: facenet-pytorch is not installed.
    """
    return MTCNN(
        thresholds=list(THRESHOLDS), factor=FACTOR, select_largest=False, device=device
    ).engine


def engine_title() -> str:
    """The detector and its version."""
    return f"{ENGINE} {versions(ENGINE)[ENGINE]}"
