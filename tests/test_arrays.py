"""Arrays and tensors keep their shape, dtype, order of colours and device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import blocks, enlarge

from preproc.errors import OptionError
from preproc.pictures.images import decode


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
def test_arrays_keep_shape_and_dtype(rng, dtype, shape):
    peak = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    array = (rng.random(shape) * peak).astype(dtype)
    if len(shape) == 3 and shape[2] in (2, 4):
        array[..., -1] = peak
    result = enlarge(array)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, array.repeat(2, 0).repeat(2, 1), atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (4, 5, 7), (2, 3, 5, 7), (2, 1, 5, 7)])
def test_tensors_keep_shape_and_dtype(dtype, shape):
    peak = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
    tensor = (torch.rand(shape) * peak).to(dtype)
    if shape[-3] == 4:
        tensor[3] = peak
    result = enlarge(tensor)
    assert (result.dtype, result.ndim) == (dtype, len(shape))
    wanted = tensor.float().repeat_interleave(2, -2).repeat_interleave(2, -1)
    torch.testing.assert_close(result.float(), wanted)


def test_a_tensor_with_a_gradient_gives_one_without():
    assert not enlarge(torch.rand(3, 5, 7, requires_grad=True)).requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_come_back_to_their_device():
    assert enlarge(torch.rand(3, 5, 7, device="cuda")).device.type == "cuda"


def test_the_input_is_left_alone(rng):
    array = blocks((8, 8, 4), rng)
    array[:4, :, 3] = 0
    before = array.copy()
    array.flags.writeable = False
    enlarge(array)
    assert (array == before).all()


def test_views_and_foreign_byte_order_are_read_right(rng):
    array = rng.integers(0, 65536, (6, 8, 3), np.uint16)
    wanted = enlarge(array)
    np.testing.assert_array_equal(enlarge(array[::-1, ::-1])[::-1, ::-1], wanted)
    swapped = enlarge(array.astype(">u2"))
    assert swapped.dtype == np.dtype(">u2")
    np.testing.assert_array_equal(swapped, wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(1, 6, 3), (6, 1, 3), (1, 1, 3), (1, 6), (6, 1)])
def test_flipped_arrays_of_one_row_or_column_are_taken(rng, dtype, shape):
    array = rng.integers(0, 2, shape, np.uint8).astype(dtype)
    for flipped in (array[::-1], array[:, ::-1], array[::-1, ::-1]):
        np.testing.assert_array_equal(enlarge(flipped), flipped.repeat(2, 0).repeat(2, 1))


def test_bgr_arrays_are_turned_to_rgb_inside_and_back_outside(rng):
    bgra = blocks((8, 8, 4), rng)
    bgra[..., 3] = 255
    color = decode(bgra, "bgr").color[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(color, bgra[..., 2::-1])
    np.testing.assert_array_equal(enlarge(bgra, "bgr"), enlarge(bgra))


def test_bgr_says_nothing_about_pil_images(photo):
    assert torch.equal(decode(photo, "bgr").color, decode(photo).color)


def test_a_little_overshoot_of_floats_is_allowed():
    values = np.array([[-0.2, 1.2]], np.float32)
    for given in (values, Image.fromarray(values * 255)):
        np.testing.assert_allclose(decode(given).color, values[None, None])


def test_an_order_of_channels_that_there_is_not_is_a_sentence(rng):
    with pytest.raises(OptionError, match="must be 'rgb' or 'bgr', but is 'bgrr'"):
        decode(rng.random((4, 5, 3), np.float32), "bgrr")
