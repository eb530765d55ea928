"""The detector of the trial: made, trained and asked, the same way on every arm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn

from eval_tasks.pictures.wider_truth import Floats
from examples.train_detector.arms import REDUCTION, Arm


def new_detector(side: int) -> nn.Module:
    """A Faster R-CNN for one class with a MobileNetV3, of random weights."""
    detector: nn.Module = fasterrcnn_mobilenet_v3_large_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=2,
        min_size=side,
        max_size=side,
        box_score_thresh=0.01,
        box_detections_per_img=300,
    )
    return detector


def train(
    detector: nn.Module, batches: DataLoader[Any], steps: int, device: torch.device
) -> Iterator[float]:
    """Train in place; gives the loss of each step."""
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    detector.train()
    for images, targets in batches:
        losses = detector(
            [image.to(device) for image in images],
            [{key: value.to(device) for key, value in target.items()} for target in targets],
        )
        loss = sum(losses.values(), torch.zeros((), device=device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        yield float(loss.detach())


@torch.inference_mode()
def detect(detector: Any, image: Tensor, arm: Arm, device: torch.device) -> Floats:  # noqa: ANN401
    """Faces in a picture as (N, 5) x, y, width, height in original px, and score."""
    enlargement = REDUCTION // arm.scale  # what is left for the detector's own resizing
    detector.transform.min_size = (enlargement * min(image.shape[1:]),)
    detector.transform.max_size = enlargement * max(image.shape[1:])
    (found,) = detector.eval()([image.to(device)])
    boxes = found["boxes"].cpu().double().numpy() * enlargement
    boxes[:, 2:] -= boxes[:, :2]
    return np.column_stack([boxes, found["scores"].cpu().double().numpy()])
