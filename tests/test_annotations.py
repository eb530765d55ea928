"""Boxes, masks and points stay on their px, in every format and nesting."""

from __future__ import annotations

from collections import UserDict, deque, namedtuple

import pytest
import torch

import preproc
from preproc.errors import PreprocError

tv_tensors = pytest.importorskip("torchvision.tv_tensors", reason="torchvision is not installed")
v2 = pytest.importorskip("torchvision.transforms.v2")


def marked(size=(12, 16), box=(3, 2, 8, 6)):
    """A black picture with a white rectangle, and the rectangle as x1, y1, x2, y2."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 255
    return image, torch.tensor([box], dtype=torch.float32)


def test_boxes_masks_and_points_stay_on_their_pixels(skip_weights):
    image, boxes = marked()
    enhance = preproc.EnhanceTransform("tiny", weights=skip_weights, device="cpu")
    image, boxes, mask, points = enhance(
        tv_tensors.Image(image),
        tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(12, 16)),
        tv_tensors.Mask(image[:1] > 0),
        tv_tensors.KeyPoints([[5.5, 4.0]], canvas_size=(12, 16)),
    )
    white = image[0] > 127  # bilinear enlargement keeps the half-level contour in place
    rows, columns = white.any(1).nonzero(), white.any(0).nonzero()
    extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert boxes[0].tolist() == [12, 8, 32, 24] == [int(e) for e in extent]
    assert boxes.canvas_size == points.canvas_size == (48, 64) == tuple(mask.shape[-2:])
    assert mask.dtype == torch.bool
    assert mask[0].sum() == 20 * 16
    # Bilinear interpolation rounds the corners off.
    assert (mask[0] != white).sum() <= 4 * 2
    x, y = points[0].tolist()
    assert (x, y) == ((extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2)


BOXES = {  # the same two boxes in formats without and with an angle
    "XYXY": ([2, 3, 9, 8], [0, 0, 16, 12]),
    "XYWH": ([2, 3, 7, 5], [0, 0, 16, 12]),
    "CXCYWH": ([5.5, 5.5, 7, 5], [8, 6, 16, 12]),
    "XYWHR": ([2, 3, 7, 5, 0], [0, 0, 16, 12, 0]),
    "CXCYWHR": ([5.5, 5.5, 7, 5, 0], [8, 6, 16, 12, 0]),
    "XYXYXYXY": ([2, 3, 9, 3, 9, 8, 2, 8], [0, 0, 16, 0, 16, 12, 0, 12]),
}


@pytest.mark.parametrize("form", [f.value for f in tv_tensors.BoundingBoxFormat])
def test_boxes_of_every_format_keep_format_dtype_and_place(transform, form):
    like = {"format": form, "dtype": torch.float64, "canvas_size": (12, 16)}
    boxes = tv_tensors.BoundingBoxes(BOXES[form], **like)
    moved = transform()(boxes)
    assert moved.format.value == form
    assert moved.dtype == torch.float64
    assert moved.canvas_size == (48, 64)
    expected = v2.functional.resize(boxes, [48, 64])  # exact where nothing is turned or clamped
    assert torch.allclose(moved.as_subclass(torch.Tensor), expected.as_subclass(torch.Tensor))


def test_a_turned_box_keeps_its_angle_and_may_reach_past_the_border(transform):
    box = tv_tensors.BoundingBoxes([[1.0, 2, 8, 3, 30]], format="CXCYWHR", canvas_size=(12, 16))
    assert transform()(box).tolist() == [[4, 8, 32, 12, 30]]


def test_whole_numbers_and_no_boxes_at_all_are_boxes_too(transform):
    like = {"format": "XYWH", "canvas_size": (12, 16)}
    assert transform()(tv_tensors.BoundingBoxes([[1, 2, 3, 4]], **like)).tolist() == [
        [4, 8, 12, 16]
    ]
    none = transform()(tv_tensors.BoundingBoxes(torch.zeros(0, 4), **like))
    assert none.shape == (0, 4)
    assert transform()(tv_tensors.Mask(torch.zeros(0, 12, 16))).shape == (0, 48, 64)


def test_the_input_is_left_alone(transform):
    box = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(12, 16))
    transform()(box)
    assert (box.tolist(), box.canvas_size) == ([[1, 2, 3, 4]], (12, 16))


def test_returned_to_the_input_size_nothing_moves(transform):
    image, boxes = marked()
    boxes = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(12, 16))
    mask = tv_tensors.Mask(image[0])
    enhance = transform(to_input_size=True)
    after = enhance(tv_tensors.Image(image), boxes, mask)
    assert enhance.scale == 1
    assert after[0].shape == image.shape
    assert torch.equal(after[1], boxes)
    assert after[1].canvas_size == (12, 16)
    assert torch.equal(after[2], mask)
    assert transform(to_input_size=False)(boxes).tolist() == [[12, 8, 32, 24]]


@pytest.mark.parametrize("form", BOXES)
def test_plain_boxes_of_every_format_move_as_tv_tensors_do(batch_stage, transform, form):
    plain = torch.tensor(BOXES[form], dtype=torch.float32)
    wanted = transform()(tv_tensors.BoundingBoxes(plain, format=form, canvas_size=(12, 16)))
    _, [target] = batch_stage()([torch.zeros(3, 12, 16)], [{"boxes": plain}])
    assert target["boxes"].tolist() == wanted.tolist()


def test_points_without_an_axis_for_objects_are_points(batch_stage):
    _, [target] = batch_stage()([torch.zeros(3, 4, 5)], [{"keypoints": torch.ones(2, 3)}])
    assert target["keypoints"].tolist() == [[4, 4, 1]] * 2


def test_all_that_points_have_besides_x_and_y_stays(batch_stage):
    _, [target] = batch_stage()([torch.zeros(3, 4, 5)], [{"keypoints": torch.ones(1, 2, 4)}])
    assert target["keypoints"].tolist() == [[[4, 4, 1, 1]] * 2]


def test_annotations_of_a_batch_move_in_every_nesting(batch_stage):
    box = tv_tensors.BoundingBoxes([[1.0, 2, 3, 4]], format="XYXY", canvas_size=(4, 5))
    plain, labels = torch.tensor([[1.0, 2, 3, 4]]), torch.ones(1)
    named = namedtuple("named", "boxes labels")
    target = {
        "ann": {"boxes": box, "labels": labels, "id": 7},
        "objects": [box, (7, box), deque([box])],
        "others": [{"boxes": plain}, UserDict(boxes=[plain]), named(plain, labels)],
    }
    _, [moved] = batch_stage()([torch.zeros(3, 4, 5)], [target])
    assert moved["ann"]["boxes"].tolist() == [[4, 8, 12, 16]]
    assert moved["ann"]["boxes"].canvas_size == (16, 20)
    assert moved["ann"]["labels"] is labels
    assert moved["ann"]["id"] == 7
    first, (seven, second), third = moved["objects"]
    assert seven == 7
    assert [type(part) for part in moved["objects"][1:]] == [tuple, deque]
    fourth, fifth, sixth = moved["others"]
    for boxes in (first, second, third[0], fourth["boxes"], fifth["boxes"][0], sixth.boxes):
        assert boxes.tolist() == [[4, 8, 12, 16]]
    assert sixth.labels is labels
    assert target["ann"]["boxes"].tolist() == [[1, 2, 3, 4]]
    with pytest.raises(PreprocError, match="'boxes' is not a tensor"):
        batch_stage()([torch.zeros(3, 4, 5)], [{"objects": [{"boxes": [1, 2, 3, 4]}]}])


def test_annotations_of_a_batch_move_by_the_names_of_data_sets_too(batch_stage):
    target = {
        "bbox": torch.tensor([[1.0, 2, 3, 4]]),
        "landmarks": torch.tensor([[[1.0, 2], [3, 4]]]),
    }
    _, [moved] = batch_stage()([torch.zeros(3, 4, 5)], [target])
    assert moved["bbox"].tolist() == [[4, 8, 12, 16]]
    assert moved["landmarks"].tolist() == [[[4, 8], [12, 16]]]
    for refused in (
        {"mask": torch.ones(4, 5)},  # of the picture, or of what pads it
        {"segmentation": torch.ones(4, 6)},  # polygons, or a mask
        {"segmentation": {"size": [4, 5], "counts": b"04:"}},
        {"segmentation": [[1.0, 1, 5, 1, 5, 4]]},
        {"bbox": [1.0, 2, 3, 4]},
        {"landmarks": torch.ones(10)},
        {"xmin": torch.ones(4), "ymin": torch.ones(4)},
    ):
        with pytest.raises(PreprocError, match="cannot be enlarged with the picture"):
            batch_stage()([torch.zeros(3, 4, 5)], [refused])


def test_what_is_no_annotation_stays_the_object_it_was(batch_stage):
    class Listed(list):
        def __init__(self, first, *others):
            super().__init__([first, *others])

    target = {"mask": True, "sizes": Listed(4, 5), "names": deque(["a"], maxlen=1)}
    target["counts"] = torch.tensor([3])
    _, [kept] = batch_stage()([torch.zeros(3, 4, 5)], [target])
    assert all(kept[name] is value for name, value in target.items())
