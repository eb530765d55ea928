from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL import Image, ImageFilter
from reports import report_in, reports_in
from wider_faces import FAR, face, found, truth

from eval_tasks import own_faces
from eval_tasks.engines.face_detector import make_engine
from eval_tasks.evaluators.wider_scores import score
from eval_tasks.tables.own_faces_tables import report, show
from eval_tasks.treatments.arms import Arm

pytest.importorskip("facenet_pytorch")


@pytest.fixture
def portrait():
    astronaut = pytest.importorskip("skimage.data").astronaut()
    return Image.fromarray(astronaut).crop((100, 20, 340, 240))


def run_script(capsys, *argv):
    code = own_faces.main([str(a) for a in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_detector_searches_with_the_thresholds_of_all_results_so_far():
    engine = make_engine(torch.device("meta"))
    assert (engine.thresholds, engine.factor) == ([0.5, 0.5, 0.3], 0.709)
    assert not engine.select_largest
    assert engine.device == torch.device("meta")


def test_what_the_detector_finds_in_the_originals_is_the_truth(portrait, tmp_path, capsys):
    photos = tmp_path / "[bold]"
    (photos / "older").mkdir(parents=True)
    portrait.save(photos / "a.png")
    # A camera held sideways: the same portrait, stored turned, with EXIF that says so.
    exif = Image.Exif()
    exif[0x0112] = 6
    portrait.rotate(90, expand=True).save(photos / "older" / "b.jpg", exif=exif, quality=95)
    Image.new("RGB", (80, 60), "gray").save(photos / "c.png")
    command = ["--images", photos, "--output", tmp_path / "out", "--jpeg", 60, "--device", "cpu"]
    code, out, err = run_script(capsys, *command)
    assert code == 0, err
    assert "folder [bold], every 1" in out
    assert "2 faces that MTCNN finds in 3 pictures, reduced x4 and saved as JPEG 60" in out
    report = report_in(tmp_path / "out", "x4-jpeg60")
    assert (report["folder"], report["every"]) == ("[bold]", "1")
    assert (report["sure"], report["smallest face"]) == ("0.9", "20 px")
    assert report["engine"].startswith("facenet-pytorch ")
    assert {"cpu", "threads", "facenet-pytorch"} <= report.keys()
    assert (report["devices"], report["seconds"] > 0) == ("cpu", True)
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["input", "bicubic x4"]
    assert rows["bicubic x4"]["ap"] == 1
    assert set(rows["bicubic x4"]["gain_over"]) == {"input"}
    assert rows["bicubic x4"]["ap_by_height"]["80-160 px"] == 1
    assert len(list(tmp_path.glob("out/detections/*/older/b-*.txt"))) == 3

    # Reduced to nothing, no face is left; what was found under the picture's name is not taken.
    portrait.resize((52, 48)).save(photos / "c.png")
    portrait.filter(ImageFilter.GaussianBlur(8)).save(photos / "d.png")  # a face, but no sure one
    assert run_script(capsys, *command[:4], "--sure", "0.5", "--min-face-size", "16")[0] == 0
    report = report_in(tmp_path / "out", "x4")
    assert report["title"].startswith("4 faces")
    assert (report["sure"], report["smallest face"]) == ("0.5", "16 px")
    assert run_script(capsys, *command[:4], "--every", "2")[0] == 0
    assert report_in(tmp_path / "out", "x4-every2")["every"] == "2"
    assert report_in(tmp_path / "out", "x4") == report
    code, out, _ = run_script(capsys, *command[:4], "--sure", "0.6", "--min-face-size", "16")
    first, second = reports_in(tmp_path / "out", "x4")
    assert (code, json.loads(first.read_text())) == (0, report), "not what is sure from 0.6"
    assert f"Report: {second}" in out
    assert report["rows"][0]["ap"] < 1


def test_a_gain_is_that_of_the_arm_over_the_one_that_heads_the_column(capsys):
    labelled = {str(n): truth([face()]) for n in range(8)}
    right, wrong = found((face(), 1.0), (face(FAR), 0.0)), found((face(FAR), 0.5))
    scores = [
        score(name, labelled, {str(n): right if n < hits else wrong for n in range(8)})
        for name, hits in (("input", 2), ("bicubic x4", 4), ("ours", 7))
    ]
    gains = [row["gain_over"] for row in report("title", scores, {})["rows"]]
    assert [{base: gain["value"] for base, gain in over.items()} for over in gains] == [
        {"bicubic x4": -0.25},
        {"input": 0.25},
        {"input": 0.625, "bicubic x4": 0.375},
    ]
    show("title", scores, {})
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "ours" in line)
    cells = [cell.split(" (")[0].strip() for cell in line.split("│")[1:-1]]
    assert cells[:4] == ["ours", "0.875", "+0.625", "+0.375"]


def test_pictures_that_cannot_be_used_are_left_out_and_named(portrait, tmp_path, capsys):
    photos = tmp_path / "photos"
    (photos / "album.png").mkdir(parents=True)
    portrait.save(photos / "album.png" / "a.png")
    (photos / "._a.png").write_bytes(b"\0\5\x16\7 what macOS puts beside a file")
    portrait.resize((300, 3)).save(photos / "flat.png")
    (photos / "[red]gone.jpg").symlink_to(photos / "nowhere.jpg")
    content = (photos / "album.png" / "a.png").read_bytes()
    (photos / "half.png").write_bytes(content[: len(content) // 2])
    command = ["--images", photos, "--output", tmp_path / "out", "--device", "cpu"]
    code, out, err = run_script(capsys, *command)
    assert code == 0, err
    assert "1 faces that MTCNN finds in 1 pictures" in out
    warned = [line for line in err.splitlines() if line.startswith("Warning: ")]
    assert [w for name in ("._a", "[red]", "flat", "half") for w in warned if name in w] == warned
    assert len(warned) == 4
    assert all(line.endswith("It is left out.") for line in warned)

    shutil.rmtree(photos / "album.png")
    code, _, err = run_script(capsys, *command)
    assert code == 1
    assert "None of the 4 pictures" in err


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no pictures"),
        ({"a.png": "gray"}, "sure of no face in the 1 pictures"),
    ],
)
def test_pictures_that_tell_nothing_are_one_sentence(files, words, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, colour in files.items():
        Image.new("RGB", (80, 60), colour).save(photos / name)
    code, _, err = run_script(capsys, "--images", photos, "--output", tmp_path / "out")
    assert code == 1
    assert words in err
    assert "Traceback" not in err


def test_a_peer_never_takes_the_place_of_the_original(portrait, tmp_path, capsys, monkeypatch):
    portrait.save(tmp_path / "a.png")
    peer = Arm("original", 1, lambda img: img)
    monkeypatch.setattr("eval_tasks.treatments.arms._peer_arm", lambda *_: peer)
    command = ["--images", tmp_path, "--output", tmp_path / "out", "--device", "cpu"]
    code, _, err = run_script(capsys, *command, "--arm", "original.pth")
    assert code == 1
    assert "Two arms would be called 'original'" in err


def test_a_folder_that_is_missing_is_named(tmp_path, capsys):
    code, _, err = run_script(capsys, "--images", tmp_path / "nowhere")
    assert code == 1
    assert "There is no folder" in err
