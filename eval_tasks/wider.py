"""Faces found in reduced pictures: MTCNN on WIDER FACE val, by the official rules.

The original, the picture reduced x4 (and saved as JPEG if asked for), plain bicubic enlargement of
that, and models that enlarge it or return it to its size. MTCNN's settings are lengths in px of
the original for all of them. Or detections made elsewhere are scored, of any detector.

    python eval_tasks/wider.py --data DIR --enhance --model cajnn
    python eval_tasks/wider.py --data DIR --detections FOLDER
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from eval_tasks.command import arguments, arm_options
from eval_tasks.command.about import about
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.engines.detection_files import read_detections
from eval_tasks.engines.face_detector import ENGINE, engine_title
from eval_tasks.engines.face_runs import Run, search
from eval_tasks.engines.names import name_for
from eval_tasks.evaluators.coco import coco_scores
from eval_tasks.evaluators.wider_rows import ORIGINAL, REDUCED, REDUCTION, flat, report
from eval_tasks.evaluators.wider_scores import Score, score
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.parts import taken
from eval_tasks.pictures.wider_images import chosen, ground_truth_in, images_in
from eval_tasks.pictures.wider_truth import FACES_FILE, Floats, Truth, read_truth
from eval_tasks.tables import console
from eval_tasks.tables.wider_plot import plot_curves
from eval_tasks.tables.wider_tables import show
from eval_tasks.treatments import arms
from preproc.errors import OptionError
from preproc.execution.devices import choose_device
from preproc.files import require_writable
from preproc.reports import Value, write_csv, write_json

_SEARCHING = {
    "--enhance": "enhance",
    "--model": "model",
    "--weights": "weights",
    "--strength": "strength",
    "--enlarged-only": "enlarged_only",
    "--arm": "peers",
    "--dtype": "dtype",
    "--kernel": "kernel",
    "--jpeg": "jpeg",
    "--min-face-size": "min_face_size",
}
"""Options that say how pictures are searched, which detections made elsewhere were already."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation for ``argv``, by default the command line; gives the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    changed = [
        option
        for option, name in _SEARCHING.items()
        if getattr(options, name) != parser.get_default(name)
    ]
    return exit_code(
        lambda: _run(options, changed), kept_in=None if options.detections else options.output
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wider",
        description="AP of MTCNN on WIDER FACE val, easy, medium and hard by the official rules: "
        "on the original pictures, reduced ones, and reduced ones made larger.",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="holds WIDER_val/images")
    add(
        "--ground-truth",
        type=Path,
        metavar="DIR",
        help=f"the folder of {FACES_FILE} (default: wherever it is under --data)",
    )
    add(
        "--output",
        type=Path,
        default=Path("runs/wider"),
        metavar="DIR",
        help="detections, report, table and curves go here; detections that are there already are "
        "not made again, and no report replaces one of other runs (default: runs/wider)",
    )
    arguments.add_kernel(parser)
    add(
        "--jpeg",
        type=arguments.quality,
        metavar="Q",
        help="save the reduced pictures as JPEG, 1 to 100",
    )
    add(
        "--min-face-size",
        type=arguments.length,
        default=20.0,
        metavar="PX",
        help="smallest face looked for, in px of the original (default: 20); in reduced pictures "
        "the detector's own window of 12 px there is the limit",
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--every",
        type=arguments.count,
        default=1,
        metavar="K",
        help="only every K-th image of each event, in the order of their names",
    )
    part.add_argument(
        "--limit",
        type=arguments.count,
        metavar="N",
        help="only N images, spread over all, for a trial",
    )
    add(
        "--detections",
        type=Path,
        nargs="+",
        action=arguments.Several,
        default=[],
        metavar="DIR",
        help="score these folders of event/image.txt in the official format, and detect nothing",
    )
    add(
        "--all-images",
        action="store_true",
        help="with --detections: images that are not under --data count too",
    )
    arm_options.add_options(parser)
    return parser


@dataclass(frozen=True)
class _Outcome:
    """What a run found, for its report.

    Attributes:
        title: what was measured.
        stem: what the names of the report's files begin with.
        settings: what decided what was found, for the names' digest.
        scores: of each run, or folder of detections.
        facts: what the figures depend on, besides what all scripts tell.
        devices: where each arm ran.
    """

    title: str
    stem: str
    settings: list[object]
    scores: list[Score]
    facts: dict[str, str]
    devices: tuple[str, ...] = ()


def _run(options: argparse.Namespace, changed: Sequence[str]) -> None:
    """Run the evaluation; ``changed`` are those of `_SEARCHING` that differ from their defaults."""
    start = time.perf_counter()
    _require_consistent(options, changed)
    ground_truth = options.ground_truth or ground_truth_in(options.data)
    labelled = read_truth(ground_truth)
    images = {} if options.all_images else images_in(options.data, labelled)
    there = labelled if options.all_images else images
    names = chosen(labelled, there, options.every, options.limit)
    truth = {name: labelled[name] for name in names}
    require_writable(options.output)  # rather now than after the work
    number = f"{len(truth)} of {len(labelled)}"
    title = f"WIDER FACE val, {number} images"
    if options.detections:
        outcome = _score_folders(options.detections, truth, title)
    else:
        outcome = _search_and_score(options, images, truth, title)
    facts = about(
        options,
        options.data,
        {"images": number, **outcome.facts},
        devices=outcome.devices,
        packages=(ENGINE, "spandrel", "pycocotools"),
        start=start,
    )
    places = [str(folder.resolve()) for folder in (options.data, ground_truth)]
    name = name_for(
        outcome.stem + taken(options.every, options.limit), [places, names, outcome.settings]
    )
    _report(outcome, facts, options.output / name)


def _score_folders(folders: Sequence[Path], truth: Mapping[str, Truth], title: str) -> _Outcome:
    """Score detections made elsewhere."""
    detections = _read_folders(folders, truth)
    absent = {name: len(truth) - len(found) for name, found in detections.items()}
    without = ", ".join(
        f"{count} in {name} (nothing found there)" for name, count in absent.items() if count
    )
    return _Outcome(
        title,
        "detections",
        [str(folder.resolve()) for folder in folders],
        [_score(name, truth, found, None) for name, found in detections.items()],
        {"images without a file": without} if without else {},
    )


def _search_and_score(
    options: argparse.Namespace, images: Mapping[str, Path], truth: Mapping[str, Truth], title: str
) -> _Outcome:
    """Let the detector search pictures, going on with what an earlier run found, and score it."""
    degradation = Degradation(REDUCTION, options.jpeg, options.kernel)
    runs = _runs(options, degradation)
    search(runs, {name: images[name] for name in truth})
    return _Outcome(
        f"{title}, {degradation.sentence}; "
        f"MTCNN, faces from {options.min_face_size:g} px of the original",
        degradation.slug,
        [run.settings for run in runs.values()],
        [
            _score(name, truth, run.store.read(truth), run.store.seconds(truth))
            for name, run in runs.items()
        ],
        {
            "engine": engine_title(),
            "degradation": f"{degradation}",
            "smallest face": f"{runs[ORIGINAL].smallest:g} px",
        },
        tuple(run.arm.device for run in runs.values()),
    )


def _report(outcome: _Outcome, facts: Mapping[str, Value], base: Path) -> None:
    """Write report, table and curves, and show the table."""
    title, scores = outcome.title, outcome.scores
    write_json(base.with_suffix(".json"), report(title, scores, facts))
    write_csv(base.with_suffix(".csv"), flat(scores, facts))
    show(title, scores, facts)
    plot_curves(base.with_suffix(".png"), [(s.name, s.curves) for s in scores], title)
    console.show(f"Report, table and curves: {base}.json, .csv, .png")


def _require_consistent(options: argparse.Namespace, changed: Sequence[str]) -> None:
    """Refuse options that would change nothing, and images that cannot be searched."""
    if options.detections and changed:
        raise OptionError(
            f"--detections scores what is there, so {', '.join(changed)} would change nothing; "
            "search pictures in a run of its own."
        )
    if options.all_images and not options.detections:
        raise OptionError("--all-images needs --detections: absent images cannot be searched.")


def _runs(options: argparse.Namespace, degradation: Degradation) -> dict[str, Run]:
    """What is compared, by the name it has in tables."""
    plain, *others = arm_options.arms_from(options, taken=(ORIGINAL, REDUCED))
    shared = (options.min_face_size, choose_device(options.device), options.output)
    original = arms.Arm(ORIGINAL, 1, plain.apply)
    return {
        ORIGINAL: Run(original, Degradation(), *shared),
        REDUCED: Run(plain, degradation, *shared),
        **{arm.name: Run(arm, degradation, *shared) for arm in others},
    }


def _read_folders(
    folders: Sequence[Path], names: Mapping[str, Truth]
) -> dict[str, dict[str, Floats]]:
    folders = list(dict.fromkeys(folders))
    titles = [folder.resolve().name for folder in folders]
    if len(set(titles)) < len(titles):
        titles = [str(folder) for folder in folders]
    return {
        title: read_detections(folder, names) for title, folder in zip(titles, folders, strict=True)
    }


def _score(
    name: str,
    truth: Mapping[str, Truth],
    detections: Mapping[str, Floats],
    seconds: tuple[float, float] | None,
) -> Score:
    coco = coco_scores(truth, detections) if find_spec("pycocotools") else None
    return score(name, truth, detections, coco=coco, seconds=seconds)


if __name__ == "__main__":
    sys.exit(main())
