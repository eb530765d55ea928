"""The command: tunes a recogniser on each arm, has it read ICDAR2013 before and after, reports."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from rich.table import Table

from eval_tasks.engines.recognisers import EasyOcrLines, easyocr_engine
from eval_tasks.evaluators.icdar2013 import MAIN_RULE, read_right
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.own_pictures import find_pictures
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.word_crops import Crop, find_crops
from eval_tasks.tables.console import table_console
from eval_tasks.treatments.arms import Arm, make_arms
from examples.train_reader.recogniser import line_of, tune
from examples.train_reader.rendered import photograph, rendered, vocabulary
from preproc.console import progress_bar, tell_failure
from preproc.environment import versions
from preproc.errors import OptionError, PreprocError
from preproc.execution.devices import choose_device
from preproc.files import require_writable
from preproc.reports import require_report_files, write_json
from preproc.training.data.text import Ground
from preproc.weights import save_state

TESTS = (Degradation(2, 40), Degradation(4, 40), Degradation())
"""What is done to the words of ICDAR2013 before they are read."""


@dataclass(frozen=True)
class Budget:
    """What a recogniser is tuned with, the same on every arm.

    Attributes:
        words: rendered ones to tune on.
        steps: of the optimizer.
        batch: words in each step.
        seed: for words and order.
    """

    words: int
    steps: int
    batch: int
    seed: int


@dataclass(frozen=True)
class Result:
    """What a recogniser reads on an arm.

    Attributes:
        arm: its name.
        before: words read right with EasyOCR's own weights, one number for each of `TESTS`.
        after: the same once tuned.
        loss: mean of the last tenth of the steps.
        seconds: tuning took.
    """

    arm: str
    before: list[int]
    after: list[int]
    loss: float
    seconds: float


def count_right(engine: Any, arm: Arm, crops: Sequence[Crop]) -> list[int]:  # noqa: ANN401
    """Words of ICDAR2013 that an engine reads right on an arm, for each of `TESTS`."""
    reader = EasyOcrLines(engine)
    labels = {crop.file: crop.label for crop in crops}
    counts = []
    for test in TESTS:
        read = {
            crop.file: reader.readline(arm.apply(test.apply(pixels(crop.path)))).text
            for crop in crops
        }
        counts.append(sum(read_right(labels, read, MAIN_RULE).values()))
    return counts


def main(
    data: Annotated[Path, typer.Option(help="Folder of ICDAR2013's word crops and labels.")],
    photographs: Annotated[
        Path | None, typer.Option(help="Pictures to write on; plain grounds without.")
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Rendered words to tune on.")] = 12_000,
    steps: Annotated[int, typer.Option(min=2, help="Optimizer steps of each arm.")] = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Words in each step.")] = 24,
    model: Annotated[str, typer.Option(help="Name, see `preproc models`.")] = "cajnn-ocr",
    strength: Annotated[float, typer.Option(help="The model's share, 0 to 1.")] = 0.5,
    only: Annotated[
        list[str] | None, typer.Option(help="Arms whose names begin so; give it again for more.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Read every K-th word of ICDAR2013.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="For words and order.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for the tuned weights.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report here, too.")] = None,
) -> None:
    """Tune EasyOCR's recogniser on rendered words, with and without enhancement, and test it."""
    console = table_console()
    try:
        device = choose_device()
        require_report_files(json)  # rather now than after the work
        if keep:
            require_writable(keep)
        crops = find_crops(data, every)
        made = make_arms([model], device=str(device), strengths=[strength], returned=False)
        arms = [arm for arm in made if not only or arm.name.startswith(tuple(only))]
        if not arms:
            names = ", ".join(arm.name for arm in made)
            raise OptionError(
                f"No arm's name begins with {' or '.join(only or ())}; they are {names}."
            )
        ground = None
        if photographs:
            ground = partial(photograph, list(find_pictures(photographs).values()))
        budget = Budget(words, steps, batch, seed)
        results = [_trial(arm, crops, ground, budget, keep) for arm in arms]
        about = {
            "words of ICDAR2013": len(crops),
            "tuned on": f"{words} rendered words, {steps} steps of {batch}, seed {seed}",
            "device": str(device),
            **versions("torch", "easyocr", "pillow"),
        }
        facts = "\n".join(f"{name}: {value}" for name, value in about.items())
        console.print(_table(results))
        console.print(facts, soft_wrap=True)
        if json:
            tests = [str(test) for test in TESTS]
            write_json(json, {**about, "tests": tests, "arms": [asdict(r) for r in results]})
    except (PreprocError, OSError) as error:
        raise typer.Exit(tell_failure(error)) from None


def _trial(
    arm: Arm, crops: Sequence[Crop], ground: Ground | None, budget: Budget, keep: Path | None
) -> Result:
    """Read, tune and read again on an arm."""
    engine = easyocr_engine(choose_device().type == "cuda", detector=False)
    name = escape(arm.name)
    with progress_bar(transient=True) as progress:
        progress.add_task(f"reading {name}", total=None)
        before = count_right(engine, arm, crops)
        known, lines = vocabulary(), []
        for number in progress.track(range(budget.words), description=f"rendering for {name}"):
            text, picture = rendered(budget.seed, number, known, ground)
            lines.append(line_of(text, arm.apply(picture)))
        start = time.perf_counter()
        stepping = tune(engine, lines, budget.steps, budget.batch, budget.seed)
        losses = list(progress.track(stepping, total=budget.steps, description=f"tuning on {name}"))
        seconds = time.perf_counter() - start
        if keep:
            file = re.sub(r"[^\w.]+", "-", arm.name)
            recogniser = engine.recognizer
            network = getattr(recogniser, "module", recogniser)  # DataParallel on CUDA
            save_state(keep / f"{file}.safetensors", network.state_dict(), torch.float32)
        after = count_right(engine, arm, crops)
    last = losses[-max(1, budget.steps // 10) :]
    return Result(arm.name, before, after, sum(last) / len(last), round(seconds, 1))


def _table(results: Sequence[Result]) -> Table:
    table = Table("arm", *(f"{test}: before, after" for test in TESTS), "last loss", "tuning s")
    for result in results:
        counts = (f"{a}, {b}" for a, b in zip(result.before, result.after, strict=True))
        table.add_row(result.arm, *counts, f"{result.loss:.3f}", f"{result.seconds:.0f}")
    table.caption = "Words of ICDAR2013 read right, with EasyOCR's own weights and with tuned ones"
    return table


if __name__ == "__main__":
    typer.run(main)
