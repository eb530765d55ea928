"""The WIDER FACE script reports what was found, goes on where it was, and refuses in a sentence."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image
from reports import report_in, reports_in
from wider_faces import found, small_benchmark

from eval_tasks import wider
from eval_tasks.engines.detection_files import read_file, write_file
from eval_tasks.pictures.wider_images import chosen
from eval_tasks.treatments.arms import Arm
from preproc.errors import ImageError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_benchmark(tmp_path_factory.mktemp("widerface"))


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
    report = report_in(tmp_path, "x4-jpeg90")
    ap = {row["name"]: row["ap"] for row in report["rows"]}
    assert list(ap) == ["original", "reduced x4", "bicubic x4", "tiny x4", "tiny returned"]
    assert report["faces"] == {"easy": 1, "medium": 1, "hard": 1}  # not the absent image's
    assert (report["smallest face"], report["every"]) == ("20 px", "1")
    assert report["engine"].startswith("facenet-pytorch ")
    assert report["devices"].startswith("cpu, cpu (")
    assert (report["weights"], report["seconds"] > 0) == (str(tiny_weights), True)
    assert ap["original"] == ap["reduced x4"] == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    assert report["rows"][1]["ap_by_height"]["80-160 px"] == 1.0
    (path,) = reports_in(tmp_path, "x4-jpeg90")
    with path.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["source"] for r in rows] == ["here"] * 5 + ["CAJNN, Table III"] * 3
    for key in ("images", "degradation", "threads", "cpu", "torch", "facenet-pytorch"):
        assert {r[key] for r in rows[:5]} == {report[key]}
        assert {r[key] for r in rows[5:]} == {""}, "which the paper does not say"
    assert (report["images"], report["degradation"]) == ("2 of 3", "/4, JPEG 90")
    with Image.open(path.with_suffix(".png")) as curves:
        assert curves.width > 2 * curves.height
    (original,) = (tmp_path / "detections").glob("original-*")
    boxes = read_file(original / "0--Parade" / "p.j.p_1.txt")
    assert len(boxes) >= 1
    assert len(read_file(original / "0--Parade" / "p_2.txt")) == 0
    assert not (original / "0--Parade" / "unused.txt").exists()

    code, out, _ = run_script(capsys, *command, "--enlarged-only")
    kept, other = reports_in(tmp_path, "x4-jpeg90")
    assert (code, kept, json.loads(kept.read_text())) == (0, path, report)
    assert f"Report, table and curves: {other.with_suffix('')}.json" in out

    (original / "0--Parade" / "p_2.txt").unlink()
    searched = []

    def detect(self, image):
        searched.append((image.shape, self.min_face_size))
        assert (self.engine.thresholds, self.engine.factor) == ([0.5, 0.5, 0.3], 0.709)
        raise KeyboardInterrupt

    monkeypatch.setattr("eval_tasks.engines.face_runs.MTCNN.detect", detect)
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
    (row,) = report_in(tmp_path / "b", "detections")["rows"]
    assert (row["name"], row["ap"], row["gain_over"]) == (original.name, ap["original"], {})

    assert run_script(capsys, *command, "--min-face-size", 24)[0] == 130
    assert [smallest for _, smallest in searched] == [24]


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
        report = json.loads(reports_in(tmp_path / "out", "detections")[-1].read_text())
        (row,) = report["rows"]
        assert row["ap"] == {"easy": 1.0, "medium": 1.0, "hard": hard}
        assert report["images without a file"].startswith(f"{without} in {tmp_path.name} ")


def test_folders_of_one_name_are_each_scored_and_one_folder_once(data, tmp_path, capsys):
    folders = [tmp_path / name / "found" for name in "ab"]
    for folder, x in zip(folders, (77, 300), strict=True):
        boxes = found(([x, 44, 91, 124], 1.0))
        write_file(folder / "0--Parade" / "p.j.p_1.txt", "p.j.p_1.jpg", boxes)
    command = ["--data", data, "--output", tmp_path / "out", "--detections"]
    assert run_script(capsys, *command, *folders, folders[0])[0] == 0
    rows = report_in(tmp_path / "out", "detections")["rows"]
    assert [(row["name"], row["ap"]["hard"]) for row in rows] == [
        (str(folder), ap) for folder, ap in zip(folders, (1, 0), strict=True)
    ]


def test_of_a_part_of_the_images_those_count_that_count_of_all():
    labelled, there = ["a/3", "a/1", "a/2", "b/1"], ["b/1", "a/3", "a/2"]
    assert chosen(labelled, there, 2, None) == ["b/1", "a/3"]
    assert chosen(labelled, there, 1, 2) == ["b/1", "a/3"]
    with pytest.raises(ImageError, match="--every 3 takes none of the images"):
        chosen(labelled, there[1:], 3, None)


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
    report = report_in(tmp_path / "out", "detections-every3")
    assert (report["folder"], report["every"], report["limit"]) == (data.name, "3", "none")
    assert report["faces"] == {"easy": 1, "medium": 1, "hard": 1}  # the first is that with a face
    with pytest.raises(SystemExit):
        run_script(capsys, *command, "--every", "3", "--limit", "2")
    assert run_script(capsys, *command, "--limit", "1")[0] == 0
    assert reports_in(tmp_path / "out", "detections-limit1"), "not the same experiment"


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
        (
            ["--data", "DATA", "--detections", ".", "--kernel", "box", "--enlarged-only"],
            "so --enlarged-only, --kernel would change nothing",
        ),
        (
            ["--data", "DATA", "--detections", ".", "--model", "tiny", "--arm", "a.pth"],
            "so --model, --arm would change nothing",
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
