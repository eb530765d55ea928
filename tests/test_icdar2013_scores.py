"""What counts as read right, what a gain is and when it is one, and the tables that say so."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from eval_tasks.evaluators.icdar2013 import PAPER_ROWS, by_height, read_right
from eval_tasks.evaluators.paired import compare, mcnemar
from eval_tasks.evaluators.word_rows import Run, make_height_rows, make_rows
from eval_tasks.tables.word_tables import heights, papers, results


@pytest.mark.parametrize(
    ("label", "read", "by_36", "exact"),
    [
        ("Hello", "Hello", True, True),
        ("Hello", "hello", True, False),
        ("it's", "its!", True, False),
        ("4,000", "4000", True, False),
        ("0", "O", False, False),
        ("&", "", True, False),  # nothing is left to compare
        ("&", "8", False, False),
        ("caf\u00e9", "caf", True, False),
    ],
)
def test_both_rules_by_hand(label, read, by_36, exact):
    words = {"w": label}, {"w": read}
    assert read_right(*words, "36 characters")["w"] is by_36
    assert read_right(*words, "exact")["w"] is exact


def test_mcnemar_by_hand():
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(5, 0) == 2 / 32
    assert mcnemar(1, 8) == mcnemar(8, 1) == 2 * (1 + 9) / 512
    assert mcnemar(900, 100) < 1e-100


def test_only_words_that_differ_count():
    before = {"a": True, "b": True, "c": False, "d": False, "e": False}
    after = {"a": True, "b": False, "c": True, "d": True, "e": False}
    found = compare(before, after)
    assert (found.fixed, found.broken, found.p) == (2, 1, 1.0)


def test_heights_fall_into_bins_that_touch():
    heights = {"a": 1, "b": 23, "c": 24, "d": 95, "e": 96, "f": 4000}
    bins = by_height(dict.fromkeys(heights, True) | {"b": False}, heights)
    assert bins["0-23 px"] == (1, 2)
    assert bins["24-31 px"] == (1, 1)
    assert bins["64-95 px"] == (1, 1)
    assert bins["96 px up"] == (2, 2)
    assert sum(n for _, n in bins.values()) == 6


def test_the_papers_counts_are_its_percentages():
    for row in PAPER_ROWS:
        assert round(100 * row.correct / row.n, 2) == row.accuracy
    shown = {column.header: next(iter(column.cells)) for column in papers().columns}
    assert shown == {"method": "baseline", "correct": "934", "%": "85.30", "s": "31.22"}


def test_pairs_and_what_is_won_back():
    labels = {"a": "abc", "b": "bcd", "c": "cde", "d": "d!"}
    run = Run("eyes", "none", "input", "", "cpu", labels, 0, 1)
    bad = {"a": "abc", "b": "x", "c": "x", "d": "x"}
    runs = [
        run,
        replace(run, degradation="/2", read=bad),
        replace(
            run,
            degradation="/2",
            arm="bicubic x4",
            read=bad | {"b": "bcd", "a": "x", "d": "d!"},
        ),
        replace(run, degradation="/2", arm="ours", read=bad | {"b": "BCD", "c": "cde"}),
    ]
    rows = make_rows(labels, runs)
    shown = {(r.degradation, r.arm): r for r in rows if r.subset == "all" and r.rule != "exact"}
    clean, worse, ours = (
        shown["none", "input"],
        shown["/2", "input"],
        shown["/2", "ours"],
    )
    assert (clean.n, clean.correct, clean.accuracy, clean.p) == (4, 4, 100, None)
    assert (worse.correct, worse.recovered, worse.fixed) == (1, None, None)
    assert (ours.fixed, ours.broken, ours.p) == (2, 0, 0.5)
    assert (ours.fixed_over_bicubic, ours.broken_over_bicubic) == (2, 1)
    assert ours.p_over_bicubic == 1
    assert ours.recovered == pytest.approx(2 / 3)
    exact = next(r for r in rows if r.arm == "ours" and r.rule == "exact" and r.n == 3)
    assert exact.correct == 2
    table = {column.header: list(column.cells) for column in results(rows).columns}
    judged = {header.partition("\nN=")[0]: cells[3] for header, cells in table.items()}
    assert judged["all\n36 characters"] == "3 (75.00)"
    assert judged["all\nexact"] == "2 (50.00)"
    assert judged["alphanumeric\n36 characters"] == "3 (100.00)"
    assert judged["alphanumeric\nexact"] == "2 (66.67)"
    assert table["against input\nfixed/broken, p"] == ["", "", "+2 -1, 1", "+2 -0, 0.5"]
    assert table["against bicubic\nfixed/broken, p"] == ["", "+1 -2, 1", "", "+2 -1, 1"]
    assert table["won back"] == ["", "", "33 %", "67 %"]
    assert (table["arm\nms/word"][0], table["reading\nms/word"][0]) == ("0.0", "1.0")

    by_height = make_height_rows(labels, dict.fromkeys(labels, 50), runs[3:])
    (tall,) = (r for r in by_height if r.n)
    assert (tall.height, tall.n, tall.correct) == ("48-63 px", 4, 3)
    table = {column.header: list(column.cells) for column in heights(by_height).columns}
    assert (table["48-63 px\nN=4"], table["32-47 px\nN=0"]) == (["75.0"], [""])


def test_where_nothing_counts_or_nothing_was_lost_there_is_nothing_to_win_back():
    labels = {"a": "!?"}
    misread = Run("eyes", "none", "input", "", "cpu", {"a": "8"}, 0, 1)
    runs = [misread, replace(misread, degradation="/2", read=labels)]
    runs.append(replace(runs[1], arm="ours"))
    rows = make_rows(labels, runs)
    assert {(r.n, r.accuracy) for r in rows if r.subset == "alphanumeric"} == {(0, 0)}
    assert {r.recovered for r in rows} == {None}


def test_the_evaluator_runs_without_torch():
    check = (
        "import sys; sys.modules['torch'] = None\n"
        "import eval_tasks.evaluators.icdar2013, eval_tasks.evaluators.word_rows"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
