"""The detector of the trial: made, trained and asked, the same way on every arm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOSHead

from eval_tasks.pictures.wider_truth import Floats
from examples.train_detector.arms import REDUCTION, Arm
from preproc.execution.devices import choose_dtype


def new_detector(side: int) -> nn.Module:
    """An FCOS for one class on a MobileNetV3, of random weights, for faces from 8 px on.

    Its finest features are a quarter of the picture's size, where torchvision's own detectors on
    that backbone begin at a sixteenth, and its pyramid has 32 channels: .9 M parameters.
    """
    levels = {"3": 24, "6": 40, "12": 112}  # layers, the last of their size, and their channels
    backbone = BackboneWithFPN(
        mobilenet_v3_large(weights=None).features,
        return_layers={layer: str(level) for level, layer in enumerate(levels)},
        in_channels_list=list(levels.values()),
        out_channels=32,
    )
    strides = ((4,), (8,), (16,), (32,))  # the last is the pyramid's own, by pooling
    detector: nn.Module = FCOS(
        backbone,
        num_classes=2,
        head=FCOSHead(32, num_anchors=1, num_classes=2, num_convs=2),
        anchor_generator=AnchorGenerator(strides, ((1.0,),) * len(strides)),
        min_size=side,
        max_size=side,
        score_thresh=0.01,
        detections_per_img=300,
    )
    return detector


def train(
    detector: nn.Module, batches: DataLoader[Any], steps: int, device: torch.device
) -> Iterator[float]:
    """Train in place; gives the loss of each step."""
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    fast = choose_dtype(device, safe=(torch.bfloat16,)) is torch.bfloat16
    detector.train()
    for images, targets in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
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
