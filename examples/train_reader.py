"""Does enhancement help a reader trained on it? EasyOCR's, tuned on words as each arm shows them.

    python -m examples.train_reader --data ICDAR2013

from the repository root, with ``pip install ".[eval]"``. ICDAR2013 holds the word crops and labels
of its task 2.3, which are only read. The words that the recogniser is tuned on are rendered,
reduced x4, mostly saved as JPEG, and shown as each arm shows them:

- input: as they are, which EasyOCR enlarges to its 64 px by itself;
- bicubic x4: enlarged by plain bicubic interpolation before;
- the model: enlarged by it before.

The recogniser starts from EasyOCR's own weights on every arm, and sees the same words in the same
order. ``--keep`` leaves the tuned weights as safetensors, for ``load_state_dict`` of
``reader.recognizer``, or on CUDA of ``reader.recognizer.module``, where ``reader`` is an
``easyocr.Reader`` that was made with ``quantize=False``.
"""

from __future__ import annotations

import re
import string
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from eval_tasks.command.console import table_console
from eval_tasks.engines.recognisers import INSTALL, EasyOcrLines, easyocr_engine
from eval_tasks.evaluators.icdar2013 import MAIN_RULE, read_right
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.own_pictures import find_pictures
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.word_crops import Crop, find_crops
from eval_tasks.treatments.arms import Arm, make_arms
from preproc.console import progress_bar, tell_failure
from preproc.environment import versions
from preproc.errors import ModelError, PreprocError
from preproc.execution.devices import choose_device
from preproc.extras import importing
from preproc.files import require_writable
from preproc.reports import require_report_files, write_json
from preproc.samples import Pixels
from preproc.training.data.text import Ground, word_picture
from preproc.weights import save_state

HEIGHT = 64
"""Px to which EasyOCR brings every line."""

REDUCTION = 4
"""Px of a rendered word per px of what the recogniser is tuned on."""

TESTS = (Degradation(2, 40), Degradation(4, 40), Degradation())
"""What is done to the words of ICDAR2013 before they are read."""


@dataclass(frozen=True)
class Line:
    """A word as EasyOCR's recogniser sees it.

    Attributes:
        text: what it says.
        grey: (`HEIGHT`, W) uint8.
    """

    text: str
    grey: NDArray[np.uint8]


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


def vocabulary() -> list[str]:
    """Words of 2 to 12 letters from the sources of Python's own library, which is always there."""
    counts: Counter[str] = Counter()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text("utf-8", errors="ignore").lower()
        counts.update(re.findall(r"\b[a-z]{2,12}\b", text))
    return sorted(word for word, count in counts.items() if count > 1)


def random_text(rng: Generator, words: Sequence[str]) -> str:
    """A word in any case, or, three times of ten, digits or letters at random."""
    kind = rng.random()
    if kind < 0.15:
        return "".join(rng.choice(list(string.digits), int(rng.integers(1, 7))))
    if kind < 0.3:
        letters = list(string.ascii_letters + string.digits)
        return "".join(rng.choice(letters, int(rng.integers(2, 9))))
    word, case = str(rng.choice(words)), rng.random()
    return word.upper() if case < 0.4 else word.title() if case < 0.65 else word


def photograph(paths: Sequence[Path], rng: Generator, size: int) -> Pixels:
    """A square of ``size`` px of one of the pictures, enlarged if it is too small."""
    picture = Image.fromarray(pixels(paths[int(rng.integers(len(paths)))]))
    scale = max(1.0, size / min(picture.size))
    width, height = (max(size, round(side * scale)) for side in picture.size)
    left, top = int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1))
    box = left / scale, top / scale, (left + size) / scale, (top + size) / scale
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box))


def rendered(
    seed: int, number: int, words: Sequence[str], ground: Ground | None
) -> tuple[str, Pixels]:
    """The text and the degraded picture, 8 to 32 px high, of one word; the same for all arms."""
    rng = np.random.default_rng((seed, number))
    height = int(np.exp(rng.uniform(np.log(8), np.log(32))))
    text = random_text(rng, words)
    quality = int(rng.integers(20, 91)) if rng.random() < 0.85 else None
    picture = word_picture(rng, text, REDUCTION * height, ground)
    return text, Degradation(REDUCTION, quality).apply(picture)


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
            raise ModelError(
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
