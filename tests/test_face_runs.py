"""Runs over WIDER FACE are never lost, and have settings and boxes in px of the original."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from wider_faces import face, found

from eval_tasks.engines import detection_store
from eval_tasks.engines.detection_files import read_detections, read_file, write_file
from eval_tasks.engines.face_runs import Run
from eval_tasks.pictures.degradations import Degradation
from eval_tasks.treatments.arms import Arm


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
    boxes = read_file(run.store.folder / "e" / "p.txt")
    assert boxes.tolist() == [[1, 1, side - 1, side - 1, 0.75]]
    assert run.store.missing({"e/p": picture}) == {}
    assert min(run.store.seconds(["e/p"])) >= 0


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
    assert run.store.seconds(["e/p", "e/q"]) == (2, 3)


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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names")
@pytest.mark.parametrize("name", ["caf\udce9", "a\u2028b", "a\rb", "a\n7\nb", "\x85", "a\x1cb"])
def test_any_name_that_a_file_may_have_can_be_searched(name, tmp_path):
    write_file(tmp_path / f"{name}.txt", f"{name}.jpg", found((face(), 1.0)))
    assert read_detections(tmp_path, [name])[name].tolist() == [[*face(), 1.0]]
    run, make = finished_run(tmp_path)
    make(name)
    assert run.store.seconds([f"e/{name}"]) is not None
    assert run.store.missing({f"e/{name}": tmp_path / "p.png"}) == {}


def test_another_picture_under_a_name_that_was_searched_is_searched_anew(tmp_path):
    run, make = finished_run(tmp_path)
    images = {"e/first": tmp_path / "p.png"}
    assert run.store.missing(images) == {}
    Image.new("RGB", (40, 40), "white").save(tmp_path / "p.png")
    assert run.store.missing(images) == images
    make("first")
    assert run.store.missing(images) == {}
    for text in ("", '{"image": "e/fir'):
        (run.store.folder / "pictures.jsonl").write_text(text)
        assert run.store.missing(images) == images, (
            "what is not known to be of this picture is not taken"
        )
        make("first")
        assert run.store.missing(images) == {}


def test_an_image_whose_detections_are_gone_is_searched_anew(tmp_path):
    run, make = finished_run(tmp_path)
    images = {"e/first": tmp_path / "p.png"}
    file = run.store.folder / "e" / "first.txt"
    assert file.read_text().startswith("e/first.png\n1\n"), "named as the picture's file is"
    file.unlink()
    assert run.store.missing(images) == images
    make("first")
    assert run.store.missing(images) == {}


def test_what_was_found_before_is_not_taken_for_a_search_that_left_nothing(tmp_path, monkeypatch):
    run, make = finished_run(tmp_path)
    images = {"e/first": tmp_path / "p.png"}
    Image.new("RGB", (40, 40), "white").save(tmp_path / "p.png")
    with monkeypatch.context() as context:
        context.setattr(detection_store, "write_file", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make("first")
    assert run.store.missing(images) == images
    make("first")
    assert run.store.missing(images) == {}


@pytest.mark.parametrize("torn", ["", '{"image": "e/oth', '{"image": "e/other", "digest": "ab'])
def test_a_record_that_was_cut_short_is_left_out(torn, tmp_path):
    run, make = finished_run(tmp_path)
    (run.store.folder / "pictures.jsonl").write_text(torn)
    names = ["e/first", "e/second", "e/other"]
    assert run.store.seconds(names) is None
    make("second")
    assert run.store.seconds(names) is not None
    assert run.store.missing({"e/second": tmp_path / "p.png"}) == {}


def test_seconds_are_means_over_the_last_search_of_each_image_asked_for(tmp_path):
    run, _ = finished_run(tmp_path)
    searches = {"e/p": (50, 50), "e/q": (1, 3), "e/other": (70, 70)}
    records = [{"image": name, "digest": "", "seconds": s} for name, s in searches.items()]
    records.append({"image": "e/p", "digest": "", "seconds": (2, 5)})
    (run.store.folder / "pictures.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert run.store.seconds(["e/p", "e/q", "e/never"]) == (1.5, 4)
    assert run.store.seconds(["e/never"]) is None


def test_settings_that_matter_have_folders_of_their_own(tmp_path):
    plain = Arm("bicubic x4", 4, lambda img: img)
    runs = [
        make_run(tmp_path, plain),
        make_run(tmp_path, plain, 1, 40),
        make_run(tmp_path, plain, 4),
        make_run(tmp_path, plain, smallest=10.0),
        make_run(tmp_path, replace(plain, weights="00ff")),
        make_run(tmp_path, replace(plain, device="cpu (bfloat16)")),
        make_run(tmp_path, plain, 4, None, "lanczos"),
        make_run(tmp_path, replace(plain, name="bicubic, x4")),
        replace(make_run(tmp_path, plain), upright=True),
    ]
    folders = {run.store.folder for run in runs}
    assert len(folders) == len(runs)
    assert all(folder.name.startswith("bicubic-x4-") for folder in folders)
    assert make_run(tmp_path, plain).store.folder in folders
    assert make_run(tmp_path, plain, 1, None, "lanczos").store.folder in folders


def test_what_other_software_found_is_kept_apart(tmp_path, monkeypatch):
    arm, folders = Arm("any", 1, lambda img: img), set()
    for number in ("1.0", "2.0"):
        monkeypatch.setattr("preproc.environment.version", lambda _, number=number: number)
        run = make_run(tmp_path, arm)
        folders.add(run.store.folder)
        assert run.settings["software"]["torch"] == run.settings["software"]["spandrel"] == number
    assert len(folders) == 2


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
