"""The torchvision stage: annotations stay on their px, workers are safe, the cache spares work."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections import UserDict, deque, namedtuple
from dataclasses import replace
from functools import partial
from inspect import signature
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import preproc
from preproc import Enhancer
from preproc.cache import PictureCache
from preproc.errors import DeviceWarning, ImageError, ModelError, PreprocError, WeightsError
from preproc.manifest import entries
from preproc.networks import find, register
from preproc.options import EnhancerOptions
from preproc.weights import load_network

tv_tensors = pytest.importorskip("torchvision.tv_tensors", reason="torchvision is not installed")
v2 = pytest.importorskip("torchvision.transforms.v2")


@pytest.fixture
def transform(tiny_weights):
    facts = {"weights": tiny_weights, "device": "cpu", "dtype": "float32"}
    return partial(preproc.EnhanceTransform, "tiny", **facts)


@pytest.fixture
def batch_stage(tiny_weights):
    facts = {"weights": tiny_weights, "device": "cpu", "dtype": "float32"}
    return partial(preproc.EnhanceBatch, "tiny", **facts)


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (10, 14, 3), dtype=np.uint8)


def chw(picture):
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)


def marked(size=(12, 16), box=(3, 2, 8, 6)):
    """A black picture with a white rectangle, and the rectangle as x1, y1, x2, y2."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 255
    return image, torch.tensor([box], dtype=torch.float32)


# What comes out


def test_every_kind_of_picture_gives_what_the_enhancer_gives(transform, make, picture):
    enhance, expected = transform(), make()(picture)
    assert np.array_equal(np.asarray(enhance(Image.fromarray(picture))), expected)
    assert torch.equal(enhance(chw(picture)), chw(expected))
    image = enhance(tv_tensors.Image(chw(picture)))
    assert isinstance(image, tv_tensors.Image)
    assert torch.equal(image, chw(expected))
    video = enhance(tv_tensors.Video(torch.stack([chw(picture), chw(picture)])[None]))
    assert isinstance(video, tv_tensors.Video)
    assert video.shape == (1, 2, 3, 40, 56)
    assert torch.equal(video[0, 1], chw(expected))
    assert enhance(Image.fromarray(picture[..., 0])).mode == "L"
    floats = enhance(chw(picture).float() / 255)
    assert floats.dtype == torch.float32
    assert (floats - chw(expected) / 255).abs().max() < 0.51 / 255


def test_everything_else_passes_through_in_any_nesting(transform, picture):
    sample = (tv_tensors.Image(chw(picture)), {"labels": torch.tensor([1, 2]), "id": 7, "x": None})
    image, target = transform()(sample)
    assert image.shape == (3, 40, 56)
    assert torch.equal(target["labels"], torch.tensor([1, 2]))
    assert (target["id"], target["x"]) == (7, None)


def test_no_picture_of_a_kind_it_does_not_know_is_let_through(transform):
    with pytest.raises(ImageError, match="int64"):
        transform()(tv_tensors.Image(torch.zeros(3, 8, 8, dtype=torch.int64)))


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


def test_pictures_that_torchvision_passes_by_are_refused(transform):
    array = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ImageError, match=r"numpy arrays.*v2\.ToImage\(\) first"):
        transform()({"image": array, "label": 3})
    with pytest.raises(ImageError, match="numpy arrays"):
        transform()(array, {"labels": torch.ones(2), "one hot": torch.eye(2)})
    with pytest.raises(ImageError, match="numpy arrays"):
        transform()({"image": array[..., 0], "label": 3})
    assert transform()(torch.zeros(3, 4, 5), array)[1] is array  # beside a picture it is data


def test_it_stands_in_a_compose(transform, picture):
    steps = v2.Compose([transform(), v2.RandomCrop(32), v2.ToDtype(torch.float32, scale=True)])
    boxes = tv_tensors.BoundingBoxes([[0, 0, 14, 10]], format="XYXY", canvas_size=(10, 14))
    image, boxes = steps(tv_tensors.Image(chw(picture)), boxes)
    assert image.shape == (3, 32, 32)
    assert boxes.canvas_size == (32, 32)
    assert boxes.tolist() == [[0, 0, 32, 32]]


# Annotations


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


def test_a_picture_that_exif_calls_turned_lies_as_it_lay_with_its_boxes(transform, make, picture):
    image = Image.fromarray(picture)
    image.getexif()[0x0112] = 6
    image.info["exif"] = image.getexif().tobytes()
    assert make()(image).size == (40, 56)  # the enhancer itself turns it upright
    after = transform()(image)
    assert after.size == (56, 40)
    assert np.array_equal(np.asarray(after), make()(picture))
    assert after.getexif()[0x0112] == 6


# Options


def test_an_overlap_has_the_room_that_tiles_of_the_device_have():
    preproc.EnhanceTransform("tiny", device="cuda", overlap=300)
    for options in ({"device": "cpu"}, {"device": "cuda", "in_worker": "cpu"}):
        with pytest.raises(ModelError, match="Tiles of 512 px leave no room"):
            preproc.EnhanceTransform("tiny", overlap=300, **options)
    preproc.EnhanceTransform("tiny", device="cpu", overlap=248)
    with pytest.raises(ModelError, match="no room between overlaps of 250 px"):
        preproc.EnhanceTransform("tiny", device="cpu", overlap=248, to_input_size=True)


def test_options_are_those_of_the_enhancer_and_so_is_the_usual_model():
    theirs = signature(Enhancer).parameters
    assert EnhancerOptions.__annotations__.keys() <= theirs.keys()
    for kind in (preproc.EnhanceTransform, preproc.EnhanceBatch, preproc.EnhancerModule):
        assert signature(kind).parameters["model"].default == theirs["model"].default


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"model": "no-such"}, "no model 'no-such'"),
        ({"scale": 3}, "no scale 3"),
        ({"tiles": 64}, "no option tiles"),
        ({"tile": 3}, "Tiles of 3 px"),
        ({"strength": 2}, "strength"),
        ({"dtype": "x"}, "dtype"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"cache": True}, "cache must be a folder"),
        ({"in_worker": "gpu"}, "in_worker must be 'error' or 'cpu'"),
        ({"device": "gpu"}, "'gpu' names no device"),
    ],
)
def test_wrong_options_are_named_at_once(options, match):
    for kind in (preproc.EnhanceTransform, preproc.EnhanceBatch):
        with pytest.raises(ModelError, match=match):
            kind(**{"model": "tiny", **options})


def test_without_torchvision_the_package_works_and_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "preproc.transforms", raising=False)
    assert "EnhanceTransform" not in preproc.__all__  # for `from preproc import *`
    with pytest.raises(PreprocError, match=r"pip install .\.\[transforms\]. in the checkout"):
        _ = preproc.EnhanceTransform


# Batches


def test_a_batch_of_detection_references_is_enlarged_as_one(batch_stage, make, picture):
    other = picture[:6, :9]
    images = (chw(picture), chw(other))
    targets = (
        {
            "boxes": torch.tensor([[1.0, 2, 5, 6]]),
            "labels": torch.tensor([1]),
            "masks": torch.ones(1, 10, 14, dtype=torch.uint8),
            "keypoints": torch.tensor([[[3.0, 4, 1]]]),
            "area": torch.tensor([16.0]),
            "iscrowd": torch.tensor([0]),
            "image_id": 5,
        },
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    )
    enhanced, moved = batch_stage()(images, targets)
    assert torch.equal(enhanced[0], chw(make()(picture)))
    assert torch.equal(enhanced[1], chw(make()(other)))
    first = moved[0]
    assert first["boxes"].tolist() == [[4, 8, 20, 24]]
    assert first["masks"].shape == (1, 40, 56)
    assert first["keypoints"].tolist() == [[[12, 16, 1]]]
    assert first["area"].tolist() == [256]
    assert (first["labels"].tolist(), first["iscrowd"].tolist(), first["image_id"]) == ([1], [0], 5)
    assert moved[1]["boxes"].shape == (0, 4)
    assert targets[0]["boxes"].tolist() == [[1, 2, 5, 6]]


@pytest.mark.parametrize("form", BOXES)
def test_plain_boxes_of_every_format_move_as_tv_tensors_do(batch_stage, transform, form):
    plain = torch.tensor(BOXES[form], dtype=torch.float32)
    wanted = transform()(tv_tensors.BoundingBoxes(plain, format=form, canvas_size=(12, 16)))
    _, [target] = batch_stage()([torch.zeros(3, 12, 16)], [{"boxes": plain}])
    assert target["boxes"].tolist() == wanted.tolist()


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


def test_containers_of_any_make_are_only_looked_into(transform):
    class Listed(list):
        def __init__(self, items, meta):
            super().__init__(items)
            self.meta = meta

    kept = Listed([{"caption": "a cat"}], "meta")
    assert transform()(Image.new("RGB", (5, 4)), {"more": kept})[1]["more"][0] == kept[0]
    with pytest.raises(ImageError, match="numpy arrays"):
        transform()(UserDict(image=np.zeros((4, 5, 3), np.uint8)))


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


def test_a_stacked_batch_stays_stacked_and_tv_tensors_stay_what_they_are(batch_stage, picture):
    stack = torch.stack([chw(picture), chw(picture).flip(-1)])
    assert torch.equal(batch_stage()(stack), torch.stack(batch_stage()(list(stack))))
    for images in (stack, stack[:0]):
        enhanced = batch_stage()(tv_tensors.Image(images))
        assert isinstance(enhanced, tv_tensors.Image)
        assert torch.equal(enhanced, batch_stage()(images))
    box = tv_tensors.BoundingBoxes([[7.0, 5, 4, 2]], format="CXCYWH", canvas_size=(10, 14))
    images, (target,) = batch_stage()([tv_tensors.Image(chw(picture))], [{"boxes": box}])
    assert isinstance(images[0], tv_tensors.Image)
    assert target["boxes"].tolist() == [[28, 20, 16, 8]]
    assert target["boxes"].canvas_size == (40, 56)


def test_a_batch_that_does_not_fit_together_is_refused(batch_stage, picture):
    with pytest.raises(ImageError, match="1 images, but 2 targets"):
        batch_stage()([chw(picture)], [{}, {}])
    with pytest.raises(ImageError, match="2 images, but 1 targets"):
        batch_stage()([chw(picture)] * 2, [{}])
    with pytest.raises(ImageError, match="takes tensors, but got Image"):
        batch_stage()([Image.fromarray(picture)])


def test_equal_pictures_of_a_batch_have_results_of_their_own(batch_stage, tmp_path, picture):
    first, second = batch_stage(cache=tmp_path)([chw(picture)] * 2)
    first.zero_()
    assert second.any()


def test_an_empty_batch_is_enlarged_to_an_empty_batch(batch_stage):
    assert batch_stage()(torch.zeros(0, 3, 8, 9)).shape == (0, 3, 32, 36)
    assert batch_stage()(torch.zeros(0, 3, 8, 9, dtype=torch.uint8)).dtype == torch.uint8
    assert batch_stage()([], []) == ([], [])


def test_a_batch_of_another_shape_is_one_sentence(batch_stage, picture):
    with pytest.raises(ImageError, match=r"must be \(N, C, H, W\)"):
        batch_stage()(chw(picture))
    with pytest.raises(ImageError, match="A target is a dictionary"):
        batch_stage()([chw(picture)], [None])


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_on_the_gpu_comes_back_on_the_gpu(tiny_weights, make, picture):
    enhance = preproc.EnhanceBatch("tiny", weights=tiny_weights, dtype="float32")
    after = enhance(chw(picture)[None].cuda())
    assert after.is_cuda
    difference = after[0].cpu().int() - chw(make()(picture)).int()
    assert difference.abs().max() <= 1


def without_kernels(zeros):
    """`torch.zeros` where the GPU is of a kind that the installed torch knows nothing of."""

    def failing(*args, **kwargs):
        if torch.device(kwargs.get("device") or "cpu").type == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available for execution")
        return zeros(*args, **kwargs)

    return failing


def test_weights_are_found_wherever_the_program_goes(tiny_weights, picture, monkeypatch):
    monkeypatch.chdir(tiny_weights.parent)
    transform = preproc.EnhanceTransform("tiny", weights=tiny_weights.name, device="cpu")
    monkeypatch.chdir("/")
    assert transform(chw(picture)).shape[-1] == 4 * picture.shape[1]


def test_a_gpu_that_cannot_be_used_is_left_for_the_cpu(tiny_weights, picture, monkeypatch):
    image = chw(picture)
    wanted = preproc.EnhanceTransform("tiny", weights=tiny_weights, dtype="float32")(image)
    with monkeypatch.context() as context:
        context.setattr(torch.cuda, "is_available", lambda: True)
        context.setattr(torch, "zeros", without_kernels(torch.zeros))
        transform = preproc.EnhanceTransform("tiny", weights=tiny_weights, dtype="float32")
        with pytest.warns(DeviceWarning, match="cannot be used"):
            assert torch.equal(transform(image), wanted)
        asked = preproc.EnhanceTransform("tiny", weights=tiny_weights, device="cuda")
        with pytest.raises(ModelError, match="Device 'cuda' cannot be used"):
            asked(image)


def test_what_was_pickled_before_its_weights_were_trained_on_finds_no_old_results(
    tiny_weights, skip_weights, picture, tmp_path
):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    options = {"weights": path, "dtype": "float32"}
    transform = preproc.EnhanceTransform("tiny", **options, cache=tmp_path / "cache")
    transform(chw(picture))
    transform(chw(picture))  # from the cache, so that it has told its weights once more
    data = pickle.dumps(transform)
    path.write_bytes(skip_weights.read_bytes())
    wanted = preproc.EnhanceTransform("tiny", **options)(chw(picture))
    assert torch.equal(pickle.loads(data)(chw(picture)), wanted)


def test_weights_that_change_in_use_get_no_place_in_the_cache(
    tiny_weights, skip_weights, picture, tmp_path
):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    options = {"weights": path, "dtype": "float32", "cache": tmp_path / "cache"}
    first, other = chw(picture), 255 - chw(picture)
    preproc.EnhanceTransform("tiny", **options)(first)
    transform = preproc.EnhanceTransform("tiny", **options)
    transform(first)  # from the cache, so that nothing is loaded
    path.write_bytes(skip_weights.read_bytes())
    with pytest.raises(WeightsError, match=r"mine\.safetensors changed while they were in use"):
        transform(other)
    assert len(list((tmp_path / "cache").iterdir())) == 1


# Processes


class Pictures(torch.utils.data.Dataset):
    """Four pictures through a transform."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.transform(torch.full((3, 8, 8), 60 * index, dtype=torch.uint8))


def load(transform, context):
    loader = torch.utils.data.DataLoader(
        Pictures(transform), batch_size=2, num_workers=1, multiprocessing_context=context
    )
    return torch.cat(list(loader))


def directly(transform):
    return torch.stack([Pictures(transform)[n] for n in range(4)])


def test_workers_give_what_the_main_process_gives(transform):
    enhance = transform()
    expected = directly(enhance)  # the network is loaded already when the worker is forked
    assert torch.equal(load(enhance, "fork"), expected)


@pytest.mark.parametrize("name", sorted({entry.model for entry in entries().values()}))
def test_shipped_models_go_to_workers(name):
    scale = min(entry.scale for entry in entries().values() if entry.model == name)
    enhance = preproc.EnhanceTransform(name, scale=scale, device="cpu")
    assert pickle.loads(pickle.dumps(enhance)).model == name


def test_what_is_pickled_is_a_description(transform, tiny_weights, picture):
    enhance = transform()
    before = enhance(chw(picture))
    data = pickle.dumps(enhance)
    assert len(data) < tiny_weights.stat().st_size / 4
    assert torch.equal(pickle.loads(data)(chw(picture)), before)


def test_a_spawned_worker_builds_its_own(transform):
    assert torch.equal(load(transform(), "spawn"), directly(transform()))


def test_in_a_worker_cuda_is_refused_in_one_sentence(tiny_weights):
    enhance = preproc.EnhanceTransform("tiny", weights=tiny_weights, device="cuda")
    with pytest.raises(PreprocError, match=r"on cuda, which cannot be used in a DataLoader worker"):
        load(enhance, "fork")


def test_in_a_worker_the_cpu_takes_over_when_told_to(transform, tiny_weights):
    enhance = preproc.EnhanceTransform(
        "tiny", weights=tiny_weights, device="cuda", in_worker="cpu", dtype="float32"
    )
    assert torch.equal(load(enhance, "fork"), directly(transform()))


def test_a_filled_cache_lets_workers_go_without_the_device(transform, tiny_weights, tmp_path):
    expected = directly(transform(cache=tmp_path))
    on_cuda = preproc.EnhanceTransform(
        "tiny", weights=tiny_weights, device="cuda", dtype="float32", cache=tmp_path
    )
    assert torch.equal(load(on_cuda, "fork"), expected)


# The cache


@pytest.fixture
def calls(monkeypatch):
    """How many pictures each call of an Enhancer got."""
    seen, plain = [], Enhancer.__call__

    def counted(self, img):
        seen.append(len(img) if isinstance(img, list) else 1)
        return plain(self, img)

    monkeypatch.setattr(Enhancer, "__call__", counted)
    return seen


def test_a_picture_is_enhanced_once_whatever_kind_it_comes_in(transform, tmp_path, calls, picture):
    first = transform(cache=tmp_path)(Image.fromarray(picture))
    again = transform(cache=str(tmp_path))  # of another run
    assert np.array_equal(np.asarray(again(Image.fromarray(picture))), np.asarray(first))
    assert torch.equal(again(chw(picture)), chw(np.asarray(first)))
    assert calls == [1]


def test_a_part_of_a_network_is_told_apart_by_the_weights_of_its_family(
    monkeypatch, tmp_path, tiny_weights, picture
):
    part = replace(find("tiny"), name="tiny-part", part_of="tiny")
    register(part, replace=True)
    entries = {("tiny", 4): SimpleNamespace(sha256="f" * 64)}
    monkeypatch.setattr("preproc.deferred.entry_for", lambda model, scale: entries[model, scale])
    loaded = load_network(part, tiny_weights)
    # By object: another test may have left another module under the name.
    monkeypatch.setitem(Enhancer.__init__.__globals__, "load_network", lambda *_: loaded)
    enhance = preproc.EnhanceTransform("tiny-part", device="cpu", cache=tmp_path)
    assert enhance(chw(picture)).shape == (3, 40, 56)


def test_alpha_and_metadata_are_the_pictures_own_and_not_the_caches(transform, tmp_path, calls):
    enhance = transform(cache=tmp_path)
    opaque = Image.new("RGBA", (8, 8), (9, 99, 199, 255))
    half = Image.new("RGBA", (8, 8), (9, 99, 199, 128))
    half.info["dpi"] = (300, 300)
    assert enhance(opaque).getchannel("A").getextrema() == (255, 255)
    assert enhance(half).getchannel("A").getextrema() == (128, 128)
    assert enhance(half).info["dpi"] == (300, 300)
    assert calls == [1]


def test_other_content_model_weights_and_options_are_told_apart(
    transform, tmp_path, calls, picture, skip_weights, tiny_weights
):
    enhance = partial(transform, cache=tmp_path)
    enhance()(chw(picture))
    enhance()(chw(picture).flip(-1))
    enhance(to_input_size=True)(chw(picture))
    enhance(self_ensemble=True)(chw(picture))
    enhance(strength=0.5)(chw(picture))
    enhance(dtype="bfloat16")(chw(picture))
    enhance(tile=32)(chw(picture))
    enhance(overlap=4)(chw(picture))
    enhance(weights=skip_weights)(chw(picture))
    like = {"weights": tiny_weights, "device": "cpu", "dtype": "float32", "cache": tmp_path}
    preproc.EnhanceTransform("tiny-pooled", **like)(chw(picture))
    assert len(calls) == 10
    assert len(list(tmp_path.iterdir())) == 10
    # These change nothing of the result: the first entry serves.
    copy = tmp_path.parent / "copy.safetensors"
    copy.write_bytes(tiny_weights.read_bytes())
    enhance(weights=copy, batch_size=2, self_ensemble=False)(chw(picture))
    enhance(strength=1)(chw(picture))
    enhance(dtype=torch.float32)(chw(picture))
    assert len(calls) == 10


def test_another_version_of_the_package_makes_entries_of_its_own(
    transform, tmp_path, calls, picture, monkeypatch
):
    transform(cache=tmp_path)(chw(picture))
    monkeypatch.setattr("preproc.deferred.__version__", "0.0.1")
    transform(cache=tmp_path)(chw(picture))
    assert calls == [1, 1]


def test_a_batch_sends_only_what_the_cache_lacks(batch_stage, tmp_path, calls, picture):
    enhance = batch_stage(cache=tmp_path)
    a, b, c = chw(picture), chw(picture).flip(-1), chw(picture).flip(-2)
    (first,) = enhance([a])
    after = enhance([b, a, b, c])
    assert calls == [1, 2]
    assert torch.equal(after[1], first)
    assert torch.equal(after[0], after[2])
    assert torch.equal(torch.stack(after), torch.stack(batch_stage()([b, a, b, c])))


def test_a_damaged_entry_is_computed_again_and_mended(transform, tmp_path, calls, picture):
    enhance = transform(cache=tmp_path)
    expected = enhance(chw(picture))
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="is damaged and is made anew"):
        assert torch.equal(enhance(chw(picture)), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(enhance(chw(picture)), expected)
    assert len(calls) == 2


def test_a_cache_that_has_no_room_stops_nothing(transform, tmp_path, picture):
    enhance = transform(cache=PictureCache(tmp_path, limit=10))
    with pytest.warns(UserWarning, match="larger than the whole cache"):
        after = enhance(chw(picture))
    assert torch.equal(after, transform()(chw(picture)))
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_named_with_a_cache_as_without(tmp_path, picture):
    for cache in (None, tmp_path / "cache"):
        enhance = preproc.EnhanceTransform(
            "tiny", weights=tmp_path / "none.safetensors", device="cpu", cache=cache
        )
        with pytest.raises(WeightsError, match=r"none\.safetensors"):
            enhance(chw(picture))
