"""Gains, verdicts, tables, curves and COCO's scores say what was found, and how surely."""

from __future__ import annotations

import numpy as np
import pytest
from wider_faces import FAR, face, found, truth

from eval_tasks.evaluators import intervals
from eval_tasks.evaluators.coco import CocoScores, coco_scores
from eval_tasks.evaluators.wider_scores import gain, gap_closed, score
from eval_tasks.pictures.wider_truth import SUBSETS, Truth
from eval_tasks.tables import wider_tables
from eval_tasks.tables.wider_plot import plot_curves
from eval_tasks.tables.wider_tables import verdicts


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
    for same in (ours, run("s", 25)):
        nothing = gain(same, ours, "hard")
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
def unlike():
    """A picture of two faces, one of them easy."""
    boxes = np.array([face(), face(60, 0, 10)])
    counts = {"easy": [True, False], "medium": [True, True], "hard": [True, True]}
    return {"a": Truth(boxes, {name: np.array(flags) for name, flags in counts.items()})}


@pytest.fixture
def uneven(unlike):
    """A run that finds one of two faces: that which is easy."""
    detections = {"a": found((face(), 0.9), (face(FAR), 0.1))}
    coco = CocoScores(0.5, 0.75, 0.25)
    return score("ours", unlike, detections, coco=coco, seconds=(1.5, 2.5))


def test_a_gain_is_in_the_column_of_its_subset_beside_the_run_it_is_over(unlike, uneven):
    plain = [score(name, unlike, {}) for name in ("reduced x4", "bicubic x4")]
    columns = {c.header: [*c.cells] for c in wider_tables._gain_table([*plain, uneven]).columns}
    assert columns["arm"] == ["bicubic x4", "ours", "ours"]
    assert columns["over"] == ["reduced x4", "reduced x4", "bicubic x4"]
    gains = [[cell.split(" ")[0] for cell in columns[subset]] for subset in SUBSETS]
    assert gains == [["+0.000", gain, gain] for gain in ("+1.000", "+0.500", "+0.500")]


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


def test_curves_are_precision_over_recall_with_the_ap_of_their_subset(uneven, tmp_path, drawn):
    plot_curves(tmp_path / "a.png", [("ours", uneven.curves)], "title")
    for axes, subset in zip(drawn, SUBSETS, strict=True):
        (line,) = axes.lines
        its = uneven.curves[subset]
        assert (line.get_xdata() == its.recall).all()
        assert (line.get_ydata() == its.precision).all()
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
        assert axes.get_title() == f"{subset} ({its.faces} faces)"
        assert line.get_label() == f"ours: {its.ap:.3f}"


def test_the_gap_and_cocos_scores_are_those_of_the_hard_faces(unlike, uneven):
    pytest.importorskip("pycocotools")
    every = score("original", unlike, {"a": found((face(), 0.9), (face(60, 0, 10), 0.8))})
    assert gap_closed(uneven, score("reduced x4", unlike, {}), every).value == 0.5
    assert coco_scores(unlike, {"a": found((face(), 0.9))}).ap50 == pytest.approx(0.5, abs=0.01)


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
