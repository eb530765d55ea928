"""The WIDER FACE script: the benchmark's rules to the letter, and runs that are never lost."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval_tasks import wider
from eval_tasks.engines.wider_runs import Run
from eval_tasks.evaluators import intervals
from eval_tasks.evaluators.coco import CocoScores, coco_scores
from eval_tasks.evaluators.wider import SUBSETS, Matches, Truth, average_precision
from eval_tasks.evaluators.wider_files import read_detections, read_file, read_truth, write_file
from eval_tasks.evaluators.wider_scores import gain, gap_closed, score
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.tables import wider_tables
from eval_tasks.tables.wider_plot import plot_curves
from eval_tasks.tables.wider_tables import verdicts
from eval_tasks.treatments.arms import Arm
from preproc.errors import ImageError, OutputError

FAR = 500.0
"""Where no face is."""


def face(x=0.0, y=0.0, side=20.0):
    return [x, y, side, side]


def truth(boxes, kept=None):
    """An image whose faces all count, or those of ``kept``, in every subset."""
    flags = np.ones(len(boxes), bool)
    if kept is not None:
        flags[:] = False
        flags[list(kept)] = True
    return Truth(np.array(boxes, np.float64).reshape(-1, 4), dict.fromkeys(SUBSETS, flags))


def found(*rows):
    return np.array([[*box, value] for box, value in rows], np.float64).reshape(-1, 5)


def curve(labelled, detections):
    return Matches(labelled, detections).subset("hard").curve()


# The rules, one by one


def test_finding_every_face_is_1_and_finding_none_is_0():
    labelled = {"a": truth([face(), face(50)]), "b": truth([face()])}
    right = {n: np.c_[t.boxes, np.linspace(0.9, 0.1, len(t.boxes))] for n, t in labelled.items()}
    assert curve(labelled, right).ap == 1
    wrong = {"a": found((face(FAR), 0.9)), "b": found((face(FAR), 0.8))}
    assert curve(labelled, wrong).ap == 0
    assert curve(labelled, {}).ap == 0


def test_a_second_detection_of_a_face_is_false():
    labelled = {"a": truth([face()])}
    twice = {"a": found((face(), 0.9), (face(1), 0.8), (face(FAR), 0.0))}
    its = curve(labelled, twice)
    assert its.recall[-1] == 1
    assert its.precision[-1] == pytest.approx(1 / 3)
    assert its.precision[500] == pytest.approx(1 / 2)  # the third has the lowest score: after all


def test_a_duplicate_does_not_fall_back_on_the_next_best_face():
    labelled = {"a": truth([face(0), face(8)])}
    # Both overlap the first face most, and the second face by more than half.
    boxes = {"a": found((face(2), 0.9), (face(3), 0.8))}
    assert curve(labelled, boxes).recall[-1] == 0.5


def test_a_detection_that_aims_at_a_face_that_does_not_count_is_dropped():
    labelled = {"a": truth([face(0), face(100)], kept=[0])}
    boxes = {"a": found((face(100), 0.9), (face(101), 0.8), (face(0), 0.7))}
    its = curve(labelled, boxes)
    assert its.faces == 1
    assert (its.recall[-1], its.precision[-1]) == (1, 1)


def test_the_order_of_detections_in_a_file_does_not_matter():
    labelled = {"a": truth([face(0), face(100)])}
    rows = [(face(0), 0.9), (face(FAR), 0.5), (face(100), 0.3), (face(FAR), 0.1)]
    forward, backward = (curve(labelled, {"a": found(*r)}) for r in (rows, rows[::-1]))
    assert forward.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert backward.ap == forward.ap


def test_of_two_boxes_the_surer_one_finds_the_face():
    labelled = {"a": truth([face()])}
    boxes = {"a": found((face(2), 0.2), (face(0), 0.9), (face(FAR), 0.1))}
    assert curve(labelled, boxes).ap == 1  # not 1/2, as it were if the first in the file won


def test_equal_scores_are_no_division_by_zero():
    labelled = {"a": truth([face(0), face(100)])}
    boxes = {"a": found((face(0), 0.7), (face(FAR), 0.7))}
    assert curve(labelled, boxes).ap == pytest.approx(0.5 * 0.5)


@pytest.mark.parametrize("move", [lambda s: s, lambda s: 20 * s - 30, lambda s: s / 50])
def test_scores_are_stretched_over_the_run_whatever_their_range(move):
    labelled = {"a": truth([face()]), "b": truth([face()])}
    boxes = {
        "a": found((face(), move(1.0)), (face(FAR), move(0.0))),
        "b": found((face(), move(0.4)), (face(FAR), move(0.6))),
    }
    its = curve(labelled, boxes)
    assert its.recall[[0, 598, 599, 600, -1]].tolist() == [0.5, 0.5, 1, 1, 1]
    assert its.precision[[0, 398, 400, -1]].tolist() == [1, 1, 0.5, 0.5]


def test_widths_are_1_px_longer_than_stated():
    # A 10 px face and a box 5 px to its right: 6 x 11 of 11 x 11 px shared, 66 / 176 < 1/2; 3 px:
    # 8 x 11, 88 / 154 > 1/2 (and 7 x 10 of 13 x 10, 70 / 130, without the 1 px). Then 5 x 5 in 7 x
    # 7: 36 / 64 > 1/2, but 25 / 49 also; 2 x 2 in 3 x 3: 9 / 16 > 1/2, but 4 / 9 < 1/2.
    labelled = {"a": truth([[0, 0, 3, 3]])}
    assert curve(labelled, {"a": found(([0, 0, 2, 2], 1.0))}).ap == 1
    assert curve({"a": truth([face(0, 0, 10)])}, {"a": found((face(5, 0, 10), 1.0))}).ap == 0


def test_an_overlap_of_exactly_half_counts():
    labelled = {"a": truth([[0, 0, 9, 9]])}  # 10 x 10 px
    assert curve(labelled, {"a": found(([0, 0, 9, 4], 1.0))}).ap == 1
    assert curve(labelled, {"a": found(([0, 0, 9, 3.99], 1.0))}).ap == 0


def test_an_image_without_detections_still_has_faces_to_be_found():
    labelled = {"a": truth([face()]), "b": truth([face()])}
    sure = found((face(), 1.0))
    for detections in ({"a": sure}, {"a": sure, "b": found()}):
        its = curve(labelled, detections)
        assert its.faces == 2
        assert its.recall[-1] == 0.5
        assert its.ap == 0.5


def test_false_detections_in_an_image_without_faces_are_free_but_move_the_scores():
    labelled = {"a": truth([face()]), "b": truth([])}
    boxes = {"a": found((face(), 0.5)), "b": found((face(), 1.0), (face(), 0.0))}
    its = curve(labelled, boxes)
    assert its.ap == 1
    assert its.recall[[498, 499]].tolist() == [0, 1]


def test_false_detections_in_an_image_whose_faces_do_not_count_are_false():
    labelled = {"a": truth([face()]), "b": truth([face()], kept=[])}
    boxes = {"a": found((face(), 0.5)), "b": found((face(FAR), 1.0))}
    assert curve(labelled, boxes).ap == 0.5


def test_a_subset_without_faces_has_no_ap():
    labelled = {"a": truth([face()], kept=[])}
    assert curve(labelled, {"a": found((face(), 1.0))}).ap is None
    assert curve({}, {}).ap is None


def test_precision_is_made_to_fall_before_the_area_is_taken():
    recall, precision = np.array([0.2, 0.4, 0.8]), np.array([0.5, 1.0, 0.25])
    assert average_precision(recall, precision) == pytest.approx(0.4 * 1 + 0.4 * 0.25)


def by_loops(labelled, detections):
    """AP as the rules say it, face by face and threshold by threshold."""
    every = [s for d in detections.values() for s in d[:, 4]]
    low, high = min(every), max(every)
    hits, total = np.zeros((1000, 2)), 0
    for name, its in labelled.items():
        kept = its.counts["hard"]
        total += kept.sum()
        rows = sorted(detections.get(name, []), key=lambda r: -r[4])
        if not len(its.boxes):
            continue
        state, log = [0] * len(its.boxes), []
        for x, y, w, h, value in rows:
            shares = []
            for a, b, c, d in its.boxes:
                width = min(x + w, a + c) - max(x, a) + 1
                height = min(y + h, b + d) - max(y, b) + 1
                inner = width * height if width > 0 and height > 0 else 0
                shares.append(inner / ((w + 1) * (h + 1) + (c + 1) * (d + 1) - inner))
            counted, best = True, shares.index(max(shares))
            if shares[best] >= 0.5:
                if not kept[best]:
                    state[best], counted = -1, False
                elif state[best] == 0:
                    state[best] = 1
            log.append(((value - low) / (high - low), counted, state.count(1)))
        for t in range(1000):
            passing = [entry for entry in log if entry[0] >= 1 - (t + 1) / 1000]
            hits[t] += sum(p[1] for p in passing), passing[-1][2] if passing else 0
    recall = [0, *(hits[:, 1] / total), 1]
    precision = [0, *(hits[:, 1] / np.maximum(hits[:, 0], 1)), 0]
    for t in range(1000, -1, -1):
        precision[t] = max(precision[t], precision[t + 1])
    return sum((recall[t + 1] - recall[t]) * precision[t + 1] for t in range(1001))


def test_whole_arrays_give_what_plain_loops_give(rng):
    for _ in range(5):
        labelled, detections = {}, {}
        for name in "abcdef":
            boxes = rng.integers(0, 60, (rng.integers(0, 12), 4)) + np.array([0, 0, 5, 5])
            kept = np.flatnonzero(rng.random(len(boxes)) < 0.6)
            labelled[name] = truth(boxes, kept)
            near = boxes[rng.integers(0, len(boxes), 25)] if len(boxes) else np.empty((0, 4))
            near = near + rng.normal(0, 4, near.shape)
            far = rng.integers(0, 60, (10, 4)) + 1.0
            every = np.concatenate([near, far])
            values = rng.integers(-40, 40, len(every)) / 7  # with ties
            detections[name] = np.c_[every, values]
        expected = by_loops(labelled, detections)
        assert 0 < expected < 0.9
        assert curve(labelled, detections).ap == pytest.approx(expected, abs=1e-12)


def test_a_class_of_height_ignores_all_that_is_of_another_height():
    small, large, false = (0, 0, 90, 10), (100, 0, 8, 50), (FAR, 0, 60, 200)
    labelled = {"a": truth([small, large])}
    boxes = {"a": found((false, 0.9), (small, 0.8), (large, 0.7))}
    under_12, _, _, to_80, _, _ = Matches(labelled, boxes).heights()
    assert (under_12.curve().faces, under_12.curve().ap) == (1, 1)
    assert (to_80.curve().faces, to_80.curve().ap) == (1, 1)
    boxes["a"][0, 2:4] = 60  # a false one of the same class
    assert Matches(labelled, boxes).heights()[3].curve().ap == 0.5


def test_a_face_as_high_as_the_edge_of_two_classes_is_in_the_upper_one():
    labelled = {"a": truth([(0, 0, 9, 12)])}
    classes = Matches(labelled, {"a": found(((0, 0, 9, 12), 1.0))}).heights()
    assert [tally.curve().faces for tally in classes] == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("bad", [np.zeros((3, 4)), np.array([[0, 0, 5, 5, np.nan]])])
def test_detections_that_are_none_are_refused(bad):
    with pytest.raises(ImageError, match="Detections"):
        Matches({"a": truth([face()])}, {"a": bad})


def test_evaluators_and_curves_need_no_torch():
    code = (
        "import sys, eval_tasks.evaluators.wider_rows, eval_tasks.evaluators.wider_files\n"
        "import eval_tasks.tables.wider_plot, eval_tasks.evaluators.coco\n"
        "assert not {'torch', 'scipy', 'matplotlib', 'pycocotools'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The official ground truth


@pytest.fixture(scope="module")
def official(shared):
    pytest.importorskip("scipy")
    return read_truth(shared / "data" / "widerface" / "eval_gt")


def test_the_official_ground_truth_has_its_known_counts(official):
    assert len({name.partition("/")[0] for name in official}) == 61
    assert len(official) == 3226
    assert sum(len(t.boxes) for t in official.values()) == 39708
    kept = {s: sum(int(t.counts[s].sum()) for t in official.values()) for s in SUBSETS}
    assert kept == {"easy": 7211, "medium": 13319, "hard": 31958}
    without = {s: sum(not t.counts[s].any() for t in official.values()) for s in SUBSETS}
    assert without == {"easy": 622, "medium": 207, "hard": 7}
    for t in official.values():
        assert (t.counts["easy"] <= t.counts["medium"]).all()
        assert (t.counts["medium"] <= t.counts["hard"]).all()
    lowest = {
        s: min(t.boxes[t.counts[s], 3].min(initial=99) for t in official.values()) for s in SUBSETS
    }
    assert lowest == {"easy": 34, "medium": 16, "hard": 9}


def test_the_ground_truth_as_detections_finds_all_that_can_be_found(official, rng):
    # One face of hard is labelled twice and one has a width of -2: those two cannot be found.
    real = {n: t.boxes[t.boxes[:, 2] >= 0] for n, t in official.items()}
    detections = {n: np.c_[boxes, rng.random(len(boxes))] for n, boxes in real.items()}
    matches = Matches(official, detections)
    assert matches.subset("easy").curve().ap == 1
    assert matches.subset("medium").curve().ap == 1
    hard = matches.subset("hard").curve()
    assert hard.recall[-1] == 31956 / 31958
    assert hard.ap == pytest.approx(1, abs=1e-4)
    for tally in matches.heights():
        assert tally.curve().ap == pytest.approx(1, abs=2e-4)


def test_the_text_of_the_ground_truth_tells_the_same(official, shared):
    text = shared / "data" / "widerface" / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    lines = text.read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.endswith(".jpg")]
    assert len(starts) == len(official)
    for start in starts[::100]:
        boxes = official[lines[start].removesuffix(".jpg")].boxes
        assert int(lines[start + 1]) == len(boxes)
        rows = [line.split()[:4] for line in lines[start + 2 : start + 2 + len(boxes)]]
        assert np.array(rows, float).tolist() == boxes.tolist()


# Files


def test_detections_come_back_from_the_official_format_with_their_fractions(tmp_path):
    boxes = found(([1.125, 2.5, 10.25, 11.75], 0.99999994), (face(-3, -4), 1e-7))
    write_file(tmp_path / "e" / "p.j.txt", "e/p.j.jpg", boxes)
    write_file(tmp_path / "e" / "none.txt", "e/none.jpg", found())
    assert (tmp_path / "e" / "p.j.txt").read_text().splitlines()[:3] == [
        "e/p.j.jpg",
        "2",
        "1.125 2.500 10.250 11.750 0.99999994",
    ]
    back = read_detections(tmp_path, ["e/p.j", "e/none", "e/absent"])
    assert back.keys() == {"e/p.j", "e/none"}
    assert np.array_equal(back["e/p.j"], boxes)
    assert back["e/none"].shape == (0, 5)


@pytest.mark.parametrize(
    "text", ["", "name", "name\n2\n1 2 3 4 .5\n", "name\n1\n1 2 3 4\n", "name\n1\n1 2 3 4 x\n"]
)
def test_a_damaged_file_is_named(text, tmp_path):
    path = tmp_path / "p.txt"
    path.write_text(text)
    with pytest.raises(ImageError, match=r"p\.txt is not in WIDER FACE's format"):
        read_file(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names")
@pytest.mark.parametrize("name", ["caf\udce9", "a\u2028b", "a\rb", "a\n7\nb", "\x85", "a\x1cb"])
def test_any_name_that_a_file_may_have_can_be_searched(name, tmp_path):
    write_file(tmp_path / f"{name}.txt", f"{name}.jpg", found((face(), 1.0)))
    assert read_detections(tmp_path, [name])[name].tolist() == [[*face(), 1.0]]
    run, make = finished_run(tmp_path)
    make(name)
    assert run.seconds() is not None
    assert run.missing({f"e/{name}": tmp_path / "p.png"}) == {}


def test_two_runs_may_write_the_same_file_at_once(tmp_path, monkeypatch):
    path = tmp_path / "p.txt"
    replace = Path.replace

    def overtaken(self, target):
        with monkeypatch.context() as context:
            context.setattr(Path, "replace", replace)
            write_file(path, "p.jpg", found())
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", overtaken)
    write_file(path, "p.jpg", found((face(), 1.0)))
    assert len(read_file(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "p.txt").mkdir()
    with pytest.raises(OutputError, match=r"Cannot write .*p\.txt"):
        write_file(tmp_path / "p.txt", "p.jpg", found())
    assert list(tmp_path.iterdir()) == [tmp_path / "p.txt"]


# Scores


def test_gains_and_the_closed_gap_are_paired_over_the_images():
    labelled = {str(n): truth([face()]) for n in range(40)}

    def run(name, hits):
        sure, wrong = found((face(), 1.0), (face(FAR), 0.0)), found((face(FAR), 0.5))
        return score(name, labelled, {str(n): sure if n < hits else wrong for n in range(40)})

    reduced, ours, original = run("r", 10), run("o", 25), run("w", 30)
    better = gain(ours, reduced, "hard")
    assert better.value == pytest.approx(15 / 40)
    assert 0.2 < better.low < better.value < better.high < 0.55
    assert better.sure
    nothing = gain(ours, ours, "hard")
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    gap = gap_closed(ours, reduced, original)
    assert gap.value == pytest.approx(15 / 20)
    assert 0.4 < gap.low < gap.value < gap.high <= 1
    assert gap_closed(ours, original, reduced) is None
    assert gap_closed(ours, reduced, reduced) is None


def test_samples_without_faces_say_nothing_of_a_gain(monkeypatch):
    monkeypatch.setattr(intervals, "LEAST", 2)  # with more images there are hardly such samples
    names = [str(n) for n in range(20)]
    labelled = {n: truth([face()] if n in "01" else np.empty((0, 4))) for n in names}
    none = score("r", labelled, {})
    all_found = score("o", labelled, {n: found((face(), 1.0)) for n in "01"})
    better = gain(all_found, none, "hard")
    assert (better.value, better.low, better.high) == (1, 1, 1)


@pytest.mark.parametrize("few", [1, 2, 7])
def test_a_gain_in_the_few_images_with_faces_is_not_sure_however_large(few):
    names = [str(n) for n in range(20)]
    labelled = {n: truth([face()] if int(n) < few else np.empty((0, 4))) for n in names}
    none, all_found = (
        score(name, labelled, dict.fromkeys(names[:few], detections))
        for name, detections in (("r", found((face(FAR), 0.5))), ("o", found((face(), 1.0))))
    )
    better = gain(all_found, none, "hard")
    assert better.value == 1
    assert not better.sure
    assert f"{better:+.2f}" == "+1.00 (too few images)"
    assert not gap_closed(all_found, none, all_found).sure


def test_gains_losses_and_what_may_be_chance_are_said():
    labelled = {str(n): truth([face()]) for n in range(40)}

    def run(name, hits):
        right, wrong = found((face(), 1.0), (face(FAR), 0.0)), found((face(FAR), 0.5))
        return score(name, labelled, {str(n): right if n < hits else wrong for n in range(40)})

    def said(hits):
        plain = [run("original", 32), run("reduced x4", 12), run("bicubic x4", 16)]
        return " ".join(verdicts([*plain, run("ours x4", hits)]))

    assert "ours x4 gains on all subsets over reduced x4. " in said(28)
    assert "ours x4 gains on all subsets over bicubic x4. " in said(28)
    assert "ours x4 closes 80% (" in said(28)
    assert "CAJNN's paper 62%, by another detector" in said(28)
    assert "bicubic x4 closes 20% (" in said(28)
    assert "over bicubic x4, though on easy (+0.025) and medium (+0.025) and hard" in said(17)
    assert "gains nothing over bicubic x4 on easy (-0.025)" in said(15)


@pytest.fixture
def uneven():
    """A run that finds one of two faces: that which is easy."""
    boxes = np.array([face(), face(60, 0, 10)])
    counts = {"easy": [True, False], "medium": [True, True], "hard": [True, True]}
    labelled = {"a": Truth(boxes, {name: np.array(flags) for name, flags in counts.items()})}
    detections = {"a": found((face(), 0.9), (face(FAR), 0.1))}
    coco = CocoScores(0.5, 0.75, 0.25)
    return score("ours", labelled, detections, coco=coco, seconds=(1.5, 2.5))


def test_every_figure_of_a_run_is_in_its_column(uneven):
    def shown(table):
        return {column.header: next(iter(column.cells)) for column in table.columns}

    assert shown(wider_tables._ap_table([uneven])) == {
        "source": "here",
        "arm": "ours",
        "easy (1 faces)": "1.000",
        "medium (2 faces)": "0.500",
        "hard (2 faces)": "0.500",
        "gap closed, hard": "",
        "s/image: arm": "1.50",
        "detector": "2.50",
    }
    coco = {"arm": "ours", "AP": "0.500", "AP50": "0.750", "AP75": "0.250"}
    assert shown(wider_tables._coco_table([uneven])) == coco
    heights = shown(wider_tables._height_table([uneven]))
    assert (heights["under 12 px (1)"], heights["20-40 px (1)"]) == ("0.000", "1.000")


def test_curves_are_precision_over_recall_with_the_ap_of_their_subset(
    uneven, tmp_path, monkeypatch
):
    figures = pytest.importorskip("matplotlib.figure")
    drawn = []

    def savefig(self, file, **_):
        drawn.extend(self.axes)
        Image.new("RGB", (2, 2)).save(file, "PNG")

    monkeypatch.setattr(figures.Figure, "savefig", savefig)
    plot_curves(tmp_path / "a.png", [("ours", uneven.curves)], "title")
    for axes, subset in zip(drawn, SUBSETS, strict=True):
        (line,) = axes.lines
        its = uneven.curves[subset]
        assert (line.get_xdata() == its.recall).all()
        assert (line.get_ydata() == its.precision).all()
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
        assert axes.get_title() == f"{subset} ({its.faces} faces)"
        assert line.get_label() == f"ours: {its.ap:.3f}"


def test_coco_agrees_on_the_clear_cases():
    pytest.importorskip("pycocotools")
    labelled = {"a": truth([face(), face(60)], kept=[0]), "b": truth([face(0, 0, 120)])}
    right = {"a": found((face(), 0.9), (face(60), 0.8)), "b": found((face(0, 0, 120), 0.7))}
    scores = coco_scores(labelled, right)
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx((1, 1, 1))
    assert coco_scores(labelled, {}).ap == 0
    shifted = {"b": found((face(20, 0, 120), 0.9))}  # 100 / 140 shared
    half = coco_scores(labelled, shifted)
    assert half.ap50 == pytest.approx(0.5, abs=0.01)
    assert half.ap75 == 0


def test_coco_counts_the_faces_of_crowds():
    pytest.importorskip("pycocotools")
    crowd = [face(30 * (n % 20), 30 * (n // 20)) for n in range(200)]
    right = {"a": found(*((box, 1 - n / 1000) for n, box in enumerate(crowd)))}
    assert coco_scores({"a": truth(crowd)}, right).ap == pytest.approx(1)


# Runs


def make_run(folder, arm, *degradation, smallest=20.0):
    return Run(arm, Degradation(*degradation), smallest, torch.device("cpu"), folder)


class FixedFace:
    """Stands for the detector: a face of 12 px in the corner of whatever it sees."""

    min_face_size = 99.0
    asked: list[tuple[tuple[int, ...], float]]

    def __init__(self):
        self.asked = []

    def detect(self, img, landmarks):  # noqa: ARG002
        self.asked.append((img.shape, self.min_face_size))
        return np.array([[1.0, 1.0, 12.0, 12.0]]), np.array([0.75]), np.zeros((1, 5, 2))


@pytest.mark.parametrize(
    ("scale", "reduction", "smallest", "asked", "side"),
    [
        (1, 1, 20, 20, 12),  # original
        (1, 4, 20, 12, 48),  # reduced: the window is the limit
        (4, 4, 20, 20, 12),  # reduced, and enlarged again
        (2, 4, 20, 12, 24),
        (2, 4, 32, 16, 24),
        (4, 4, 10, 10, 12),
        (1, 4, 10, 12, 48),
    ],
)
def test_settings_and_boxes_are_in_px_of_the_original(
    scale, reduction, smallest, asked, side, tmp_path
):
    arm = Arm("any", scale, lambda img: img.repeat(scale, 0).repeat(scale, 1))
    run = make_run(tmp_path, arm, reduction, smallest=smallest)
    picture = tmp_path / "p.png"
    Image.new("RGB", (67, 83), "gray").save(picture)
    engine = FixedFace()
    run.make({"e/p": picture}, engine, lambda: None)
    height, width = (side // reduction * scale for side in (83, 67))
    assert engine.asked == [((height, width, 3), asked)]
    boxes = read_file(run.folder / "e" / "p.txt")
    assert boxes.tolist() == [[1, 1, side - 1, side - 1, 0.75]]
    assert run.missing({"e/p": picture}) == {}
    assert min(run.seconds()) >= 0


def test_treating_and_searching_are_timed_apart(tmp_path, monkeypatch):
    clock = [0.0]

    def slow(img):
        clock[0] += 2
        return img

    class SlowFace(FixedFace):
        def detect(self, img, landmarks):
            clock[0] += 3
            return super().detect(img, landmarks)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    Image.new("RGB", (40, 40), "gray").save(tmp_path / "p.png")
    run = make_run(tmp_path, Arm("any", 1, slow))
    run.make(dict.fromkeys(["e/p", "e/q"], tmp_path / "p.png"), SlowFace(), lambda: None)
    assert run.seconds() == (2, 3)


@pytest.mark.parametrize(("upright", "shape"), [(False, (40, 60, 3)), (True, (60, 40, 3))])
def test_pictures_are_searched_as_they_are_stored_unless_asked_otherwise(upright, shape, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (60, 40)).save(tmp_path / "p.jpg", exif=exif)
    run = make_run(tmp_path, Arm("any", 1, lambda img: img))
    engine = FixedFace()
    searching = replace(run, upright=True) if upright else run
    searching.make({"e/p": tmp_path / "p.jpg"}, engine, lambda: None)
    assert engine.asked[0][0] == shape


def finished_run(folder):
    """A run with one picture searched, and what searches another as ``e/<name>``."""
    run = make_run(folder, Arm("any", 1, lambda img: img))
    picture = folder / "p.png"
    Image.new("RGB", (40, 40), "gray").save(picture)

    def make(name):
        run.make({f"e/{name}": picture}, FixedFace(), lambda: None)

    make("first")
    return run, make


def test_another_picture_under_a_name_that_was_searched_is_searched_anew(tmp_path):
    run, make = finished_run(tmp_path)
    images = {"e/first": tmp_path / "p.png"}
    assert run.missing(images) == {}
    Image.new("RGB", (40, 40), "white").save(tmp_path / "p.png")
    assert run.missing(images) == images
    make("first")
    assert run.missing(images) == {}
    for text in ("", '{"image": "e/fir'):
        (run.folder / "pictures.jsonl").write_text(text)
        assert run.missing(images) == images, "what is not known to be of this picture is not taken"
        make("first")
        assert run.missing(images) == {}


@pytest.mark.parametrize("torn", ["", '{"image": "e/oth', '{"image": "e/other", "digest": "ab'])
def test_a_record_that_was_cut_short_is_left_out(torn, tmp_path):
    run, make = finished_run(tmp_path)
    (run.folder / "pictures.jsonl").write_text(torn)
    assert run.seconds() is None
    make("second")
    assert run.seconds() is not None
    assert run.missing({"e/second": tmp_path / "p.png"}) == {}


def test_seconds_are_means_over_the_images(tmp_path):
    run, _ = finished_run(tmp_path)
    records = [{"image": "e/p", "digest": "", "seconds": s} for s in ((1, 3), (2, 5))]
    (run.folder / "pictures.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert run.seconds() == (1.5, 4)


def test_settings_that_matter_have_folders_of_their_own(tmp_path):
    plain = Arm("bicubic x4", 4, lambda img: img)
    runs = [
        make_run(tmp_path, plain),
        make_run(tmp_path, plain, 1, 40),
        make_run(tmp_path, plain, 4),
        make_run(tmp_path, plain, smallest=10.0),
        make_run(tmp_path, replace(plain, weights="00ff")),
        make_run(tmp_path, replace(plain, device="cpu (bfloat16)")),
        make_run(tmp_path, plain, 1, None, "lanczos"),
        make_run(tmp_path, replace(plain, name="bicubic, x4")),
        replace(make_run(tmp_path, plain), upright=True),
    ]
    folders = {run.folder for run in runs}
    assert len(folders) == len(runs)
    assert all(folder.name.startswith("bicubic-x4-") for folder in folders)
    assert make_run(tmp_path, plain).folder in folders


def test_pictures_are_reduced_by_the_kernel_asked_for(tmp_path, rng):
    seen = []
    arm = Arm("any", 1, lambda img: seen.append(img) or img)
    picture = tmp_path / "p.png"
    Image.fromarray(rng.integers(0, 256, (64, 80, 3), np.uint8)).save(picture)
    for kernel in ("bicubic", "lanczos"):
        run = make_run(tmp_path, arm, 4, None, kernel)
        run.make({"e/p": picture}, FixedFace(), lambda: None)
        with Image.open(picture) as original:
            assert np.array_equal(seen[-1], run.degradation.apply(np.array(original)))
    assert not np.array_equal(*seen)


# The script


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two images, one of them with a face, and a ground truth that lists a third."""
    astronaut = pytest.importorskip("skimage.data").astronaut()
    savemat = pytest.importorskip("scipy.io").savemat
    folder = tmp_path_factory.mktemp("widerface")
    events = {"0--Parade": ["p.j.p_1", "p_2"], "1--Handshaking": ["h_absent"]}
    faces = {"p.j.p_1": [[77, 44, 91, 124]], "p_2": [[5, 5, 9, 9]], "h_absent": [[0, 0, 50, 50]]}
    kept = {"easy": {"p.j.p_1"}, "medium": {"p.j.p_1"}, "hard": {"p.j.p_1", "h_absent"}}

    def cells(values):
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        return column

    def lists(choose):
        return cells([cells([choose(n) for n in names]) for names in events.values()])

    truth_folder = folder / "eval_gt"
    truth_folder.mkdir()
    every = {
        "event_list": cells(list(events)),
        "file_list": lists(lambda n: n),
        "face_bbx_list": lists(lambda n: np.array(faces[n])),
    }
    savemat(truth_folder / "wider_face_val.mat", every)
    for subset, names in kept.items():
        numbers = lists(lambda n, names=names: np.array([[1]] if n in names else np.empty((0, 1))))
        savemat(truth_folder / f"wider_{subset}_val.mat", {"gt_list": numbers})
    images = folder / "WIDER_val" / "images" / "0--Parade"
    images.mkdir(parents=True)
    portrait = Image.fromarray(astronaut).crop((100, 20, 340, 240))
    portrait.save(images / "unused.jpg")
    portrait.save(images / "p.j.p_1.jpg", quality=95)
    Image.new("RGB", (70, 50), "gray").save(images / "p_2.jpg")
    return folder


def run_script(capsys, *argv):
    code = wider.main([str(a) for a in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_script_finds_the_astronaut_and_goes_on_where_it_was(
    data, tiny_weights, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("facenet_pytorch")
    pytest.importorskip("matplotlib")
    command = ["--data", data, "--output", tmp_path, "--device", "cpu", "--jpeg", 90]
    command += ["--model", "tiny", "--weights", tiny_weights]
    code, out, err = run_script(capsys, *command)
    assert code == 0, err
    assert "2 of 3 images" in out
    assert "tiny x4 gains nothing over reduced x4" in out
    assert "0.611" in out
    report = json.loads((tmp_path / "x4-jpeg90.json").read_text())
    ap = {row["name"]: row["ap"] for row in report["rows"]}
    assert list(ap) == ["original", "reduced x4", "bicubic x4", "tiny x4", "tiny returned"]
    assert report["faces"] == {"easy": 1, "medium": 1, "hard": 1}  # not the absent image's
    assert (report["smallest face"], report["every"]) == ("20 px", "1")
    assert report["engine"].startswith("facenet-pytorch ")
    assert ap["original"] == ap["reduced x4"] == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    assert report["rows"][1]["ap_by_height"]["80-160 px"] == 1.0
    with (tmp_path / "x4-jpeg90.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["source"] for r in rows] == ["here"] * 5 + ["CAJNN, Table III"] * 3
    for key in ("images", "degradation", "threads", "cpu", "torch", "facenet-pytorch"):
        assert {r[key] for r in rows[:5]} == {report[key]}
        assert {r[key] for r in rows[5:]} == {""}, "which the paper does not say"
    assert (report["images"], report["degradation"]) == ("2 of 3", "/4, JPEG 90")
    with Image.open(tmp_path / "x4-jpeg90.png") as curves:
        assert curves.width > 2 * curves.height
    (original,) = (tmp_path / "detections").glob("original-*")
    boxes = read_file(original / "0--Parade" / "p.j.p_1.txt")
    assert len(boxes) >= 1
    assert len(read_file(original / "0--Parade" / "p_2.txt")) == 0
    assert not (original / "0--Parade" / "unused.txt").exists()

    (original / "0--Parade" / "p_2.txt").unlink()
    searched = []

    def detect(self, image):
        searched.append((image.shape, self.min_face_size))
        assert (self.engine.thresholds, self.engine.factor) == ([0.5, 0.5, 0.3], 0.709)
        raise KeyboardInterrupt

    monkeypatch.setattr("eval_tasks.engines.wider_runs.MTCNN.detect", detect)
    code, _, err = run_script(capsys, *command)
    assert code == 130
    assert f"Interrupted. What was done is kept in {tmp_path}; the same command goes on." in err
    assert searched == [((50, 70, 3), 20)]  # the one that is missing, and nothing else
    assert read_file(original / "0--Parade" / "p.j.p_1.txt").tolist() == boxes.tolist()

    searched.clear()
    code, out, err = run_script(
        capsys, "--data", data, "--output", tmp_path / "b", "--detections", original
    )
    assert code == 0, err
    assert searched == []
    (row,) = json.loads((tmp_path / "b" / "detections.json").read_text())["rows"]
    assert (row["name"], row["ap"], row["gain_over"]) == (original.name, ap["original"], {})

    assert run_script(capsys, *command, "--min-face-size", 24)[0] == 130
    assert [smallest for _, smallest in searched] == [24]


MISSING = None


@pytest.mark.parametrize("file", ["wider_face_val.mat", "wider_hard_val.mat"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (MISSING, "There is no"),
        (b"", "is truncated or damaged"),
        (b"not a mat file, but a text of some length" * 9, "is truncated or damaged"),
        (slice(200), "is truncated or damaged"),
        (slice(-20), "is truncated or damaged"),
        ("other", "is not a ground truth of WIDER FACE"),
    ],
)
def test_ground_truth_that_is_missing_or_damaged_is_named(file, content, words, data, tmp_path):
    folder = shutil.copytree(data / "eval_gt", tmp_path / "eval_gt")
    path = folder / file
    before = path.read_bytes()
    if content is MISSING:
        path.unlink()
    elif content == "other":
        pytest.importorskip("scipy.io").savemat(path, {"x": 1})
    else:
        path.write_bytes(before[content] if isinstance(content, slice) else content)
    with pytest.raises(ImageError, match=rf"{file}") as caught:
        read_truth(folder)
    assert words in str(caught.value)


def test_ground_truth_that_is_not_one_benchmark_s_is_refused(data, tmp_path):
    folder = shutil.copytree(data / "eval_gt", tmp_path / "eval_gt")
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(folder / "wider_easy_val.mat", {"gt_list": np.zeros((1, 1))})
    with pytest.raises(ImageError, match="do not belong together"):
        read_truth(folder)
    shutil.copy(data / "eval_gt" / "wider_easy_val.mat", folder)
    faces = pytest.importorskip("scipy.io").loadmat(folder / "wider_face_val.mat")
    for box in ([[5, 5, 9]], [[5, 5, 9]] * 4, [[5, 5, 9, 9, 1]], [["x", "y", "w", "h"]]):
        faces["face_bbx_list"][0, 0][1, 0] = np.array(box)
        kept = {key: values for key, values in faces.items() if not key.startswith("__")}
        savemat(folder / "wider_face_val.mat", kept)
        with pytest.raises(ImageError, match="do not belong together"):
            read_truth(folder)
    with pytest.raises(ImageError, match="There is no"):
        read_truth(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["original", "reduced x4", "input"])
def test_a_peer_never_takes_the_place_of_a_plain_run(name, data, tmp_path, capsys, monkeypatch):
    peer = Arm(name, 1, lambda img: img)
    monkeypatch.setattr("eval_tasks.treatments.arms._peer_arm", lambda *_: peer)
    code, _, err = run_script(
        capsys, "--data", data, "--output", tmp_path, "--device", "cpu", "--arm", f"{name}.pth"
    )
    assert code == 1
    assert f"Two arms would be called '{name}'" in err


def test_absent_images_count_when_detections_are_scored_for_all(data, tmp_path, capsys):
    write_file(
        tmp_path / "0--Parade" / "p.j.p_1.txt", "p.j.p_1.jpg", found(([77, 44, 91, 124], 1.0))
    )
    command = ["--data", data, "--output", tmp_path / "out", "--detections", tmp_path]
    for extra, hard, without in (([], 1.0, 1), (["--all-images"], 0.5, 2)):
        code, out, _ = run_script(capsys, *command, *extra)
        assert code == 0
        assert f"images without a file {without} in {tmp_path.name} " in out
        report = json.loads((tmp_path / "out" / "detections.json").read_text())
        (row,) = report["rows"]
        assert row["ap"] == {"easy": 1.0, "medium": 1.0, "hard": hard}
        assert report["images without a file"].startswith(f"{without} in {tmp_path.name} ")


def test_without_pycocotools_the_extra_that_brings_it_is_named(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(wider, "find_spec", lambda _: None)
    write_file(
        tmp_path / "0--Parade" / "p.j.p_1.txt", "p.j.p_1.jpg", found(([77, 44, 91, 124], 1.0))
    )
    command = ["--data", data, "--output", tmp_path / "out", "--detections", tmp_path]
    code, out, _ = run_script(capsys, *command)
    assert code == 0
    assert 'pycocotools is missing; pip install ".[eval]" in the checkout.' in out


def test_every_kth_image_of_each_event_counts_by_name(data, tmp_path, capsys):
    detections = tmp_path / "found"
    for name in ("p.j.p_1", "p_2"):
        write_file(detections / "0--Parade" / f"{name}.txt", f"{name}.jpg", found())
    command = ["--data", data, "--output", tmp_path / "out", "--detections", detections]
    assert run_script(capsys, *command, "--every", "3")[0] == 0
    report = json.loads((tmp_path / "out" / "detections-every3.json").read_text())
    assert (report["folder"], report["every"], report["limit"]) == (data.name, "3", "none")
    assert report["faces"] == {"easy": 1, "medium": 1, "hard": 1}  # the first is that with a face
    with pytest.raises(SystemExit):
        run_script(capsys, *command, "--every", "3", "--limit", "2")
    assert run_script(capsys, *command, "--limit", "1")[0] == 0
    assert (tmp_path / "out" / "detections-limit1.json").is_file(), "not the same experiment"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--data", "nowhere"], "wider_face_val.mat"),
        (["--data", ".", "--ground-truth", "eval_gt"], "WIDER_val"),
        (["--data", "DATA", "--detections", "nowhere"], "There is no folder nowhere"),
        (["--data", "DATA", "--detections", "."], "no detections of these 2 images"),
        (["--data", "DATA", "--detections", ".", "--enhance"], "so --enhance would change nothing"),
        (
            ["--data", "DATA", "--detections", ".", "--jpeg", "40", "--min-face-size", "6"],
            "so --jpeg, --min-face-size would change nothing",
        ),
        (
            ["--data", "DATA", "--detections", ".", "--strength", "0.5", "--weights", "f"],
            "so --weights, --strength would change nothing",
        ),
        (
            ["--data", "DATA", "--detections", ".", "--dtype", "float32"],
            "so --dtype would change nothing",
        ),
        (["--data", "DATA", "--all-images"], "--all-images needs --detections"),
        (["--data", "DATA", "--model", "no-such-model"], "no-such-model"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_1(
    argv, words, data, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    argv = [{"DATA": data, "eval_gt": data / "eval_gt"}.get(a, a) for a in argv]
    code, out, err = run_script(capsys, *argv)
    assert code == 1
    assert out == ""
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "option",
    [("--jpeg", "0"), ("--min-face-size", "0"), ("--min-face-size", "x"), ("--limit", "0")],
)
def test_numbers_out_of_range_are_refused(option, data, capsys):
    with pytest.raises(SystemExit):
        run_script(capsys, "--data", data, *option)
    assert option[0] in capsys.readouterr().err
