"""Words of ICDAR2013 (Focused Scene Text, task 2.3) read before and after enhancement.

The crops are degraded (reduced by Pillow's bicubic, saved as JPEG), treated by every arm, and read
by a recogniser that does not look for text first. Every arm counts alone, and once more together
with the input: whichever of the two was read with more confidence. What is read is kept as it
comes, so that a run that was killed goes on, and one with more arms reads only what is new.

    python eval_tasks/icdar2013.py --data DIR --enhance
    python eval_tasks/icdar2013.py --data DIR --enhance --reduce 2 4 --jpeg 40 --every 3
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

from eval_tasks.command import arguments, arm_options
from eval_tasks.command.about import about
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.engines.names import name_for
from eval_tasks.engines.ocr_engines import OCR_ENGINES
from eval_tasks.engines.readings import Key, Reading, Readings
from eval_tasks.engines.software import software_line
from eval_tasks.evaluators import icdar2013 as judge
from eval_tasks.evaluators.word_rows import Run, make_height_rows, make_rows
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.parts import spread, taken
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.word_crops import CROPS, GROUND_TRUTH, Crop, find_crops
from eval_tasks.tables import console, word_tables
from eval_tasks.tables.word_sheet import Sample, draw
from eval_tasks.treatments.arms import Arm
from eval_tasks.treatments.plain_arms import BICUBIC, INPUT
from integrations.protocols import LineRecogniser
from preproc.execution.devices import choose_device
from preproc.files import require_writable
from preproc.pictures.saving import save
from preproc.reports import Value, write_csv, write_json

BOTH = " or input"
"""Added to an arm's name where the input is read, too, and the surer of the readings counts."""

SHOWN = 12
"""Most words fixed, and most words broken, on a contact sheet."""

_USUAL_RECOGNISER = "easyocr"

_Read: TypeAlias = dict[str, Reading]  # by the word's file


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation for ``argv``, by default the command line; gives the exit code."""
    options = _parser().parse_args(argv)
    return exit_code(lambda: _run(options), kept_in=options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="icdar2013",
        description="How many words of ICDAR2013 (Focused Scene Text, task 2.3) a recogniser reads "
        "right, as they are and after enhancement.",
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder that holds {GROUND_TRUTH} and {CROPS}/",
    )
    add(
        "--output",
        type=Path,
        default=Path("runs/icdar2013"),
        metavar="DIR",
        help="readings, report and sheets go here; what is read already is not read again, and no "
        "report replaces one of other runs (default: runs/icdar2013)",
    )
    add(
        "--reduce",
        type=int,
        nargs="+",
        action=arguments.Several,
        choices=(1, 2, 3, 4),
        default=[1, 2, 4],
        help="reductions of the source, 1 for none (default: 1 2 4)",
    )
    arguments.add_kernel(parser)
    add(
        "--jpeg",
        type=_quality,
        nargs="+",
        action=arguments.Several,
        default=[None, 40, 20, 10],
        metavar="Q",
        help="JPEG qualities after reduction, or none (default: none 40 20 10)",
    )
    add(
        "--recogniser",
        choices=tuple(OCR_ENGINES),
        default=_USUAL_RECOGNISER,
        help=f"what reads the words (default: {_USUAL_RECOGNISER})",
    )
    add("--every", type=arguments.count, default=1, metavar="K", help="take every K-th word")
    add("--limit", type=arguments.count, metavar="N", help="take the first N words (of these)")
    arm_options.add_options(parser)
    return parser


def _quality(text: str) -> int | None:
    return None if text == "none" else arguments.quality(text)


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    words = find_crops(options.data, options.every, options.limit)
    degradations = [
        Degradation(reduction, quality, options.kernel)
        for reduction in dict.fromkeys(options.reduce)
        for quality in dict.fromkeys(options.jpeg)
    ]
    require_writable(options.output)
    arms = arm_options.arms_from(options)
    engine = OCR_ENGINES[options.recogniser]
    title, recogniser = engine.words(choose_device(options.device).type == "cuda")
    packages = (*engine.packages, "spandrel")
    key = partial(_key, title, software_line(*packages))
    ways = [(degradation, arm) for degradation in degradations for arm in arms]
    if (clean := (Degradation(), arms[0])) not in ways:
        ways.insert(0, clean)  # always read, since it says what there is to win back
    with Readings(options.output / "readings.jsonl") as readings:
        found = readings.read(
            {
                key(*way, word): partial(_read, word, *way, recogniser)
                for way in ways
                for word in words
            }
        )
    read = {way: {w.file: found[key(*way, w)] for w in words} for way in ways}
    plain = arms[0]
    runs = [_run_of(title, *way, read[way]) for way in ways]
    runs += [
        _run_of(
            title,
            degradation,
            replace(arm, name=arm.name + BOTH),
            _surer(read[degradation, arm], read[degradation, plain]),
        )
        for degradation, arm in ways
        if arm is not plain
    ]
    facts = about(
        options,
        options.data,
        {"recogniser": title},
        devices=(arm.device for arm in arms),
        packages=packages,
        start=start,
    )
    base = options.output / _name(options, degradations, words, found)
    _report(base, facts, words, runs)
    for arm in arms:
        if arm.name not in (INPUT, BICUBIC):
            for degradation in degradations:
                _leave_sheet(base, words, degradation, arm, runs)


def _key(title: str, made_by: str, degradation: Degradation, arm: Arm, word: Crop) -> Key:
    # Crops of other data sets, or of one that was mended, have the same names.
    crop = f"{word.file} {word.digest}"
    return Key(title, str(degradation), arm.name, arm.weights, arm.device, crop, made_by)


def _read(word: Crop, degradation: Degradation, arm: Arm, recogniser: LineRecogniser) -> Reading:
    crop = degradation.apply(pixels(word.path))
    start = time.perf_counter()
    treated = arm.apply(crop)
    between = time.perf_counter()
    read = recogniser.readline(treated)
    end = time.perf_counter()
    return Reading(read.text, read.confidence, between - start, end - between)


def _run_of(title: str, degradation: Degradation, arm: Arm, read: _Read) -> Run:
    return Run(
        title,
        str(degradation),
        arm.name,
        arm.weights,
        arm.device,
        {file: reading.text for file, reading in read.items()},
        1000 * fmean(reading.arm_seconds for reading in read.values()),
        1000 * fmean(reading.read_seconds for reading in read.values()),
    )


def _surer(read: _Read, plain: _Read) -> _Read:
    """Of two readings of each word, the one with more confidence: what ``both=True`` gives."""
    return {
        file: replace(
            max(reading, plain[file], key=lambda r: r.confidence),
            arm_seconds=reading.arm_seconds,
            read_seconds=reading.read_seconds + plain[file].read_seconds,
        )
        for file, reading in read.items()
    }


def _name(
    options: argparse.Namespace,
    degradations: Sequence[Degradation],
    words: Sequence[Crop],
    found: Iterable[Key],
) -> str:
    """What the report and the folder of sheets are called."""
    ends = dict.fromkeys(degradation.slug for degradation in (degradations[0], degradations[-1]))
    part = taken(options.every, options.limit)
    labels = [word.label for word in words]
    return name_for(f"{' to '.join(ends)} {options.recogniser}{part}", [labels, list(found)])


def _report(
    base: Path, facts: Mapping[str, Value], words: Sequence[Crop], runs: Sequence[Run]
) -> None:
    """Print the tables, and leave them as JSON and CSV."""
    labels = {word.file: word.label for word in words}
    rows = make_rows(labels, runs)
    height_rows = make_height_rows(labels, {word.file: word.height for word in words}, runs)
    console.show(
        word_tables.results(rows),
        word_tables.heights(height_rows),
        word_tables.papers(),
        about=facts,
    )
    report = {
        **facts,
        "words": len(words),
        "rows": [asdict(row) for row in rows],
        "by_height": [asdict(row) for row in height_rows],
        "papers": [asdict(row) for row in judge.PAPER_ROWS],
    }
    write_json(base.with_suffix(".json"), report)
    # A row's weights are its own.
    flat = [{**asdict(row), **facts, **asdict(row)} for row in rows]
    write_csv(base.with_suffix(".csv"), flat)
    console.show(f"Report: {base}.json, .csv; readings and sheets: {base.parent}")


def _leave_sheet(
    folder: Path, words: Sequence[Crop], degradation: Degradation, arm: Arm, runs: Sequence[Run]
) -> None:
    """Draw words that the arm fixed and broke, against the degraded input."""
    read = {run.arm: run.read for run in runs if run.degradation == str(degradation)}
    before, after = read[INPUT], read[arm.name]
    labels = {word.file: word.label for word in words}
    was_right, is_right = (
        judge.read_right(labels, read, judge.MAIN_RULE) for read in (before, after)
    )
    changed = [word for word in words if was_right[word.file] != is_right[word.file]]

    def samples(right: bool) -> list[Sample]:
        chosen = spread([word for word in changed if is_right[word.file] == right], SHOWN)
        crops = {word: degradation.apply(pixels(word.path)) for word in chosen}
        return [
            Sample(w.label, crop, arm.apply(crop), before[w.file], after[w.file])
            for w, crop in crops.items()
        ]

    fixed = sum(is_right[word.file] for word in changed)
    title = (
        f"ICDAR2013 words, {degradation}: input and {arm.name}; of {len(words)} words "
        f"{fixed} fixed, {len(changed) - fixed} broken"
    )
    name = re.sub(r"[^\w.+-]+", "-", arm.name)
    target = folder / f"{degradation.slug}_{name}.png"
    target.parent.mkdir(exist_ok=True)
    save(draw(title, samples(right=True), samples(right=False)), target, overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
