"""Words read in whole pictures of your own, before and after enhancement.

A picture whose text is known has it beside it: ``sign.txt`` for ``sign.jpg``, in any order and
lines. In others, what the engine is sure of in the picture as it is is taken for the truth. Then
they are reduced, saved as JPEG if asked for, treated by every arm, and read again, text being
looked for anew: how many of the known words does each arm still read?

    python eval_tasks/own_text.py --images photos/ --jpeg 40 --model cajnn-ocr --strength 1 0.5
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from eval_tasks.command import arguments
from eval_tasks.command.about import environment
from eval_tasks.command.console import facts, table_console
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.engines.page_readers import (
    PAGE_ENGINES,
    PageEngine,
)
from eval_tasks.engines.readings import Key, Reading, Readings
from eval_tasks.engines.recognisers import ENGINE_PACKAGES
from eval_tasks.evaluators.intervals import Interval
from eval_tasks.evaluators.words import Score, gain, score, words
from eval_tasks.pictures import own_pictures
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.plain_arms import INPUT
from eval_tasks.treatments import arms
from eval_tasks.treatments.stage import Stage
from integrations.protocols import PageReader
from integrations.view import Regions
from preproc.console import progress_bar
from preproc.errors import ImageError
from preproc.execution.devices import choose_device
from preproc.files import require_writable
from preproc.reports import write_json

_ORIGINAL = arms.Arm("original", 1, lambda img: img)
_USUAL_ENGINE = "easyocr"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation; ``argv`` is the command line without the program's name.

    Returns:
        The exit code: 0, or 1 after an error message on stderr, or 130 after Ctrl-C.
    """
    options = _parser().parse_args(argv)
    return exit_code(lambda: _run(options), kept_in=options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="own_text",
        description="How many words an engine finds and reads in pictures that were reduced and "
        "compressed, as they are and made larger. Their text is taken from a .txt file beside each "
        "picture, or else from what the engine reads in the original.",
    )
    own_pictures.add_options(parser)
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("runs/own_text"),
        metavar="DIR",
        help="readings and report go here; what is read already is not read again (default: "
        "runs/own_text)",
    )
    add(
        "--engine",
        choices=tuple(PAGE_ENGINES),
        default=_USUAL_ENGINE,
        help=f"what finds and reads the text (default: {_USUAL_ENGINE})",
    )
    add(
        "--sure",
        type=arguments.share,
        default=0.8,
        metavar="P",
        help="confidence from which text read in an original without .txt counts, 0 to 1 "
        "(default: 0.8)",
    )
    add(
        "--regions",
        action="store_true",
        help="look for text in the reduced picture, and treat only what is found; EasyOCR only",
    )
    add(
        "--both",
        action="store_true",
        help="read all that is found in the reduced picture as well, and keep the surer reading; "
        "not with Tesseract",
    )
    arms.add_options(parser)
    return parser


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    images = own_pictures.find_pictures(options.images, options.every, options.reduce)
    require_writable(options.output)  # rather now than after the work
    treatments = arms.arms_from(options)
    degradation = Degradation(options.reduce, options.jpeg, options.kernel)
    engine = PAGE_ENGINES[options.engine](choose_device(options.device).type == "cuda")
    with Readings(options.output / "readings.jsonl") as readings:
        pages = _Pages(images, readings, engine, regions=options.regions, both=options.both)
        known = pages.known(options.sure)
        if not (total := sum(bag.total() for bag in known.values())):
            raise ImageError(
                f"No text is known of the {len(images)} pictures of {options.images}: there is no "
                f".txt file beside any, and {options.engine} is sure of no word; give a smaller "
                "--sure."
            )
        scores = [pages.score(arm, degradation, known) for arm in treatments]
    title = (
        f"{total} words in {len(images)} pictures, {pages.labelled} of them with a .txt file, "
        f"{degradation.sentence}, read by {engine.title}"
    )
    about = {
        "folder": options.images.resolve().name,
        "every": f"{options.every}",
        "engine": engine.title,
        **environment(options.device, *ENGINE_PACKAGES[options.engine]),
        "devices": ", ".join(dict.fromkeys(arm.device for arm in treatments)),
        "sure": f"{options.sure:g}",
        **({"weights": str(options.weights)} if options.weights else {}),
        "seconds": f"{time.perf_counter() - start:.1f}",
    }
    stem = degradation.slug + arguments.taken(options.every)
    if options.engine != _USUAL_ENGINE:
        stem = f"{stem}-{options.engine}"
    if options.regions:
        title, stem = f"{title}, only the text found treated", f"{stem}-regions"
    if options.both:
        title, stem = f"{title}, also read untreated", f"{stem}-both"
    _show(title, scores, about)
    write_json(options.output / f"{stem}.json", _report(title, scores, about))


class _Pages:
    """Pictures, and what was read in them so far."""

    def __init__(
        self,
        images: Mapping[str, Path],
        readings: Readings,
        engine: PageEngine,
        *,
        regions: bool,
        both: bool,
    ) -> None:
        self._images, self._readings, self._engine = images, readings, engine
        self._regions, self._both = regions, both
        self._texts = {name: path.with_suffix(".txt") for name, path in images.items()}
        self._reader(Stage(_ORIGINAL), regions=regions, both=both)  # refused now, if at all

    @property
    def labelled(self) -> int:
        """How many pictures have their text beside them."""
        return sum(path.is_file() for path in self._texts.values())

    def known(self, sure: float) -> dict[str, Counter[str]]:
        """The words in each picture."""
        missing = [name for name, path in self._texts.items() if not path.is_file()]
        self._read(_ORIGINAL, Degradation(), missing, least=sure)
        return {
            name: words(
                [self._readings[self._key(_ORIGINAL, Degradation(), name, least=sure)].text]
                if name in missing
                else [_text(path)]
            )
            for name, path in self._texts.items()
        }

    def score(
        self, arm: arms.Arm, degradation: Degradation, known: Mapping[str, Counter[str]]
    ) -> Score:
        """What an arm reads of the known words."""
        self._read(arm, degradation, list(known))
        read = {name: self._readings[self._key(arm, degradation, name)] for name in known}
        return score(
            arm.name,
            known,
            {name: words([reading.text]) for name, reading in read.items()},
            [(reading.arm_seconds, reading.read_seconds) for reading in read.values()],
        )

    def _read(
        self, arm: arms.Arm, degradation: Degradation, names: Sequence[str], least: float = 0.0
    ) -> None:
        """Read what has not been read yet, with a bar on stderr."""
        names = [n for n in names if self._key(arm, degradation, n, least) not in self._readings]
        stage = Stage(arm)
        regions = self._regions and arm is not _ORIGINAL
        reader = self._reader(stage, regions=regions, both=self._reads_both(arm))
        with progress_bar(transient=True) as progress, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*pin_memory")  # said where there is no GPU
            task = progress.add_task(escape(f"{degradation}: {arm.name}"), total=len(names))
            for name in names:
                whole = pixels(self._images[name], multiple=degradation.reduction)
                picture = degradation.apply(whole)
                start = time.perf_counter()
                stage.seconds = 0.0
                found = reader.readtext(picture)
                seconds = time.perf_counter() - start - stage.seconds
                texts = [word for word in found if word.confidence >= least]
                reading = Reading(
                    "\n".join(word.text for word in texts),
                    min((word.confidence for word in texts), default=0.0),
                    stage.seconds,
                    seconds,
                )
                self._readings.add(self._key(arm, degradation, name, least), reading)
                progress.advance(task)

    def _reader(self, stage: Stage, *, regions: bool, both: bool) -> PageReader:
        return self._engine.behind(Regions(stage) if regions else stage, both)

    def _reads_both(self, arm: arms.Arm) -> bool:
        """Whether there are two ways to read: as the picture is, and otherwise."""
        return self._both and arm.name not in (_ORIGINAL.name, INPUT)

    def _key(self, arm: arms.Arm, degradation: Degradation, name: str, least: float = 0.0) -> Key:
        if arm is _ORIGINAL:
            way = f"sure from {least:g}"
        else:
            way = "regions" if self._regions else "pages"
            way += ", both" if self._reads_both(arm) else ""
        title = f"{self._engine.title}, {way}"
        return Key(title, str(degradation), arm.name, arm.weights, arm.device, name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ImageError(f"Cannot read the text {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ImageError(f"The text {path} is not UTF-8; save it as that.") from error


def _gains(scores: Sequence[Score], one: Score) -> list[Interval | None]:
    """What an arm gains over the input and over plain bicubic, which come first."""
    return [gain(one, base) if base is not one else None for base in scores[:2]]


def _report(title: str, scores: Sequence[Score], about: Mapping[str, str]) -> dict[str, object]:
    return {
        "title": title,
        **about,
        "rows": [
            {
                "name": one.name,
                "known": int(one.known.sum()),
                "right": int(one.right.sum()),
                "read": int(one.read.sum()),
                "recall": one.recall,
                "precision": one.precision,
                "gain_over": {
                    base.name: asdict(gained)
                    for base, gained in zip(scores, _gains(scores, one), strict=False)
                    if gained
                },
                "seconds_a_picture": one.seconds,
            }
            for one in scores
        ],
    }


def _show(title: str, scores: Sequence[Score], about: Mapping[str, str]) -> None:
    table = Table("arm")
    for heading in (
        "words right",
        "% of known",
        "% of read",
        *(f"of known over\n{base.name} (95 %)" for base in scores[:2]),
        "arm\ns/picture",
        "reading\ns/picture",
    ):
        table.add_column(heading, justify="right")
    for one in scores:
        gains = [f"{gain:+.1%}" if gain else "" for gain in _gains(scores, one)]
        table.add_row(
            escape(one.name),
            f"{one.right.sum()}",
            f"{100 * one.recall:.1f}",
            "-" if one.precision is None else f"{100 * one.precision:.1f}",
            *gains,
            *(f"{seconds:.2f}" for seconds in one.seconds),
        )
    console = table_console()
    console.print(escape(title), style="bold")
    console.print(table)
    console.print(facts(about), style="dim", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
