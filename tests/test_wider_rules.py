"""WIDER FACE's average precision follows the benchmark's rules to the letter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from wider_faces import FAR, face, found, truth

from eval_tasks.evaluators.wider import Matches, average_precision
from preproc.errors import ImageError


def curve(labelled, detections):
    return Matches(labelled, detections).subset("hard").curve()


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
        "import sys, eval_tasks.evaluators.wider_rows, eval_tasks.pictures.wider_truth\n"
        "import eval_tasks.tables.wider_plot, eval_tasks.evaluators.coco\n"
        "assert not {'torch', 'scipy', 'matplotlib', 'pycocotools'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
