"""The command: trains and scores a detector on each arm, and reports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from torchvision.transforms import v2

from eval_tasks.evaluators.coco import CocoScores, coco_scores
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.tables.console import table_console
from examples.train_detector.arms import REDUCTION, Arm, ArmName, arms_of, crops
from examples.train_detector.detector import detect, new_detector, train
from examples.train_detector.pictures import SUBSET, Pictures, Sample, Target, samples_of
from preproc import EnhanceTransform
from preproc.console import progress_bar, tell_failure
from preproc.environment import versions
from preproc.errors import PreprocError
from preproc.execution.devices import choose_device
from preproc.reports import require_report_files, write_json


@dataclass(frozen=True)
class Budget:
    """What a detector is trained with, the same on every arm.

    Attributes:
        steps: of the optimizer.
        batch: pictures in each step.
        cuts: crops of each of them.
        side: of the crops, in px as the detector sees them.
        workers: processes that load pictures.
        seed: for weights, order and crops.
    """

    steps: int
    batch: int
    cuts: int
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


def main(
    data: Annotated[Path, typer.Option(help="Folder of WIDER_val/images and the ground truth.")],
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
    cuts: Annotated[int, typer.Option(min=1, help="Crops of each picture in a step.")] = 4,
    side: Annotated[
        int, typer.Option(min=64, help="Side of training crops, as the detector sees them.")
    ] = 160,
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
        budget = Budget(steps, batch, cuts, side // REDUCTION * REDUCTION, workers, seed)
        results = {one.name: _trial(one, parts, budget) for one in arms_of(arm, quality, enhance)}
        about = {
            "training": _size(parts[0]),
            "held out": _size(parts[1]),
            "input": str(Degradation(REDUCTION, quality)),
            "model": str(weights or model),
            "steps": f"{steps} of {batch} x {cuts} crops of {budget.side} px, seed {seed}",
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
        training = Pictures(parts[0], arm, crops(arm, budget.side), budget.cuts)
        count = budget.steps * budget.batch
        batches = DataLoader(
            training,
            budget.batch,
            sampler=RandomSampler(training, True, count, generator=order),
            num_workers=budget.workers,  # crops, too, are drawn from ``order``, alike at one size
            generator=order,
            collate_fn=_collated,
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
            detections[name] = detect(detector, held_out[n][0][0], arm, device)
    last = losses[-max(1, budget.steps // 10) :]
    return Result(coco_scores(truth, detections, SUBSET), sum(last) / len(last), round(seconds, 1))


def _collated(batch: list[list[tuple[Tensor, Target]]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*(cut for cuts in batch for cut in cuts), strict=True))


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
