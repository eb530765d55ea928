"""Annotations that would stay behind, or that their dtype could not hold, are refused."""

from __future__ import annotations

from collections import UserDict, deque, namedtuple

import numpy as np
import pytest
import torch
from conftest import chw
from PIL import Image

from preproc.errors import PreprocError

tv_tensors = pytest.importorskip("torchvision.tv_tensors", reason="torchvision is not installed")

KINDS = [
    ("boxes", "BoundingBoxes"),
    ("bbox", "BoundingBoxes"),
    ("masks", "Mask"),
    ("mask", "Mask"),
    ("segmentation", "Mask"),
    ("keypoints", "KeyPoints"),
    ("landmarks", "KeyPoints"),
]


@pytest.mark.parametrize(("key", "kind"), KINDS)
def test_annotations_that_would_stay_behind_are_refused(transform, key, kind):
    sample = torch.zeros(3, 4, 5), [{key: torch.zeros(1, 4), "labels": torch.ones(1)}]
    with pytest.raises(PreprocError, match=rf"'{key}' is a plain tensor.*tv_tensors\.{kind}"):
        transform()(*sample)
    assert transform(to_input_size=True)(*sample)[1][0][key] is sample[1][0][key]


@pytest.mark.parametrize(
    "boxes",
    [np.zeros((1, 4)), [[1, 2, 3, 4]], [np.zeros(4)], [(1.0, 2.0, 3.0, 4.0)]],
    ids=["array", "lists", "list of arrays", "list of tuples"],
)
def test_annotations_of_numpy_and_of_lists_would_stay_behind_too(transform, batch_stage, boxes):
    with pytest.raises(PreprocError, match=r"'boxes' is not a tensor.*tv_tensors\.BoundingBoxes"):
        transform()(Image.new("RGB", (5, 4)), {"boxes": boxes})
    with pytest.raises(PreprocError, match="'boxes' is not a tensor"):
        batch_stage()([torch.zeros(3, 4, 5)], [{"boxes": boxes}])
    _, [same] = batch_stage(to_input_size=True)([torch.zeros(3, 4, 5)], [{"boxes": boxes}])
    assert same["boxes"] is boxes, "it would not move in any case"
    none = {"boxes": [], "masks": None, "labels": [1, 2]}
    assert transform()(torch.zeros(3, 4, 5), none)[1] == none
    assert batch_stage()([torch.zeros(3, 4, 5)], [none])[1] == [none]


LABELS = Image.new("L", (5, 4), 7)


@pytest.mark.parametrize("to_input_size", [False, True])
@pytest.mark.parametrize("key", ["mask", "masks", "segmentation"])
@pytest.mark.parametrize("mask", [LABELS, [LABELS], LABELS.convert("P"), LABELS.convert("RGB")])
def test_masks_that_are_pil_images_are_not_enhanced_as_pictures(
    transform, batch_stage, key, mask, to_input_size
):
    enhance = transform(to_input_size=to_input_size)
    with pytest.raises(PreprocError, match=rf"'{key}' is a PIL image.*make it a tv_tensors\.Mask"):
        enhance(Image.new("RGB", (5, 4)), {key: mask})
    _, target = enhance(Image.new("RGB", (5, 4)), {key: tv_tensors.Mask(LABELS)})
    assert target[key].unique().tolist() == [7]
    with pytest.raises(PreprocError, match=rf"'{key}' is not a tensor.*tv_tensors\.Mask"):
        batch_stage()([torch.zeros(3, 4, 5)], [{key: mask}])


@pytest.mark.parametrize("mode", ["P", "L", "1", "I"])
@pytest.mark.parametrize("kind", [Image.Image.copy, tv_tensors.Image], ids=["PIL", "tv_tensor"])
def test_a_bare_mask_beside_its_picture_is_not_enhanced_as_another(transform, mode, kind):
    image = kind(Image.new("RGB", (5, 4)))
    with pytest.raises(PreprocError, match=rf"mode '{mode}'.*tv_tensors\.Mask .* or RGB"):
        transform()(image, LABELS.convert(mode))
    with pytest.raises(PreprocError, match="may be a mask"):
        transform(to_input_size=True)({"image": image, "semantic": LABELS.convert(mode)})


def test_pictures_of_a_kind_stay_pictures_beside_each_other(transform):
    embedding = torch.zeros(1, 2, 3)
    for image in (LABELS, LABELS.convert("P"), Image.new("RGB", (5, 4))):
        first, second, kept = transform()([image, image, {"embedding": embedding}])
        assert first.size == second.size == (20, 16)
        assert kept["embedding"] is embedding


def test_they_are_refused_in_every_nesting_that_torchvision_walks(transform):
    image, boxes = torch.zeros(3, 4, 5), torch.zeros(1, 4)
    named = namedtuple("named", "image boxes")
    for sample in (
        named(image, boxes),
        deque([image, {"boxes": boxes}]),
        (image, [{"boxes": [boxes]}]),
        (image, UserDict(boxes=boxes)),  # which it does not walk, and so would leave as it is
    ):
        with pytest.raises(PreprocError, match="'boxes' is a plain tensor"):
            transform()(sample)


@pytest.mark.parametrize(
    ("key", "shape", "advice"),
    [
        ("boxes", (2, 6), r"\(n, 4\), \(n, 5\) or \(n, 8\)"),
        ("boxes", (2, 4, 2), r"\(n, 4\), \(n, 5\) or \(n, 8\)"),
        ("boxes", (), "tv_tensors.BoundingBoxes"),
        ("keypoints", (2, 51), r"\(n, k, 2 or more\)"),
        ("keypoints", (2, 4), r"\(n, k, 2 or more\)"),
        ("keypoints", (2, 17, 1), r"\(n, k, 2 or more\)"),
        ("masks", (7,), r"\(n, H, W\)"),
    ],
)
def test_plain_tensors_of_unknown_shapes_are_not_moved_by_half(batch_stage, key, shape, advice):
    target = {key: torch.ones(shape)}
    with pytest.raises(PreprocError, match=rf"'{key}' has shape .* cannot be enlarged.*{advice}"):
        batch_stage()([torch.zeros(3, 4, 5)], [target])
    _, [same] = batch_stage(to_input_size=True)([torch.zeros(3, 4, 5)], [target])
    assert same[key] is target[key]
    _, [none] = batch_stage()([torch.zeros(3, 4, 5)], [{key: torch.zeros(0)}])
    assert none[key].shape == (0,)


BOX = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(4, 5))
COCO = [{"bbox": [1.0, 2.0, 3.0, 4.0], "area": 12.0, "category_id": 1}]
RLE = [{"segmentation": {"size": [4, 5], "counts": "04:"}, "iscrowd": 1}]
VOC = {"annotation": {"object": [{"name": "cat", "bndbox": {"xmin": "1", "ymin": "2"}}]}}


@pytest.mark.parametrize(
    ("target", "key"),
    [(COCO, "bbox"), (RLE, "segmentation"), (VOC, "xmin")],
    ids=["COCO", "RLE", "VOC"],
)
def test_raw_annotations_of_data_sets_are_refused(transform, batch_stage, target, key):
    with pytest.raises(PreprocError, match=rf"'{key}' is not a tensor.*wrap_dataset_for_transf"):
        transform()(Image.new("RGB", (5, 4)), target)
    with pytest.raises(PreprocError, match=rf"'{key}' is not a tensor"):
        batch_stage()([torch.zeros(3, 4, 5)], [{"objects": target}])


def test_what_a_wrapped_data_set_adds_is_left_out_by_naming_the_rest(transform):
    voc = {"annotation": VOC["annotation"], "boxes": BOX, "labels": torch.ones(1)}
    coco = {"bbox": [[1.0, 2, 3, 4]], "boxes": BOX, "masks": tv_tensors.Mask(torch.ones(1, 4, 5))}
    for target, keys in ((voc, "'boxes', 'labels'"), (coco, "'boxes', 'labels', 'masks'")):
        with pytest.raises(PreprocError, match=rf"leave it out, as .*_v2 does .*=\({keys}\)\.$"):
            transform()(Image.new("RGB", (5, 4)), target)


def test_a_batch_stage_is_advised_for_plain_tensors_only(transform):
    image = tv_tensors.Image(torch.zeros(3, 4, 5))
    for boxes, ends in ((torch.zeros(1, 4), "EnhanceBatch, which"), ([[0.0] * 4], "leave it out")):
        with pytest.raises(PreprocError, match=rf"\(or use .*_v2\).*{ends}[^;,]*\.$"):
            transform()(image, {"boxes": boxes})


def test_what_is_wrong_with_targets_is_said_before_pictures_are_computed(
    transform, batch_stage, monkeypatch
):
    monkeypatch.setattr("preproc.transforms.enhance._enhanced", lambda *_: pytest.fail("too late"))
    image, target = torch.zeros(3, 4, 5), {"boxes": [[1, 2, 3, 4]]}
    for refused in (lambda: batch_stage()([image], [target]), lambda: transform()(image, target)):
        with pytest.raises(PreprocError, match="'boxes' is not a tensor"):
            refused()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16])
def test_coordinates_that_their_dtype_cannot_hold_are_refused(batch_stage, picture, dtype):
    most = torch.iinfo(dtype).max
    image, boxes = chw(picture), torch.tensor([[0, 0, most // 4, 5]], dtype=dtype)
    _, [target] = batch_stage()([image], [{"boxes": boxes}])
    assert target["boxes"].tolist() == [[0, 0, most // 4 * 4, 20]]
    with pytest.raises(PreprocError, match="cannot hold"):
        batch_stage()([image], [{"boxes": (boxes.long() + 1).to(dtype)}])
    with pytest.raises(PreprocError, match="cannot hold"):
        batch_stage()([image], [{"area": boxes[:, 2]}])
    if dtype.is_signed:
        with pytest.raises(PreprocError, match="cannot hold"):
            batch_stage()([image], [{"boxes": -boxes - 5}])
    _, [none] = batch_stage()([image], [{"boxes": boxes[:0]}])
    assert none["boxes"].shape == (0, 4)


def test_half_floats_that_would_become_infinite_are_refused(batch_stage, transform, picture):
    boxes = torch.tensor([[0, 0, 20000, 5]], dtype=torch.float16)
    like = {"format": "XYXY", "canvas_size": (10, 14)}
    for target in ({"boxes": boxes}, {"area": boxes[:, 2]}):
        with pytest.raises(PreprocError, match=r"float16 cannot hold (80000|320000)"):
            batch_stage()([chw(picture)], [target])
    with pytest.raises(PreprocError, match="float16 cannot hold 80000"):
        transform()(chw(picture), tv_tensors.BoundingBoxes(boxes, **like))
    endless = torch.tensor([[0, 0, float("inf"), 5]])
    _, [target] = batch_stage()([chw(picture)], [{"boxes": endless}])
    assert target["boxes"].tolist() == [[0, 0, float("inf"), 20]]
