"""What runs on CUDA has the CPU's answer, on every path; skipped where there is no CUDA."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import photograph as bytes_of

from preproc import Enhancer
from preproc.execution import host_copy, tiles
from preproc.execution.devices import choose_device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

NEAR = {"float32": 1 / 255, "bfloat16": 4 / 255, "float16": 2 / 255}
"""How far off a value may be; convolutions in float32 are TF32 where the GPU has it."""


def photograph(height: int, width: int) -> np.ndarray:
    """Float32 (H, W, 3), so that differences are not rounded."""
    return bytes_of(height, width).astype(np.float32) / 255


def enhanced(model: str, picture: np.ndarray, device: str, **options: object) -> np.ndarray:
    result: np.ndarray = Enhancer(model, device=device, **options)(picture)
    return result


@pytest.mark.parametrize("dtype", list(NEAR))
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("cajnn-light", {}),
        ("cajnn-light", {"fast": False, "strips": False}),
        ("cajnn-light", {"to_input_size": True}),
        ("cajnn-light", {"tile": 96, "batch_size": 4}),
        ("cajnn-light", {"self_ensemble": True}),
        ("cajnn-light", {"compiled": True}),
        ("cajnn", {}),
        ("cisrnet-light", {}),
        ("cisrnet-light", {"layerwise": True}),
    ],
)
def test_every_path_gives_the_cpus_picture(model, options, dtype):
    picture = photograph(90, 130)
    kept = {k: v for k, v in options.items() if k in ("to_input_size", "self_ensemble")}
    wanted = enhanced(model, picture, "cpu", dtype="float32", **kept)
    given = enhanced(model, picture, "cuda", dtype=dtype, **options)
    assert np.abs(given - wanted).max() <= NEAR[dtype]


def test_crops_and_regions_are_those_of_the_cpu():
    picture = photograph(90, 130)
    boxes = [(3, 5, 60, 30), (40, 50, 130, 90), (0, 0, 20, 20)]
    crops = [picture[top:bottom, left:right] for left, top, right, bottom in boxes]
    here, there = (Enhancer(device=d, dtype="float32") for d in ("cpu", "cuda"))
    for given, wanted in zip(there(crops), here(crops), strict=True):
        assert np.abs(given - wanted).max() <= NEAR["float32"]
    for given, wanted in zip(
        there.regions(picture, boxes), here.regions(picture, boxes), strict=True
    ):
        assert np.abs(given - wanted).max() <= NEAR["float32"]


@pytest.mark.parametrize("dtype", list(NEAR))
@pytest.mark.parametrize("to_input_size", [False, True])
@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("cajnn", [(31, 90), (20, 70), (25, 96)]),
        ("cajnn-light", [(31, 90), (20, 70), (25, 96)]),
        ("cajnn-light", [(128, 490), (120, 510)]),
    ],
)
def test_pictures_that_share_a_batch_have_the_cpus_answers(
    monkeypatch, sizes, model, to_input_size, dtype
):
    masks, stack = [], tiles.stack

    def watched(pictures):
        batch, mask = stack(pictures)
        masks.append(mask)
        return batch, mask

    pictures = [photograph(*size) for size in sizes]
    here = Enhancer(model, device="cpu", dtype="float32", to_input_size=to_input_size)
    wanted = [here(picture) for picture in pictures]
    there = Enhancer(model, device="cuda", dtype=dtype, to_input_size=to_input_size)
    monkeypatch.setattr(tiles, "stack", watched)
    given = there(pictures)
    assert any(mask is not None for mask in masks)
    for one, other in zip(given, wanted, strict=True):
        assert np.abs(one - other).max() <= NEAR[dtype]


@pytest.mark.parametrize("to_input_size", [False, True])
@pytest.mark.parametrize("kind", ["px by px", "planes", "floats", "grey", "uint16"])
def test_results_that_come_down_while_others_are_computed_are_the_same(
    monkeypatch, kind, to_input_size
):
    picture = bytes_of(150, 130)
    if kind == "planes":
        picture = torch.from_numpy(picture).permute(2, 0, 1).contiguous()
    elif kind == "floats":
        picture = picture.astype(np.float32) / 255
    elif kind == "grey":
        picture = picture[..., 0]
    elif kind == "uint16":
        picture = picture.astype(np.uint16) * 257
    enhance = Enhancer(device="cuda", tile=96, to_input_size=to_input_size)
    at_once = enhance(picture)
    monkeypatch.setattr(host_copy, "_LARGE", 0)
    np.testing.assert_array_equal(np.asarray(enhance(picture)), np.asarray(at_once))


def test_a_tensor_on_the_gpu_stays_there():
    picture = torch.from_numpy(photograph(20, 30)).permute(2, 0, 1).cuda()
    result = Enhancer()(picture)
    assert result.device == picture.device
    assert result.shape == (3, 80, 120)


def test_the_device_stays_the_same_when_another_becomes_current():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    with torch.cuda.device(1):
        enhance = Enhancer()
    assert enhance.device == torch.device("cuda", 1)
    assert enhance(photograph(20, 30)).shape == (80, 120, 3)
    assert choose_device() == torch.device("cuda", 0)


def test_every_gpu_has_graphs_of_its_own():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    crops = [photograph(32, 100)[:, left : left + 50] for left in range(0, 50, 10)]
    for device in ("cuda:0", "cuda:1"):
        enhance, plain = (Enhancer(device=device, fast=fast) for fast in (True, False))
        for crop in crops:
            assert np.abs(enhance(crop) - plain(crop)).max() <= NEAR["bfloat16"]


@pytest.mark.parametrize("model", ["cajnn-light", "cajnn", "cisrnet-light"])
def test_crops_of_a_shape_that_comes_again_are_those_of_a_first_one(model):
    crops = [photograph(32, 100)[:, left : left + 50] for left in range(0, 50, 10)]
    enhance = Enhancer(model, device="cuda")
    given = [enhance(crop) for crop in crops]
    for crop, result in zip(crops, given, strict=True):
        plain = Enhancer(model, device="cuda", fast=False)(crop)
        assert np.abs(result - plain).max() <= NEAR["bfloat16"]
    assert np.abs(given[0] - given[-1]).max() > NEAR["bfloat16"]
