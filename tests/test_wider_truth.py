"""WIDER FACE's ground truth is read as it is, or named if damaged."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from wider_faces import small_benchmark

from eval_tasks.evaluators.wider import Matches
from eval_tasks.pictures.wider_truth import SUBSETS, read_truth
from preproc.errors import ImageError


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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_benchmark(tmp_path_factory.mktemp("widerface"))


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


@pytest.mark.parametrize("number", [0, 2])
def test_a_subset_that_names_faces_that_do_not_exist_is_refused(number, data, tmp_path):
    folder = shutil.copytree(data / "eval_gt", tmp_path / "eval_gt")
    scipy_io = pytest.importorskip("scipy.io")
    hard = scipy_io.loadmat(folder / "wider_hard_val.mat")["gt_list"]
    hard[0, 0][1, 0] = np.array([[number]])
    scipy_io.savemat(folder / "wider_hard_val.mat", {"gt_list": hard})
    with pytest.raises(ImageError, match=r"0--Parade/p_2 \(hard\) names faces that do not exist"):
        read_truth(folder)


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
