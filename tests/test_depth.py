"""Sixteen bits stay sixteen wherever Pillow can have them, and are told of where it cuts them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from sample_pictures import depth_of, encoded, enlarge, in_mode, is_deep, of_orientation, turned

from preproc.errors import DepthWarning
from preproc.pictures import png16
from preproc.pictures.images import decode
from preproc.pictures.opening import Depth


def test_sixteen_bit_grey_files_stay_sixteen_bit(rng, tmp_path):
    values = rng.integers(0, 65536, (6, 8), np.uint16)
    path = tmp_path / "grey.png"
    Image.fromarray(values).save(path)
    wanted = values.repeat(2, 0).repeat(2, 1)
    from_path = enlarge(path)
    from_bytes = Image.open(io.BytesIO(enlarge(path.read_bytes())))
    for result in (from_path, from_bytes):
        assert result.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(result), wanted)


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_png_bytes_stay_sixteen_bit(rng, profile, channels):
    values = rng.integers(1, 65536, (6, 8, channels), np.uint16)
    values[..., 3:] = 65535
    data = png16.write(values, {"icc_profile": profile, "dpi": (204, 98)})
    result = enlarge(data)
    assert is_deep(result)
    np.testing.assert_array_equal(png16.read(result), values.repeat(2, 0).repeat(2, 1))
    for file in (data, result):
        opened = Image.open(io.BytesIO(file))
        assert opened.info["icc_profile"] == profile
        assert [round(v) for v in opened.info["dpi"]] == [204, 98]


@pytest.mark.filterwarnings("ignore::preproc.errors.DepthWarning")
@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_png_bytes_are_turned_as_their_path_is(rng, tmp_path, orientation, channels):
    values = rng.integers(1, 65536, (6, 8, channels), np.uint16)
    if channels == 2:
        values[..., 1] = 40000  # alpha is enlarged by a filter
    data = png16.write(values, {"exif": of_orientation(orientation)})
    path = tmp_path / "deep.png"
    path.write_bytes(data)
    result = enlarge(data)
    wanted = turned(values, orientation).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(png16.read(result), wanted)
    np.testing.assert_array_equal(np.asarray(enlarge(path)), wanted >> 8)
    chunk = result[result.index(b"eXIf") + 4 :]
    assert chunk[:2] in (b"II", b"MM"), "a PNG's EXIF begins without the prefix of a JPEG's"
    kept = Image.open(io.BytesIO(result)).getexif()
    assert kept.get(0x0112, 1) == 1, "no viewer may turn it again"
    assert kept[0x010F] == "Maker"


def test_sixteen_bit_colour_as_pil_image_is_eight_bit_and_says_so(rng, tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(png16.write(rng.integers(0, 65536, (6, 8, 3), np.uint16), {}))
    with pytest.warns(DepthWarning, match=r"deep.png has 16 bits .* pass the file's bytes"):
        assert enlarge(path).mode == "RGB"


def test_sixteen_bit_grey_with_alpha_stays_so_in_bytes_and_grey_elsewhere(rng, tmp_path):
    values = rng.integers(1, 65536, (6, 8, 2), np.uint16)
    values[..., 1] = 40000
    data = png16.write(values, {})
    result = enlarge(data)
    assert is_deep(result)
    np.testing.assert_array_equal(png16.read(result), values.repeat(2, 0).repeat(2, 1))
    path = tmp_path / "deep.png"
    path.write_bytes(data)
    with pytest.warns(DepthWarning, match="deep.png has 16 bits"):
        assert enlarge(path).mode == "LA"
    assert decode(Image.open(path)).color.shape[1] == 1, "Pillow has it as RGBA"


def deep_tiff(values):
    """A TIFF of 16-bit RGB, which Pillow cannot write."""
    height, width, _ = values.shape
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 122), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 2), (273, 4, 1, 128), (277, 3, 1, 3), (278, 3, 1, height)]
    entries += [(279, 4, 1, values.nbytes)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
    return head + struct.pack("<3H", 16, 16, 16) + values.astype("<u2").tobytes()


def deep_ppm(values):
    return b"P6\n# a comment\n%d %d\n65535\n" % values.shape[1::-1] + values.astype(">u2").tobytes()


@pytest.mark.parametrize("make_file", [deep_tiff, deep_ppm])
def test_depth_that_pillow_cuts_is_said(rng, tmp_path, make_file):
    values = rng.integers(0, 65536, (6, 8, 3), np.uint16)
    path = tmp_path / "deep"
    path.write_bytes(make_file(values))
    for given, name in ((path, "deep"), (path.read_bytes(), "The file in the bytes")):
        with pytest.warns(DepthWarning, match=f"{name} has 16 bits a colour, of which Pillow"):
            color = decode(given).color[0].permute(1, 2, 0).numpy()
        assert np.abs(color - values / 257).max() <= 1


@pytest.mark.parametrize(
    ("form", "before", "at", "value", "bits"),
    [
        ("JPEG2000", b"\xff\x4f\xff\x51", 38, 15, 16),
        ("AVIF", b"av1C", 2, 0x40, 10),
        ("AVIF", b"av1C", 2, 0x60, 12),
    ],
)
def test_headers_of_formats_pillow_writes_in_8_bits_only(photo, form, before, at, value, bits):
    data = bytearray(encoded(photo, form))
    assert depth_of(data) == Depth(8, "Pillow")
    data[data.index(before) + len(before) + at] |= value
    data = data.replace(b"\x03\x08\x08\x08", bytes([3, bits, bits, bits]))  # AVIF says it twice
    assert depth_of(data) == Depth(bits, None)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM", "JPEG"])
def test_depth_that_is_kept_is_not_warned_of(photo, form):
    for mode in ("RGB", "L", "1", "I;16"):
        if (form, mode) not in (("JPEG", "I;16"), ("JPEG", "1")):
            decode(encoded(in_mode(photo, mode), form))


def tiff12(values, photometric=1, bits=12):
    """A TIFF of grey with 12 or 16 bits a px, little-endian; Pillow writes no such files."""
    height, width = values.shape
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(int)
        first, second = pairs[:, 0], pairs[:, 1]
        parts = (first >> 4, (first & 15) << 4 | second >> 8, second & 255)
        pixels = np.stack(parts, 1).astype(np.uint8).tobytes()
    else:
        pixels = values.astype("<u2").tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8 + 2 + 12 * 9 + 4), (277, 1), (278, height), (279, len(pixels))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels


def test_deep_grey_of_a_tiff_reaches_from_black_to_white():
    twelve = np.array([[0, 1000, 2048, 4095]] * 2, np.uint16)
    deep = np.array([[0, 100, 30000, 65535]] * 2, np.uint16)
    for data, wanted in (
        (tiff12(twelve), (twelve * (65535 / 4095)).round()),
        (tiff12(deep, bits=16), deep),
        (tiff12(deep, photometric=0, bits=16), 65535 - deep),
    ):
        result = Image.open(io.BytesIO(enlarge(data)))
        assert result.tag_v2[262] == 1
        np.testing.assert_array_equal(np.asarray(result), wanted.repeat(2, 0).repeat(2, 1))
