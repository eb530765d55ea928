"""Does enhancement help a detector that is trained on it? A small trial on WIDER FACE.

    python -m examples.train_detector --data WIDER --steps 2000

from the repository root, with ``pip install ".[transforms,eval]"``. WIDER holds
``WIDER_val/images`` and ``eval_gt``, the benchmark's ground truth as .mat files. Only its val part
has that, so its events are divided: three of four are trained on, the fourth is held out.

Pictures are reduced x4, and compressed if ``--jpeg`` is given. The same detector is trained from
scratch on each arm, with the same first weights, steps and order of pictures:

- reduced: the reduced picture, which the detector's own bilinear resizing enlarges x4;
- bicubic: enlarged x4 by plain bicubic interpolation before, to tell size from restoration;
- enhanced: enlarged x4 by the model before, through `preproc.EnhanceTransform` and its cache;
- original: the picture before it was reduced, as the limit of what this detector can do.

The detector sees every arm at the same size. Boxes are scored in px of the original.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
import typer
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import tv_tensors
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn
from torchvision.transforms import v2

from eval_tasks.command.arguments import spread
from eval_tasks.command.console import table_console
from eval_tasks.evaluators.coco import CocoScores, coco_scores
from eval_tasks.evaluators.wider import Floats, Truth
from eval_tasks.evaluators.wider_files import read_truth
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.wider_images import images_in
from preproc import EnhanceTransform
from preproc.console import progress_bar, tell_failure
from preproc.environment import versions
from preproc.errors import ImageError, PreprocError
from preproc.execution.devices import choose_device
from preproc.reports import require_report_files, write_json

REDUCTION = 4
"""Original px per px of the reduced picture; the arms enlarge by the same."""

SUBSET = "hard"
"""The benchmark's faces that are trained on and count: 9 px high or more."""

MIN_FACE = 8
"""Faces with a shorter side in original px are left out of training, mostly those cut by crops."""

Target: TypeAlias = dict[str, Any]


class ArmName(StrEnum):
    """What is done to a picture before the detector sees it."""

    REDUCED = "reduced"
    BICUBIC = "bicubic"
    ENHANCED = "enhanced"
    ORIGINAL = "original"


@dataclass(frozen=True)
class Arm:
    """A way to show pictures to the detector.

    Attributes:
        name: for tables.
        prepare: what is done before pictures are cut and flipped at random.
        degradation: what befalls originals first.
        scale: px shown per px of the reduced picture.
    """

    name: ArmName
    prepare: v2.Transform
    degradation: Degradation
    scale: int = REDUCTION


@dataclass(frozen=True)
class Sample:
    """A picture of the data set.

    Attributes:
        path: of its file.
        truth: all its faces, in px of the original.
    """

    path: Path
    truth: Truth


@dataclass(frozen=True)
class Budget:
    """What a detector is trained with, the same on every arm.

    Attributes:
        steps: of the optimizer.
        batch: crops in each step.
        side: of the crops, in px as the detector sees them.
        workers: processes that load pictures.
        seed: for weights, order and crops.
    """

    steps: int
    batch: int
    side: int
    workers: int
    seed: int


@dataclass(frozen=True)
class Result:
    """What a detector learned on an arm.

    Attributes:
        scores: on the held-out pictures.
        loss: mean of the last tenth of the steps.
        seconds: training took.
    """

    scores: CocoScores
    loss: float
    seconds: float


class Enlarge(v2.Transform):  # type: ignore[misc]  # torchvision is not typed
    """Enlarges pictures by bicubic interpolation, and boxes with them."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The size of the result; called by torchvision."""
        return {"size": [REDUCTION * side for side in v2.query_size(flat_inputs)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401
        """Enlarge a part of a sample; called by torchvision."""
        mode = v2.InterpolationMode.BICUBIC
        return v2.functional.resize(inpt, interpolation=mode, **params)


class Pictures(Dataset[tuple[Tensor, Target]]):
    """Samples as an arm shows them, then as ``augment`` makes of that."""

    def __init__(self, samples: Sequence[Sample], arm: Arm, augment: v2.Transform) -> None:
        """Keep what to load; nothing is read yet."""
        self._samples, self._arm, self._augment = samples, arm, augment

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """A float picture (3, H, W) in [0, 1], and its faces in ``boxes`` and ``labels``."""
        sample, reduction = self._samples[index], self._arm.degradation.reduction
        original = pixels(sample.path, upright=False, multiple=REDUCTION)
        picture = self._arm.degradation.apply(original)
        faces = sample.truth.boxes[sample.truth.counts[SUBSET]] / reduction
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(faces).float().reshape(-1, 4),
            format="XYWH",
            canvas_size=picture.shape[:2],
        )
        target = {"boxes": boxes, "labels": torch.ones(len(faces), dtype=torch.int64)}
        shown = self._arm.prepare(
            tv_tensors.Image(torch.from_numpy(picture).movedim(-1, 0)), target
        )
        image, target = self._augment(*shown)
        return image, target


def samples_of(data: Path, limit: int | None) -> tuple[list[Sample], list[Sample]]:
    """The pictures to train on and those held out, of different events.

    Args:
        data: holds ``WIDER_val/images`` and ``eval_gt``.
        limit: how many pictures to take of both parts together, spread over their events.

    Raises:
        ImageError: the pictures or the ground truth are missing, or are of too few events.
    """
    truth = read_truth(data / "eval_gt")
    found = images_in(data, truth)
    events = [list(names) for _, names in groupby(found, lambda name: name.split("/")[0])]
    parts: tuple[list[Sample], list[Sample]] = [], []
    for number, names in enumerate(events):
        parts[number % 4 == 3].extend(Sample(found[name], truth[name]) for name in names)
    if limit is not None:
        held_out = max(1, limit // 4)
        parts = spread(parts[0], max(1, limit - held_out)), spread(parts[1], held_out)
    if not all(parts):
        raise ImageError(
            f"The pictures under {data} are of fewer than four events, and every fourth is held "
            "out; add some."
        )
    return parts


def arms_of(
    names: Sequence[ArmName], quality: int | None, enhance: EnhanceTransform | None
) -> list[Arm]:
    """The arms of these names; ``enhance`` is what the enhanced one does."""
    reduced, whole = Degradation(REDUCTION, quality), Degradation()
    arms = {
        ArmName.REDUCED: Arm(ArmName.REDUCED, v2.Identity(), reduced, scale=1),
        ArmName.BICUBIC: Arm(ArmName.BICUBIC, Enlarge(), reduced),
        ArmName.ENHANCED: Arm(ArmName.ENHANCED, enhance, reduced),
        ArmName.ORIGINAL: Arm(ArmName.ORIGINAL, v2.Identity(), whole),
    }
    return [arms[name] for name in dict.fromkeys(names)]


def crops(arm: Arm, side: int) -> v2.Transform:
    """Random cuts that the detector sees at ``side`` px, flipped half the time, ready for it."""
    side, least = side * arm.scale // REDUCTION, MIN_FACE * arm.scale / REDUCTION
    return v2.Compose(
        [
            v2.RandomCrop(side, pad_if_needed=True),
            v2.RandomHorizontalFlip(),
            v2.ConvertBoundingBoxFormat("XYXY"),
            v2.SanitizeBoundingBoxes(min_size=least),
            v2.ToDtype(torch.float32, scale=True),
            v2.ToPureTensor(),
        ]
    )


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


def main(
    data: Annotated[Path, typer.Option(help="Folder of WIDER_val/images and eval_gt.")],
    steps: Annotated[int, typer.Option(min=2, help="Optimizer steps of each arm.")] = 2000,
    limit: Annotated[int | None, typer.Option(min=2, help="Pictures to use, in all.")] = None,
    arm: Annotated[
        list[ArmName], typer.Option(help="What to train on; give it again for more.")
    ] = list(ArmName),  # noqa: B006
    quality: Annotated[
        int | None, typer.Option("--jpeg", min=1, max=100, help="JPEG quality of the reduced.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name, see `preproc models`.")] = "cajnn-light",
    weights: Annotated[Path | None, typer.Option(help="Your own, safetensors.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in each step.")] = 4,
    side: Annotated[
        int, typer.Option(min=64, help="Side of training crops, as the detector sees them.")
    ] = 320,
    workers: Annotated[int, typer.Option(min=1, help="Processes that load pictures.")] = 1,
    seed: Annotated[int, typer.Option(help="For weights, order and crops.")] = 0,
    cache: Annotated[Path, typer.Option(help="Keeps enhanced pictures.")] = Path("out/cache"),
    json: Annotated[Path | None, typer.Option(help="Write the report here, too.")] = None,
) -> None:
    """Train a small detector on WIDER pictures with and without enhancement, and report COCO AP."""
    console = table_console()
    device = choose_device()
    try:
        require_report_files(json)  # rather now than after the work
        parts = samples_of(data, limit)
        enhance = None
        if ArmName.ENHANCED in arm:
            enhance = EnhanceTransform(model, weights=weights, cache=cache)
        budget = Budget(steps, batch, side // REDUCTION * REDUCTION, workers, seed)
        results = {one.name: _trial(one, parts, budget) for one in arms_of(arm, quality, enhance)}
        about = {
            "training": _size(parts[0]),
            "held out": _size(parts[1]),
            "input": str(Degradation(REDUCTION, quality)),
            "model": str(weights or model),
            "steps": f"{steps} of {batch} crops of {budget.side} px, seed {seed}",
            "device": str(device),
            **versions("torch", "torchvision", "pycocotools"),
        }
        console.print(_table(results))
        console.print(
            "\n".join(f"{name}: {value}" for name, value in about.items()), soft_wrap=True
        )
        console.print(_warning(parts, steps), soft_wrap=True)
        if json:
            write_json(json, {**about, "arms": {n: asdict(r) for n, r in results.items()}})
    except (PreprocError, OSError) as error:
        raise typer.Exit(tell_failure(error)) from None


def _trial(arm: Arm, parts: tuple[list[Sample], list[Sample]], budget: Budget) -> Result:
    """Train a new detector on an arm, and score it there."""
    device = choose_device()
    ready = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()])
    with progress_bar(transient=True) as progress:
        if arm.name == ArmName.ENHANCED:
            # Here, so that the model may run on CUDA; the loader's workers then read the cache.
            for part in parts:
                pictures = Pictures(part, arm, ready)
                for n in progress.track(range(len(part)), description="enhancing"):
                    pictures[n]

        torch.manual_seed(budget.seed)
        detector = new_detector(budget.side).to(device)
        order = torch.Generator().manual_seed(budget.seed)
        training = Pictures(parts[0], arm, crops(arm, budget.side))
        count = budget.steps * budget.batch
        batches = DataLoader(
            training,
            budget.batch,
            sampler=RandomSampler(training, True, count, generator=order),
            num_workers=budget.workers,  # drawing from ``order`` alone, and so the same crops
            generator=order,
            collate_fn=_unzipped,
        )
        start = time.perf_counter()
        losses = list(
            progress.track(
                train(detector, batches, budget.steps, device),
                total=budget.steps,
                description=f"training on {arm.name}",
            )
        )
        seconds = time.perf_counter() - start

        truth, detections = {}, {}
        held_out = Pictures(parts[1], arm, ready)
        for n in progress.track(range(len(held_out)), description=f"scoring {arm.name}"):
            name = str(parts[1][n].path)
            truth[name] = parts[1][n].truth
            detections[name] = detect(detector, held_out[n][0], arm, device)
    last = losses[-max(1, budget.steps // 10) :]
    return Result(coco_scores(truth, detections, SUBSET), sum(last) / len(last), round(seconds, 1))


def _unzipped(batch: list[tuple[Tensor, Target]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*batch, strict=True))


def _faces(samples: Sequence[Sample]) -> int:
    return int(sum(sample.truth.counts[SUBSET].sum() for sample in samples))


def _size(samples: Sequence[Sample]) -> str:
    events = {sample.path.parent for sample in samples}
    return f"{len(samples)} pictures of {len(events)} events, {_faces(samples)} faces"


def _table(results: Mapping[ArmName, Result]) -> Table:
    table = Table("arm", *(column.name.upper() for column in fields(CocoScores)))
    for heading in ("last loss", "training s"):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        cells = ["-" if ap is None else f"{ap:.4f}" for ap in astuple(result.scores)]
        table.add_row(name, *cells, f"{result.loss:.3f}", f"{result.seconds:.0f}")
    table.caption = "COCO AP of faces in held-out pictures"
    return table


def _warning(parts: tuple[list[Sample], list[Sample]], steps: int) -> str:
    return (
        f"This is a small trial: a detector from random weights, {steps} steps on "
        f"{len(parts[0])} pictures (WIDER FACE trains on 12,880), scored on {len(parts[1])}, with "
        "one seed. Its AP is far below that of detectors in use; see how much --seed moves it "
        "before reading anything into a difference between arms."
    )


if __name__ == "__main__":
    typer.run(main)
