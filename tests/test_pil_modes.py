"""PIL images of every mode come back in their mode and colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import enlarge, in_mode

from preproc.pictures.images import decode

MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
MODES += ["LAB", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"]


def as_rgba(image):
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


@pytest.mark.parametrize("mode", MODES)
def test_every_pil_mode_comes_back_in_its_mode_and_colours(photo, mode):
    image = in_mode(photo, mode)
    result = enlarge(image)
    assert (result.mode, result.size) == (mode, (40, 24))
    if mode.startswith("I") or mode == "F":
        shown, expected = np.asarray(result), np.asarray(image)
    else:
        shown, expected = (np.asarray(as_rgba(i)) for i in (result, image))
    difference = np.abs(shown.astype(float) - expected.repeat(2, 0).repeat(2, 1))
    # LAB, HSV and premultiplied colours lose up to this much by going to RGB and back at all.
    assert difference.max() <= {"LAB": 12, "HSV": 6, "YCbCr": 3, "RGBa": 3, "La": 3}.get(mode, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "I", "F", "I;16", "I;16B"])
def test_grey_modes_go_in_as_grey(photo, mode):
    assert decode(in_mode(photo, mode)).color.shape[1] == 1


def test_32_bit_integers_are_sixteen_bit_grey():
    image = Image.fromarray(np.array([[0, 300], [40000, 65535]], np.int32))
    assert decode(image).color.tolist() == [[[[0, 300], [40000, 65535]]]]
    result = enlarge(image)
    assert result.mode == "I"
    np.testing.assert_array_equal(result, np.asarray(image).repeat(2, 0).repeat(2, 1))


def test_bilevel_results_are_thresholded_and_not_dithered(photo):
    picture = decode(photo.convert("1"))
    for grey, bilevel in ((100, 0), (160, 255)):
        result = picture.pack(torch.full_like(picture.color, grey))
        assert result.getcolors() == [(12 * 20, bilevel)]


def test_a_palette_of_greys_is_grey():
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("P")
    assert decode(image).color.shape[1] == 1
    assert enlarge(image).mode == "P"


def test_black_ink_stays_black_ink():
    image = Image.new("CMYK", (8, 8), (0, 0, 0, 255))
    assert enlarge(image).getcolors() == [(256, (0, 0, 0, 255))]
    paper = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert enlarge(paper).getcolors() == [(256, (0, 0, 0, 0))]


def test_where_a_result_is_lighter_it_has_less_black_ink():
    picture = decode(Image.merge("CMYK", [Image.new("L", (8, 8), ink) for ink in (9, 0, 0, 255)]))
    light = torch.tensor([200, 100, 50], dtype=torch.uint8)
    result = picture.pack(light.view(1, 3, 1, 1).expand(1, 3, 8, 8))
    assert result.mode == "CMYK"
    assert np.abs(np.asarray(result.convert("RGB")) - light.numpy().astype(int)).max() <= 2
