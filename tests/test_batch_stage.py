"""EnhanceBatch enlarges the pictures of a batch as one, with their targets."""

from __future__ import annotations

import pytest
import torch
from conftest import chw
from PIL import Image

import preproc
from preproc.errors import ImageError

tv_tensors = pytest.importorskip("torchvision.tv_tensors", reason="torchvision is not installed")


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


def test_what_comes_one_by_one_is_not_taken_for_an_empty_batch(batch_stage, picture):
    with pytest.raises(ImageError, match="A generator is not a batch"):
        batch_stage()(image for image in [chw(picture)])
    with pytest.raises(ImageError, match="A map is not a batch"):
        batch_stage()([chw(picture)], map(dict, [{}]))


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_on_the_gpu_comes_back_on_the_gpu(tiny_weights, make, picture):
    enhance = preproc.EnhanceBatch("tiny", weights=tiny_weights, dtype="float32")
    after = enhance(chw(picture)[None].cuda())
    assert after.is_cuda
    difference = after[0].cpu().int() - chw(make()(picture)).int()
    assert difference.abs().max() <= 1
