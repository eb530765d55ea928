"""Faces found in pictures of your own, without labels: MTCNN before and after enhancement.

What the detector is sure of in the pictures as they are is taken for the truth. Then they are
reduced, saved as JPEG if asked for, treated by every arm, and searched again: what is found of that
truth is what each arm keeps of it. Faces the detector was never sure of do not count either way,
and pictures without a face count for nothing, as in WIDER FACE's own evaluation: false alarms there
are not seen.

    python eval_tasks/own_faces.py --images photos/ --jpeg 40 --model cajnn-light cajnn-faces
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eval_tasks.command import arguments, arm_options, picture_options
from eval_tasks.command.about import about
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.engines.face_detector import ENGINE, engine_title
from eval_tasks.engines.face_runs import Run, search
from eval_tasks.engines.names import name_for
from eval_tasks.evaluators.wider_scores import score
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.pictures.own_pictures import find_pictures
from eval_tasks.pictures.parts import taken
from eval_tasks.pictures.wider_truth import SUBSETS, Floats, Truth
from eval_tasks.tables import console
from eval_tasks.tables.own_faces_tables import EVERY, report, show
from eval_tasks.treatments import arms
from preproc.errors import ImageError
from preproc.execution.devices import choose_device
from preproc.files import require_writable
from preproc.reports import write_json

_TRUTH = "original"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation for ``argv``, by default the command line; gives the exit code."""
    options = _parser().parse_args(argv)
    return exit_code(lambda: _run(options), kept_in=options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="own_faces",
        description="How many of the faces that MTCNN finds in pictures it still finds after they "
        "were reduced and compressed, as they are and made larger. No labels are needed.",
    )
    picture_options.add_options(parser)
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("runs/own_faces"),
        metavar="DIR",
        help="detections and report go here; detections that are there already are not made "
        "again, and no report replaces one of other runs (default: runs/own_faces)",
    )
    add(
        "--min-face-size",
        type=arguments.length,
        default=20.0,
        metavar="PX",
        help="smallest face looked for, in px of the original (default: 20)",
    )
    add(
        "--sure",
        type=arguments.share,
        default=0.9,
        metavar="P",
        help="score from which a face in an original counts, 0 to 1 (default: 0.9)",
    )
    arm_options.add_options(parser)
    return parser


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    plain, *others = arm_options.arms_from(options, taken=(_TRUTH,))
    images = find_pictures(options.images, options.every, options.reduce)
    require_writable(options.output)  # rather now than after the work
    degradation = Degradation(options.reduce, options.jpeg, options.kernel)
    shared = (options.min_face_size, choose_device(options.device), options.output)
    whole = arms.Arm(_TRUTH, 1, plain.apply)
    original = Run(whole, Degradation(), *shared, upright=True)
    runs = {arm.name: Run(arm, degradation, *shared, upright=True) for arm in (plain, *others)}
    search({_TRUTH: original, **runs}, images)
    truth = _truth(original.store.read(images), options.sure)
    faces = sum(int(labelled.counts[EVERY].sum()) for labelled in truth.values())
    if not faces:
        raise ImageError(
            f"MTCNN is sure of no face in the {len(images)} pictures of {options.images}; give "
            "pictures with faces, or a smaller --sure or --min-face-size."
        )
    scores = [
        score(name, truth, run.store.read(images), seconds=run.store.seconds(images))
        for name, run in runs.items()
    ]
    title = f"{faces} faces that MTCNN finds in {len(images)} pictures, {degradation.sentence}"
    facts = about(
        options,
        options.images,
        {
            "engine": engine_title(),
            "sure": f"{options.sure:g}",
            "smallest face": f"{original.smallest:g} px",
        },
        devices=(run.arm.device for run in runs.values()),
        packages=(ENGINE, "spandrel"),
        start=start,
    )
    show(title, scores, facts)
    settings = [options.sure, list(images), [run.settings for run in (original, *runs.values())]]
    name = name_for(f"{degradation.slug}{taken(options.every)}", settings)
    path = options.output / f"{name}.json"
    write_json(path, report(title, scores, facts))
    console.show(f"Report: {path}")


def _truth(found: Mapping[str, Floats], sure: float) -> dict[str, Truth]:
    """Detections in the originals as labels; those below ``sure`` are to be ignored."""
    return {
        name: Truth(faces[:, :4], dict.fromkeys(SUBSETS, np.asarray(faces[:, 4] >= sure)))
        for name, faces in found.items()
    }


if __name__ == "__main__":
    sys.exit(main())
