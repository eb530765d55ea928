"""What engines are shown: any picture as RGB of 8 bits, with all that is visible in it."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from fake_engines import Bicubic
from PIL import Image

from integrations.view import look
from preproc.errors import ModelError
from preproc.pictures import png16


def test_an_enhancer_of_another_scale_than_it_says_is_refused(monkeypatch):
    enhancer = Bicubic(2)
    picture = np.zeros((4, 5, 3), np.uint8)
    view = look(picture, enhancer)
    assert (view.rgb.shape, view.scale) == ((8, 10, 3), 2)
    for answer in (
        lambda _, img: img,
        lambda _, img: img.repeat(2, 0).repeat(2, 1) / 255,
        lambda _, img: img.repeat(2, 0).repeat(2, 1)[..., 0],
        lambda _, img: img.repeat(2, 0).repeat(2, 1)[..., :1],
    ):
        monkeypatch.setattr(Bicubic, "__call__", answer)
        with pytest.raises(ModelError, match="scale 2"):
            look(picture, enhancer)


@pytest.mark.parametrize(
    "given",
    [
        np.arange(60, dtype=np.uint8).reshape(4, 5, 3),
        np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3),
        torch.arange(60, dtype=torch.uint8).view(3, 4, 5),
        torch.arange(60, dtype=torch.uint8).view(4, 5, 3).permute(2, 0, 1),
    ],
    ids=["array", "batch", "tensor", "turned tensor"],
)
def test_engines_get_the_usual_layout_and_may_write_to_it(given):
    before = given.copy() if isinstance(given, np.ndarray) else given.clone()
    rgb = look(given, None).rgb
    assert rgb.flags.c_contiguous
    rgb[:] = 9
    assert (given == before).all()


def test_grey_deep_and_transparent_pictures_become_rgb():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = np.repeat(grey[..., None], 3, axis=2)
    for given in (grey, grey.astype(np.uint16) * 257, grey / np.float32(255)):
        np.testing.assert_array_equal(look(given, None).rgb, expected)
    opaque = np.dstack([expected, np.full_like(grey, 255)])
    np.testing.assert_array_equal(look(opaque, None).rgb, expected)


def test_files_of_16_bits_are_the_same_picture_everywhere_without_a_word(tmp_path, rng):
    deep = rng.integers(0, 2**16, (9, 11, 3), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    data = png16.write(np.rot90(deep), {"exif": exif})
    path = tmp_path / "deep.png"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (path, str(path), data, deep):
            np.testing.assert_array_equal(look(given, None).rgb, np.rint(deep / 257))


def test_bytes_of_every_kind_are_a_file():
    with io.BytesIO() as file:
        Image.new("RGB", (5, 4), "red").save(file, "PNG")
        data = file.getvalue()
    for given in (data, bytearray(data), memoryview(data)):
        assert (look(given, None).rgb == (255, 0, 0)).all()


def test_a_batch_of_one_is_its_picture():
    picture = np.arange(120, dtype=np.uint8).reshape(4, 10, 3)
    for one in (picture[None], torch.from_numpy(picture).permute(2, 0, 1)[None]):
        np.testing.assert_array_equal(look(one, None).rgb, picture)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("ink", "hidden"), [(0, 255), (255, 0), (0, 0)])
def test_what_is_drawn_on_nothing_stays_visible(mode, ink, hidden):
    """Whatever colour the px around it were left in."""
    drawn = np.zeros((20, 40), bool)
    drawn[8:12, 5:35] = True
    grey = np.where(drawn, ink, hidden).astype(np.uint8)
    alpha = np.where(drawn, 255, 0).astype(np.uint8)
    image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    seen = look(image.convert(mode) if mode != "LA" else image, None).rgb
    assert (seen[drawn] == ink).all()
    assert (seen[~drawn] == 255 - ink).all()


@pytest.mark.parametrize(
    ("mode", "ink", "ground"),
    [
        ("LA", (80,), 255),
        ("LA", (120,), 255),
        ("LA", (135,), 0),
        ("LA", (180,), 0),
        ("RGBA", (80, 120, 60), 255),
        ("RGBA", (180, 90, 255), 0),
    ],
)
def test_what_is_drawn_on_nothing_lies_on_what_it_stands_out_from(mode, ink, ground):
    image = Image.new(mode, (6, 4))
    image.paste((*ink, 255), (0, 0, 2, 4))
    seen = look(image, None).rgb
    assert (seen[:, :2] == ink).all()
    assert (seen[:, 2:] == ground).all()


def test_what_shows_through_by_a_part_is_mixed_with_its_ground():
    image = Image.new("LA", (6, 4), (80, 102))
    array = np.array(image.convert("RGBA"))
    for given in (image, array, array.astype(np.uint16) * 257, array / np.float32(255)):
        assert (look(given, None).rgb == 0.4 * 80 + 0.6 * 255).all()


def test_what_hardly_shows_does_not_choose_the_ground():
    image = Image.new("LA", (40, 20), (255, 2))
    image.paste((0, 255), (5, 5, 15, 15))
    seen = look(image, None).rgb
    assert (seen[5:15, 5:15] == 0).all()
    assert (seen[:, 20:] == 255).all()


def test_nothing_visible_is_a_blank_picture():
    assert (look(np.zeros((4, 5, 4), np.uint8), None).rgb == 255).all()
