"""EasyOCR's recogniser: tuned on lines as EasyOCR itself would show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from eval_tasks.engines.recognisers import INSTALL
from preproc.extras import importing
from preproc.samples import Pixels

HEIGHT = 64
"""Px to which EasyOCR brings every line."""


@dataclass(frozen=True)
class Line:
    """A word as EasyOCR's recogniser sees it.

    Attributes:
        text: what it says.
        grey: (`HEIGHT`, W) uint8.
    """

    text: str
    grey: NDArray[np.uint8]


def line_of(text: str, picture: Pixels) -> Line:
    """A word as EasyOCR resizes it."""
    with importing("Tuning EasyOCR", INSTALL):
        from easyocr.utils import compute_ratio_and_resize  # noqa: PLC0415 - an extra
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    resized, _ = compute_ratio_and_resize(grey, grey.shape[1], grey.shape[0], HEIGHT)
    return Line(text, resized)


def batch_of(lines: Sequence[Line]) -> Tensor:
    """Lines as EasyOCR batches them: float (N, 1, `HEIGHT`, W) in [-1, 1], padded on the right."""
    with importing("Tuning EasyOCR", INSTALL):
        from easyocr.recognition import AlignCollate  # noqa: PLC0415 - an extra
    widest = max(HEIGHT, *(line.grey.shape[1] for line in lines))
    collate = AlignCollate(imgH=HEIGHT, imgW=widest, keep_ratio_with_pad=True)
    batch: Tensor = collate([Image.fromarray(line.grey) for line in lines])
    return batch


def tune(
    engine: Any,  # noqa: ANN401 - EasyOCR is not typed
    lines: Sequence[Line],
    steps: int,
    batch: int,
    seed: int,
) -> Iterator[float]:
    """Tune the recogniser of an ``easyocr.Reader`` in place; gives the CTC loss of each step."""
    network: nn.Module = engine.recognizer.eval()  # the norms keep their statistics
    for module in network.modules():
        if isinstance(module, nn.LSTM):
            module.train()  # cuDNN has gradients in training only; nothing else changes by it
    rng = np.random.default_rng(seed)
    by_width = sorted(lines, key=lambda line: (line.grey.shape[1], line.text))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2e-4, total_steps=steps, pct_start=0.07
    )
    for _ in range(steps):
        first = int(rng.integers(max(1, len(by_width) - batch + 1)))
        chosen = by_width[first : first + batch]  # of nearly one width, so that little is padding
        shown = batch_of(chosen)
        gain, shift = (
            torch.from_numpy(rng.uniform(low, high, (len(chosen), 1, 1, 1))).float()
            for low, high in ((0.7, 1.2), (-0.2, 0.2))
        )
        shown = (shown * gain + shift).clamp(-1, 1).to(engine.device)
        texts, lengths = engine.converter.encode([line.text for line in chosen])
        scores = network(shown, None).log_softmax(2).transpose(0, 1)
        frames = torch.full((len(chosen),), len(scores), dtype=torch.long)
        loss: Tensor = F.ctc_loss(scores, texts.long(), frames, lengths.long(), zero_infinity=True)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        yield float(loss.detach())
