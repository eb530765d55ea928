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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from eval_tasks.command import arguments, arm_options, picture_options
from eval_tasks.command.about import about
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.engines.names import name_for
from eval_tasks.engines.ocr_engines import OCR_ENGINES, MakeReader
from eval_tasks.engines.readings import Key, Reading, Readings
from eval_tasks.engines.software import software_line
from eval_tasks.evaluators.words import score, words
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.own_pictures import find_pictures
from eval_tasks.pictures.parts import taken
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.tables import console
from eval_tasks.tables.own_text_tables import report, show
from eval_tasks.treatments import arms
from eval_tasks.treatments.plain_arms import INPUT
from eval_tasks.treatments.timed_arm import with_clock
from integrations.view import Regions
from preproc.errors import ImageError, OptionError
from preproc.execution.devices import choose_device
from preproc.files import require_writable
from preproc.reports import write_json

_ORIGINAL = arms.Arm("original", 1, lambda img: img)
_USUAL_ENGINE = "easyocr"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation for ``argv``, by default the command line; gives the exit code."""
    options = _parser().parse_args(argv)
    return exit_code(lambda: _run(options), kept_in=options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="own_text",
        description="How many words an engine finds and reads in pictures that were reduced and "
        "compressed, as they are and made larger. Their text is taken from a .txt file beside each "
        "picture, or else from what the engine reads in the original.",
    )
    picture_options.add_options(parser)
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("runs/own_text"),
        metavar="DIR",
        help="readings and report go here; what is read already is not read again, and no report "
        "replaces one of other runs (default: runs/own_text)",
    )
    add(
        "--engine",
        choices=tuple(OCR_ENGINES),
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
    arm_options.add_options(parser)
    return parser


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    if options.regions and options.engine != "easyocr":
        raise OptionError("Only EasyOCR reads regions; leave --regions out.")
    if options.both and options.engine == "tesseract":
        raise OptionError("Tesseract does not read words apart; leave --both out.")
    treatments = arm_options.arms_from(options)
    images = find_pictures(options.images, options.every, options.reduce)
    require_writable(options.output)  # rather now than after the work
    degradation = Degradation(options.reduce, options.jpeg, options.kernel)
    engine = OCR_ENGINES[options.engine]
    engine_title, behind = engine.pages(choose_device(options.device).type == "cuda")
    packages = (*engine.packages, "spandrel")
    key = partial(_key, engine_title, software_line(*packages))
    beside = {name: _beside(path) for name, path in images.items()}
    labels = {name: _text(path) for name, path in beside.items() if path}
    with Readings(options.output / "readings.jsonl") as readings:
        original = _Way(_ORIGINAL, Degradation(), least=options.sure)
        others = {name: path for name, path in images.items() if name not in labels}
        sure = _read(original, others, behind, key, readings)
        texts = labels | {name: reading.text for name, reading in sure.items()}
        known = {name: words([texts[name]]) for name in images}
        if not (total := sum(bag.total() for bag in known.values())):
            raise ImageError(
                f"No text is known of the {len(images)} pictures of {options.images}: there is no "
                f".txt file beside any, and {options.engine} is sure of no word; give a smaller "
                "--sure."
            )
        ways = [
            _Way(arm, degradation, options.regions, options.both and arm.name != INPUT)
            for arm in treatments
        ]
        read = {way.arm.name: _read(way, images, behind, key, readings) for way in ways}
    scores = [
        score(
            arm,
            known,
            {name: words([reading.text]) for name, reading in its.items()},
            [(reading.arm_seconds, reading.read_seconds) for reading in its.values()],
        )
        for arm, its in read.items()
    ]
    title = (
        f"{total} words in {len(images)} pictures, {len(labels)} of them with a .txt file, "
        f"{degradation.sentence}, read by {engine_title}"
    )
    facts = about(
        options,
        options.images,
        {"engine": engine_title, "sure": f"{options.sure:g}"},
        devices=(arm.device for arm in treatments),
        packages=packages,
        start=start,
    )
    stem = f"{degradation.slug}-{options.engine}{taken(options.every)}"
    if options.regions:
        title, stem = f"{title}, only the text found treated", f"{stem}-regions"
    if options.both:
        title, stem = f"{title}, also read untreated", f"{stem}-both"
    show(title, scores, facts)
    settings = [texts, [key(way, name) for way in ways for name in images]]
    path = options.output / f"{name_for(stem, settings)}.json"
    write_json(path, report(title, scores, facts))
    console.show(f"Report: {path}")


@dataclass(frozen=True)
class _Way:
    """How pictures are degraded, treated and read.

    Attributes:
        arm: how they are treated.
        degradation: what is done to them before.
        regions: whether only the text that is found is treated.
        both: whether it is also read untreated.
        least: confidence from which text counts; None for all of it.
    """

    arm: arms.Arm
    degradation: Degradation
    regions: bool = False
    both: bool = False
    least: float | None = None

    def __str__(self) -> str:
        if self.least is not None:
            return f"sure from {self.least:g}"
        return ("regions" if self.regions else "pages") + (", both" if self.both else "")


def _key(title: str, made_by: str, way: _Way, name: str) -> Key:
    arm = way.arm
    how = (f"{title}, {way}", str(way.degradation), arm.name, arm.weights, arm.device)
    return Key(*how, name, made_by)


def _read(
    way: _Way,
    images: Mapping[str, Path],
    behind: MakeReader,
    key: Callable[[_Way, str], Key],
    readings: Readings,
) -> dict[str, Reading]:
    """What is read in each picture, with the lines one below the other."""
    degradation = way.degradation
    timed = with_clock(way.arm)
    reader = behind(enhancer=Regions(timed) if way.regions else timed, both=way.both)

    def read(path: Path) -> Reading:
        picture = degradation.apply(pixels(path, multiple=degradation.reduction))
        start = time.perf_counter()
        timed.seconds = 0.0
        found = reader.readtext(picture)
        seconds = time.perf_counter() - start - timed.seconds
        kept = [word for word in found if word.confidence >= (way.least or 0)]
        least = min((word.confidence for word in kept), default=0.0)
        return Reading("\n".join(word.text for word in kept), least, timed.seconds, seconds)

    keys = {name: key(way, name) for name in images}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory")  # said where there is no GPU
        read_by_key = readings.read({keys[n]: partial(read, path) for n, path in images.items()})
    return {name: read_by_key[key] for name, key in keys.items()}


def _beside(picture: Path) -> Path | None:
    """The file with a picture's text; its ending, as the picture's, may be in capitals."""
    files = (picture.with_suffix(ending) for ending in (".txt", ".TXT"))
    return next((file for file in files if file.is_file()), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ImageError(f"Cannot read the text {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ImageError(f"The text {path} is not UTF-8; save it as that.") from error


if __name__ == "__main__":
    sys.exit(main())
