"""EnhanceTransform gives what an Enhancer gives, among torchvision's own, by the same options."""

from __future__ import annotations

import sys
from collections import UserDict
from inspect import signature

import numpy as np
import pytest
import torch
from conftest import chw
from PIL import Image

import preproc
from preproc import Enhancer
from preproc.errors import DeviceWarning, ImageError, ModelError, OptionError, PreprocError
from preproc.options import EnhancerOptions

tv_tensors = pytest.importorskip("torchvision.tv_tensors", reason="torchvision is not installed")
v2 = pytest.importorskip("torchvision.transforms.v2")


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


def test_pictures_that_torchvision_passes_by_are_refused(transform):
    array = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ImageError, match=r"numpy arrays.*v2\.ToImage\(\) first"):
        transform()({"image": array, "label": 3})
    with pytest.raises(ImageError, match="numpy arrays"):
        transform()(array, {"labels": torch.ones(2), "one hot": torch.eye(2)})
    with pytest.raises(ImageError, match="numpy arrays"):
        transform()({"image": array[..., 0], "label": 3})
    assert transform()(torch.zeros(3, 4, 5), array)[1] is array  # beside a picture it is data


def test_containers_of_any_make_are_only_looked_into(transform):
    class Listed(list):
        def __init__(self, items, meta):
            super().__init__(items)
            self.meta = meta

    kept = Listed([{"caption": "a cat"}], "meta")
    assert transform()(Image.new("RGB", (5, 4)), {"more": kept})[1]["more"][0] == kept[0]
    with pytest.raises(ImageError, match="numpy arrays"):
        transform()(UserDict(image=np.zeros((4, 5, 3), np.uint8)))


def test_it_stands_in_a_compose(transform, picture):
    steps = v2.Compose([transform(), v2.RandomCrop(32), v2.ToDtype(torch.float32, scale=True)])
    boxes = tv_tensors.BoundingBoxes([[0, 0, 14, 10]], format="XYXY", canvas_size=(10, 14))
    image, boxes = steps(tv_tensors.Image(chw(picture)), boxes)
    assert image.shape == (3, 32, 32)
    assert boxes.canvas_size == (32, 32)
    assert boxes.tolist() == [[0, 0, 32, 32]]


def test_a_picture_that_exif_calls_turned_lies_as_it_lay_with_its_boxes(transform, make, picture):
    image = Image.fromarray(picture)
    image.getexif()[0x0112] = 6
    image.info["exif"] = image.getexif().tobytes()
    assert make()(image).size == (40, 56)  # the enhancer itself turns it upright
    after = transform()(image)
    assert after.size == (56, 40)
    assert np.array_equal(np.asarray(after), make()(picture))
    assert after.getexif()[0x0112] == 6


def test_an_overlap_has_the_room_that_tiles_of_the_device_have():
    preproc.EnhanceTransform("tiny", device="cuda", overlap=300)
    for options in ({"device": "cpu"}, {"device": "cuda", "in_worker": "cpu"}):
        with pytest.raises(OptionError, match="Tiles of 512 px are too small"):
            preproc.EnhanceTransform("tiny", overlap=300, **options)
    preproc.EnhanceTransform("tiny", device="cpu", overlap=248)
    with pytest.raises(OptionError, match="too small for overlaps of 250 px"):
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
    error = ModelError if {"model", "scale"} & set(options) else OptionError
    for kind in (preproc.EnhanceTransform, preproc.EnhanceBatch):
        with pytest.raises(error, match=match):
            kind(**{"model": "tiny", **options})


def test_without_torchvision_the_package_works_and_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "preproc.transforms.enhance", raising=False)
    assert "EnhanceTransform" not in preproc.__all__  # for `from preproc import *`
    with pytest.raises(PreprocError, match=r"pip install .\.\[transforms\]. in the checkout"):
        _ = preproc.EnhanceTransform


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
        with pytest.raises(OptionError, match="Device 'cuda' cannot be used"):
            asked(image)
