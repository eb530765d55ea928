"""Transparency is kept in every kind of file, and hidden colours do not show."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import blocks, encoded, enlarge, of_orientation, with_chunk

from preproc.errors import DepthWarning, ImageError, OutputError
from preproc.pictures import png16
from preproc.pictures.images import decode
from preproc.pictures.saving import save


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_constant_alpha_stays_constant(rng, level):
    array = blocks((9, 7, 4), rng)
    array[..., 3] = level
    assert (enlarge(array)[..., 3] == level).all()


def test_alpha_is_resized_smoothly_and_without_halo():
    array = np.full((8, 8, 4), 255, np.uint8)
    array[:, :, 3] = 200
    array[:, :4, 3] = 60
    row = enlarge(array)[0, :, 3].astype(int)
    assert (row[:5] == 60).all()
    assert (row[-5:] == 200).all()
    assert (np.diff(row) >= 0).all()
    assert len(set(row)) > 2


def test_hidden_colours_do_not_seep_into_what_is_seen():
    array = np.zeros((9, 13, 4), np.uint8)
    array[3:5, 4:6] = (200, 100, 50, 255)
    array[0, 0] = (255, 255, 255, 0)
    color = decode(array).color
    assert (color == torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1)).all()


def test_a_picture_of_which_nothing_is_seen_keeps_its_colours_beside_others(rng):
    pictures = torch.from_numpy(rng.integers(0, 256, (3, 4, 9, 13), np.uint8))
    pictures[0, 3], pictures[1, 3], pictures[2, 3] = 0, 255, 100
    pictures[2, 3, :4] = 0
    color = decode(pictures).color
    assert torch.equal(color[:2], pictures[:2, :3])
    assert torch.equal(color[2, :, 4:], pictures[2, :3, 4:])
    assert not torch.equal(color[2, :, :4], pictures[2, :3, :4])


@pytest.mark.parametrize("level", [1, 100, 254])
def test_colours_that_are_hidden_in_part_are_their_own(rng, level):
    array = blocks((9, 13, 4), rng)
    array[:3, :, 3], array[3:, :6, 3], array[3:, 6:, 3] = 0, level, 255
    color = decode(array).color[0].permute(1, 2, 0)
    np.testing.assert_array_equal(color[3:], array[3:, :, :3])


def test_a_colour_key_becomes_alpha(photo):
    photo.putpixel((0, 0), (1, 2, 3))
    image = Image.open(io.BytesIO(encoded(photo, "PNG", transparency=(1, 2, 3))))
    result = enlarge(image)
    assert result.mode == "RGBA"
    assert "transparency" not in result.info
    assert image.info["transparency"] == (1, 2, 3), "the picture given keeps its own"
    assert result.getpixel((0, 0))[3] == 0
    assert result.getpixel((39, 23))[3] == 255


@pytest.mark.parametrize("level", [0, 1])
def test_a_transparent_level_of_black_and_white_becomes_alpha(photo, level):
    white = np.asarray(photo.convert("1", dither=Image.Dither.NONE))
    data = encoded(Image.fromarray(white), "PNG", transparency=level)
    result = Image.open(io.BytesIO(enlarge(data)))
    assert result.mode == "LA"
    hidden = (white == level).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(np.asarray(result)[..., 1] < 128, hidden)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255, 128, 255])])
def test_a_palette_keeps_its_transparency_through_saving(transparency):
    image = Image.fromarray(np.array([0, 1, 2, 3], np.uint8).repeat(64).reshape(16, 16))
    image = image.convert("P")
    image.putpalette([255, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 255])
    image.info["transparency"] = transparency
    result = enlarge(image)
    assert result.mode == "P"
    saved = Image.open(io.BytesIO(encoded(result, "PNG"))).convert("RGBA")
    rows = (2, 11, 19, 29)  # of their block's alpha and no other's
    levels = [0, 255, 255, 255] if transparency == 0 else [0, 255, 128, 255]
    got = [saved.getpixel((8, y))[3] for y in rows]
    assert [a for a in got if a in (0, 255)] == [a for a in levels if a in (0, 255)]
    np.testing.assert_allclose(got, levels, atol=16)  # 256 entries have to do for all shades
    assert saved.getpixel((8, 11)) == (255, 255, 255, 255)


def test_a_palette_that_itself_has_alpha_keeps_it(tmp_path):
    image = Image.new("RGBA", (40, 20))
    image.paste((0, 0, 0, 255), (5, 5, 15, 15))
    few = image.quantize(8)
    assert few.palette.mode == "RGBA"
    assert decode(few).alpha is not None
    result = enlarge(few)
    assert result.mode == "P"
    shown = np.asarray(result.convert("RGBA"))
    assert shown[20, 20].tolist() == [0, 0, 0, 255]
    assert shown[4, 4, 3] == shown[30, 60, 3] == 0
    with pytest.raises(OutputError, match="transparency"):
        save(few, tmp_path / "a.jpg")


def test_a_transparent_colour_of_sixteen_bits_becomes_alpha(rng):
    values = rng.integers(1, 65536, (6, 8, 3), np.uint16)
    values[:3] = values[0, 0]
    data = png16.write(values, {})
    key = b"tRNS" + values[0, 0].astype(">u2").tobytes()
    chunk = struct.pack(">I", 6) + key + struct.pack(">I", zlib.crc32(key))
    result = png16.read(enlarge(data[:33] + chunk + data[33:]))  # after IHDR
    assert result.shape == (12, 16, 4)
    np.testing.assert_array_equal(result[:4, :, 3], 0)
    np.testing.assert_array_equal(result[8:, :, :3], values.repeat(2, 0).repeat(2, 1)[8:])
    np.testing.assert_array_equal(result[8:, :, 3], 65535)


def test_a_transparent_grey_of_few_bits_becomes_alpha():
    rows = bytes([0, 0x05, 0x50, 0, 0x55, 0x12])  # two rows of four px, each after its filter
    size = struct.pack(">2I5B", 4, 2, 4, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        chunk = struct.pack(">I", len(body)) + kind + body
        data += chunk + struct.pack(">I", zlib.crc32(kind + body))
    alpha = decode(with_chunk(data, b"tRNS", struct.pack(">H", 5))).alpha
    assert (alpha[0, 0] == 0).tolist() == [[False, True, True, False], [True, True, False, False]]


def test_a_transparent_grey_of_sixteen_bits_becomes_alpha(tmp_path):
    values = np.array([[300, 301, 40000, 65535]] * 2, np.uint16)
    grey = encoded(Image.fromarray(values), "PNG", exif=of_orientation(3))
    data = with_chunk(grey, b"tRNS", struct.pack(">H", 300))
    result = png16.read(enlarge(data))
    assert result.shape == (4, 8, 2)
    np.testing.assert_array_equal(result[..., :6, 0], values[:, :0:-1].repeat(2, 0).repeat(2, 1))
    assert (result[0, 0, 1], result[0, 7, 1]) == (65535, 0)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.warns(DepthWarning, match="a.png has 16 bits .* pass the file's bytes"):
        assert enlarge(path).mode == "LA"
    with pytest.warns(DepthWarning):
        assert decode(path).alpha[0, 0, 0].tolist() == [255, 255, 255, 0]
    with pytest.warns(DepthWarning, match="mode I;16 with a transparent grey becomes one of"):
        assert decode(Image.open(path)).alpha[0, 0, 0].tolist() == [255, 255, 255, 0]
    damaged = with_chunk(grey, b"tRNS", bytes(4))
    assert png16.read(enlarge(damaged)).shape == (4, 8, 1), "no key that could be meant"
    path.write_bytes(with_chunk(grey, b"tEXt", b"transparency\0no"))
    assert enlarge(path).mode == "I;16"


def test_a_transparent_entry_of_a_palette_of_few_bits_stays_that_entry():
    image = Image.frombytes("P", (4, 1), bytes([0, 1, 2, 3]))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    data = encoded(image, "PNG", transparency=1)
    assert png16.kind_of(data)[0] == 2
    assert decode(data).alpha.flatten().tolist() == [255, 0, 255, 255]


@pytest.mark.filterwarnings("ignore::preproc.errors.DepthWarning")
def test_a_transparent_colour_of_sixteen_bits_is_not_another_in_eight(tmp_path):
    values = np.full((4, 4, 3), 0x3400, np.uint16)
    values[:2] = 0
    (tmp_path / "a.png").write_bytes(with_chunk(png16.write(values, {}), b"tRNS", b"\x34\x00" * 3))
    alpha = decode(tmp_path / "a.png").alpha
    assert (alpha[0, 0, :2] == 255).all()
    assert (alpha[0, 0, 2:] == 0).all()


def test_one_transparent_entry_of_a_full_palette_hides_its_px_only(rng):
    image = Image.frombytes("P", (16, 16), bytes(range(256)))
    image.putpalette(rng.bytes(768))
    image.info["transparency"] = 0
    alpha = np.asarray(enlarge(image).convert("RGBA"))[..., 3]
    assert np.argwhere(alpha < 255).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_bytes_of_a_gif_keep_their_transparency(photo):
    grey = photo.convert("L").point(lambda value: value // 4 * 4)
    shown = np.asarray(grey)[6, 10]
    data = encoded(grey, "GIF", transparency=int(shown), optimize=False)
    result = Image.open(io.BytesIO(enlarge(data))).convert("RGBA")
    assert np.asarray(result)[13, 21, 3] == 0


def test_bytes_of_a_tga_that_would_come_back_opaque_are_refused(photo):
    palette = photo.convert("RGBA")
    palette.putalpha(Image.linear_gradient("L").resize(photo.size))
    tga = encoded(palette.quantize(16), "TGA")
    if not Image.open(io.BytesIO(tga)).has_transparency_data:
        pytest.skip("this Pillow does not see a TGA palette's transparency")
    with pytest.raises(ImageError, match=r"as TGA again .*no place for transparency"):
        enlarge(tga)
