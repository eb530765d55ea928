"""The training example: its arms differ in nothing but what they claim to differ in."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision import tv_tensors
from torchvision.transforms import v2

from eval_tasks.pictures.wider_truth import Truth
from examples.train_detector import __main__ as command
from examples.train_detector import pictures as wider_pictures
from examples.train_detector.arms import REDUCTION, ArmName, CropAtFace, arms_of, crops
from examples.train_detector.detector import detect, new_detector, train
from examples.train_detector.pictures import Pictures, Sample, samples_of
from preproc import EnhanceTransform
from preproc.errors import ImageError, OutputError

FACES = np.array([[8.0, 12, 16, 20], [40, 4, 12, 16], [60, 60, 3, 3]])


@pytest.fixture
def samples(tmp_path, rng):
    """Two pictures with two faces that count and one that does not."""
    made = []
    for n in range(2):
        path = tmp_path / f"{n}.png"
        Image.fromarray(rng.integers(0, 256, (82, 97, 3), dtype=np.uint8)).save(path)
        made.append(Sample(path, Truth(FACES, {"hard": np.array([True, True, False])})))
    return made


@pytest.fixture
def arms(skip_weights):
    enhance = EnhanceTransform("tiny", weights=skip_weights, device="cpu", dtype="float32")
    return arms_of(list(ArmName), 40, enhance)


def test_every_arm_shows_the_same_faces_at_the_same_size(samples, arms):
    ready = v2.ToPureTensor()
    for arm in arms:
        ((image, target),) = Pictures(samples, arm, ready)[0]
        enlargement = REDUCTION // arm.scale
        assert [enlargement * side for side in image.shape[1:]] == [80, 96], arm.name
        assert np.array_equal(target["boxes"] * enlargement, FACES[:2]), arm.name
        assert target["labels"].tolist() == [1, 1]
    shown = {arm.name: Pictures(samples, arm, ready)[0][0][0].float() for arm in arms}
    # Both enlarge the same compressed picture smoothly, which the original is not.
    assert (shown["bicubic"] - shown["enhanced"]).abs().mean() < 10
    assert (shown["bicubic"] - shown["original"]).abs().mean() > 30


def test_crops_fall_on_the_same_places_in_all_enlarged_arms(samples, arms):
    cut = {}
    for arm in arms[1:]:
        torch.manual_seed(3)
        cuts = Pictures(samples, arm, crops(arm, 64), times=3)[0]
        assert len(cuts) == 3
        for image, _ in cuts:
            assert image.shape == (3, 64, 64)
            assert image.max() <= 1
        cut[arm.name] = [target["boxes"].tolist() for _, target in cuts]
    assert cut["bicubic"] == cut["enhanced"] == cut["original"]
    assert cut["bicubic"][0] != cut["bicubic"][1], "each of the three lies elsewhere"


def test_every_crop_has_a_face_in_it_and_lies_within_the_picture(rng):
    picture = rng.integers(1, 256, (3, 200, 400), dtype=np.uint8)  # no black, as beside it
    corners = [(x, y) for x in (0, 190, 384) for y in (0, 90, 184)]
    for x, y in corners:
        boxes = tv_tensors.BoundingBoxes([[x, y, 16, 16]], format="XYWH", canvas_size=(200, 400))
        for _ in range(20):
            image, target = CropAtFace(64)(tv_tensors.Image(picture), {"boxes": boxes})
            left, top, width, height = target["boxes"][0].tolist()
            assert image.shape == (3, 64, 64)
            assert image.min() > 0
            assert min(width, height) >= 8, "the half of a face at least"
            assert max(left + width, top + height) <= 64


def test_a_picture_without_faces_is_cut_anywhere_and_a_small_one_keeps_all_it_has(rng):
    nothing = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYWH", canvas_size=(80, 80))
    columns = tv_tensors.Image(torch.arange(80, dtype=torch.uint8).expand(3, 80, 80))
    lefts = {int(CropAtFace(64)(columns, nothing)[0][0, 0, 0]) for _ in range(60)}
    assert len(lefts) > 8
    assert max(lefts) <= 16
    small = tv_tensors.Image(rng.integers(1, 256, (3, 30, 40), dtype=np.uint8))
    face = tv_tensors.BoundingBoxes([[5.0, 6, 9, 9]], format="XYWH", canvas_size=(30, 40))
    image, boxes = CropAtFace(64)(small, face)
    assert torch.equal(image[:, :30, :40], small)
    assert image[:, 30:].max() == image[..., 40:].max() == 0
    assert torch.equal(boxes, face)


def test_crops_are_as_large_and_hold_the_same_faces_in_every_arm(samples, arms):
    sample = Sample(samples[0].path, Truth(FACES, {"hard": np.ones(3, bool)}))
    for arm in arms:
        ((image, target),) = Pictures([sample], arm, crops(arm, 96))[0]
        times, boxes = REDUCTION // arm.scale, target["boxes"]
        assert [times * side for side in image.shape] == [3 * times, 96, 96], arm.name
        assert (times * (boxes[:, 2:] - boxes[:, :2])).tolist() == [[16, 20], [12, 16]], arm.name


def test_pictures_lie_as_their_boxes_are_counted_whatever_exif_says(samples, arms):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(samples[0].path) as image:
        image.save(samples[1].path, exif=exif)
    pictures = Pictures(samples, arms[-1], v2.ToPureTensor())
    assert torch.equal(pictures[0][0][0], pictures[1][0][0])


class FixedFace(torch.nn.Module):
    """Stands for a detector: sees how it resizes, finds one face in px of what it was given."""

    def __init__(self):
        super().__init__()
        self.transform = torch.nn.Module()

    def forward(self, images):  # noqa: ARG002
        box = torch.tensor([[2.0, 3, 6, 8]])
        return [{"boxes": box, "scores": torch.tensor([0.5])}]


def test_found_faces_are_told_in_px_of_the_original(arms):
    device, detector = torch.device("cpu"), FixedFace()
    detecting = partial(detect, detector, device=device)
    sizes = {"reduced": (20, 24)}
    for arm in arms:
        found = detecting(image=torch.zeros(3, *sizes.get(arm.name, (80, 96))), arm=arm)
        times = 4 if arm.name == "reduced" else 1
        assert found.tolist() == [[2 * times, 3 * times, 4 * times, 5 * times, 0.5]]
        assert (detector.transform.min_size, detector.transform.max_size) == ((80,), 96)


def test_no_event_is_both_trained_on_and_held_out(shared):
    pytest.importorskip("scipy")
    data = shared / "data" / "widerface"
    for limit in (None, 40):
        training, held_out = samples_of(data, limit)
        events = [{sample.path.parent for sample in part} for part in (training, held_out)]
        assert not events[0] & events[1]
        assert len(training) + len(held_out) == (limit or 352)
        assert 0.15 < len(held_out) / len(training) < 0.5


def test_events_are_divided_and_pictures_taken_from_all_of_them(tmp_path, monkeypatch):
    truth = {f"{e}--event/{n}": Truth(FACES, {}) for e in range(8) for n in range(4)}
    for name in truth:
        path = tmp_path / "WIDER_val" / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/3"):
            path.touch()
    (tmp_path / "wider_face_val.mat").touch()
    monkeypatch.setattr(wider_pictures, "read_truth", lambda _: truth)

    def events(limit):
        parts = samples_of(tmp_path, limit)
        return [[int(s.path.parent.name.partition("--")[0]) for s in part] for part in parts]

    assert events(None) == [[e for e in (0, 1, 2, 4, 5, 6) for _ in range(3)], [3] * 3 + [7] * 3]
    training, held_out = events(8)
    assert (len(training), held_out) == (6, [3, 7])
    assert {0, 6} < set(training) < {0, 1, 2, 4, 5, 6, 7}


def test_pictures_that_are_missing_or_of_few_events_are_refused(tmp_path, monkeypatch):
    truth = {f"{e}--event/0": Truth(FACES, {}) for e in range(3)}
    (tmp_path / "wider_face_val.mat").touch()
    monkeypatch.setattr(wider_pictures, "read_truth", lambda _: truth)
    with pytest.raises(ImageError, match="There are no images of WIDER FACE val in"):
        samples_of(tmp_path, None)
    for name in truth:
        path = tmp_path / "WIDER_val" / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        path.touch()
    with pytest.raises(ImageError, match=r"are of fewer than four events.*; add some\."):
        samples_of(tmp_path, None)


def test_a_detector_learns_a_step_from_pictures_with_and_without_faces(arms, samples):
    samples[1] = Sample(samples[1].path, Truth(np.zeros((0, 4)), {"hard": np.zeros(0, bool)}))
    pictures = Pictures(samples, arms[1], crops(arms[1], 64))
    torch.manual_seed(0)
    detector = new_detector(64)
    before = [parameter.clone() for parameter in detector.parameters()]
    batch = [tuple(zip(*(pictures[n][0] for n in range(2)), strict=True))] * 2
    losses = list(train(detector, batch, 2, torch.device("cpu")))
    assert len(losses) == 2
    assert all(np.isfinite(losses))
    moved = [not torch.equal(a, b) for a, b in zip(before, detector.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved)


def test_every_arm_begins_alike_and_is_scored_on_what_was_held_out(
    samples, tmp_path, monkeypatch, capsys
):
    began, scored = [], []

    def train(detector, batches, steps, device):
        boxes = [target["boxes"].tolist() for _, targets in batches for target in targets]
        began.append((detector.weight.tolist(), boxes))
        yield from (5.0, 1.0, 2.0)[:steps]

    def detect(_, image, arm, __):
        return np.array([[0, 0, *image.shape[1:], 0.5]])

    def scores(truth, detections, subset):
        scored.append((list(truth), {name: d.tolist() for name, d in detections.items()}, subset))
        return command.CocoScores(0.5, 0.75, 0.25)

    replaced = {"train": train, "detect": detect, "coco_scores": scores}
    replaced |= {"samples_of": lambda *_: (samples, samples[1:])}
    replaced |= {"new_detector": lambda _: torch.nn.Linear(2, 2)}
    for name, value in replaced.items():
        monkeypatch.setattr(command, name, value)
    report = tmp_path / "report.json"
    arms = [ArmName.BICUBIC, ArmName.ORIGINAL]
    command.main(tmp_path, steps=3, batch=4, cuts=2, arm=arms, side=66, json=report)
    assert began[0] == began[1]
    assert len(began[0][1]) == 3 * 4 * 2
    name = f"{samples[1].path}"
    assert scored == [([name], {name: [[0, 0, 80, 96, 0.5]]}, "hard")] * 2
    told = json.loads(report.read_text())
    assert [arm["loss"] for arm in told["arms"].values()] == [2, 2], "of the last tenth"
    assert told["held out"].startswith("1 pictures of 1 events, 2 faces")
    assert told["steps"] == "3 of 4 x 2 crops of 64 px, seed 0"

    def full(*_):
        raise OutputError("There is no room left.")

    monkeypatch.setattr(command, "write_json", full)
    capsys.readouterr()
    with pytest.raises(command.typer.Exit):
        command.main(tmp_path, steps=3, batch=4, arm=arms, side=64, seed=1, json=report)
    assert began[2] == began[3]
    assert all(other != first for other, first in zip(began[2], began[0], strict=True))
    out, err = capsys.readouterr()
    assert "original" in out, "what was found out is told although it cannot be kept"
    assert "Error: There is no room left." in err


def test_the_command_reports_every_arm(samples, skip_weights, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    monkeypatch.setattr(command, "samples_of", lambda *_: (samples, samples))
    given = []
    monkeypatch.setattr(command, "arms_of", lambda *a: given.extend(arms_of(*a)) or given)
    report = tmp_path / "report.json"
    command.main(
        tmp_path,
        steps=2,
        quality=30,
        arm=[ArmName.BICUBIC, ArmName.ENHANCED],
        model="tiny",
        weights=skip_weights,
        batch=1,
        side=64,
        cache=tmp_path / "cache",
        json=report,
    )
    assert len(list((tmp_path / "cache").iterdir())) == len(samples)
    arms = json.loads(report.read_text())["arms"]
    assert list(arms) == ["bicubic", "enhanced"]
    assert {str(arm.degradation) for arm in given} == {"/4, JPEG 30"}
    assert all(np.isfinite(arm["loss"]) and arm["scores"]["ap"] >= 0 for arm in arms.values())
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("enhanced", "AP50", "small trial"))
