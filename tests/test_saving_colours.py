"""Every mode is held as nearly as a format can: its depth, transparency and colour profile."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from picture_files import run
from PIL import Image, ImageCms

from preproc.batch import run as batch
from preproc.batch.plan import make_plan
from preproc.errors import OutputError
from preproc.pictures.saving import save


def linear_grey_profile() -> bytes:
    """The least ICC profile of grey with linear light: D50 white and the identity as its curve."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(8)
    tags = [(b"wtpt", 156, white), (b"kTRC", 176, curve)]
    head = struct.pack(
        ">I4sI4s4s4s12x4s4s24x3i48x",
        *(188, b"", 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp", b"", 63190, 65536, 54061),
    )
    table = struct.pack(">I", len(tags))
    table += b"".join(struct.pack(">4sII", name, at, len(body)) for name, at, body in tags)
    return head + table + b"".join(body for _, _, body in tags)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("a.jpg", "L L RGB RGB CMYK"),
        ("a.bmp", "1 L RGB RGB RGB"),
        ("a.webp", "RGB RGB RGB RGB RGB"),
        ("a.tif", "1 L RGB RGB CMYK"),
        ("a.png", "1 L RGB RGB RGB"),
        ("a.jp2", "L L RGB RGB RGB"),
    ],
)
def test_every_common_mode_without_alpha_is_held_as_nearly_as_can_be(
    tmp_path: Path, name: str, held: str
) -> None:
    for mode, wanted in zip(("1", "L", "RGB", "P", "CMYK"), held.split(), strict=True):
        save(Image.new(mode, (4, 4)), tmp_path / mode / name)
        result = Image.open(tmp_path / mode / name)
        assert (result.mode, result.size) == (wanted, (4, 4))


@pytest.mark.parametrize(
    ("mode", "held"),
    [("LAB", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("RGBX", "RGB"), ("PA", "RGBA")],
)
def test_modes_that_a_format_lacks_become_colours(tmp_path: Path, mode: str, held: str) -> None:
    save(Image.new(mode, (4, 4)), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == held


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_stays_16_bit(tmp_path: Path, name: str) -> None:
    values = np.arange(0, 65535, 1000, dtype=np.uint16).reshape(6, 11)
    (tmp_path / "in").mkdir()
    Image.fromarray(values).save(tmp_path / "in" / name)
    run(make_plan([str(tmp_path / "in")], tmp_path / "out"))
    result = np.asarray(Image.open(tmp_path / "out" / name))
    assert result.dtype == np.uint16
    assert np.array_equal(result[::2, ::2], values)


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_held_in_either_byte_order(tmp_path: Path, mode: str, name: str) -> None:
    values = np.array([[0, 100, 256, 30000, 65535]], np.uint16)
    order = ">u2" if mode == "I;16B" else "<u2"
    image = Image.frombytes(mode, (5, 1), values.astype(order).tobytes())
    image.info["icc_profile"] = linear_grey_profile()
    save(image, tmp_path / name)
    with Image.open(tmp_path / name) as held:
        assert np.asarray(held).tolist() == values.tolist()
        assert held.info["icc_profile"] == linear_grey_profile()


def test_integers_that_fit_into_16_bits_go_into_a_png(tmp_path: Path) -> None:
    for values in ([[0, 65535]], [[-1, 0]], [[0, 65536]]):
        image = Image.fromarray(np.array(values, np.int32))
        if values == [[0, 65535]]:
            save(image, tmp_path / "a.png")
            assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == values
            continue
        with pytest.raises(
            OutputError, match=r"A \.png file cannot hold .*depth .*write it as tif"
        ):
            save(image, tmp_path / "b.png")


def test_opaque_alpha_is_no_hindrance(tmp_path: Path) -> None:
    save(Image.new("RGBA", (4, 4), (200, 10, 10, 255)), tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").mode == "RGB"


def test_transparency_of_a_palette_is_never_lost(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4))
    image.info["transparency"] = 0
    with pytest.raises(OutputError, match=r"A \.jpg file cannot hold the picture's transparency"):
        save(image, tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_colours_are_held(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode.upper(), (4, 4), (200, 100) if mode == "La" else (200, 9, 9, 100))
    save(image.convert(mode), tmp_path / "a.webp", quality=100)
    result = Image.open(tmp_path / "a.webp")
    assert np.allclose(result.getpixel((1, 1)), image.convert("RGBA").getpixel((1, 1)), atol=3)


def test_a_new_colour_space_gets_no_profile_of_the_old_one(tmp_path: Path) -> None:
    """WebP has no grey: a grey picture's profile, or a wrong one, would spoil its colours."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (b"damaged", srgb):
        image = Image.new("L", (4, 4), 128)
        image.info["icc_profile"] = profile
        save(image, tmp_path / "a.webp", quality=100, overwrite=True)
        result = Image.open(tmp_path / "a.webp")
        assert "icc_profile" not in result.info
        assert result.getpixel((1, 1)) == (128, 128, 128)
        assert image.info["icc_profile"] == profile, "the picture given keeps its own"


def test_a_new_colour_space_is_reached_through_the_profile(tmp_path: Path) -> None:
    """Mid-grey of a linear-light profile is a light grey in sRGB."""
    image, exif = Image.new("L", (4, 4), 128), Image.Exif()
    exif[0x010F] = "A camera"
    image.info.update(icc_profile=linear_grey_profile(), exif=exif.tobytes())
    save(image, tmp_path / "a.webp", quality=100)
    result = Image.open(tmp_path / "a.webp")
    assert np.allclose(result.getpixel((1, 1)), 188, atol=2)
    assert result.getexif()[0x010F] == "A camera"


@pytest.mark.parametrize("name", ["a.bmp", "a.ppm", "a.tga", "a.jp2"])
def test_where_no_profile_fits_colours_become_those_of_srgb(tmp_path: Path, name: str) -> None:
    grey = Image.new("L", (16, 16), 128)
    grey.info["icc_profile"] = linear_grey_profile()
    save(grey, tmp_path / "grey" / name)
    held = Image.open(tmp_path / "grey" / name)
    assert (held.mode, held.getpixel((1, 1))) == ("L", pytest.approx(188, abs=2))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red_is_blue = srgb.replace(b"rXYZ", b"tXYZ", 1).replace(b"bXYZ", b"rXYZ", 1)
    red = Image.new("RGB", (16, 16), (200, 100, 90))
    red.info["icc_profile"] = red_is_blue.replace(b"tXYZ", b"bXYZ", 1)
    for image in (red, red.quantize(4)):
        save(image, tmp_path / name, overwrite=True)
        held = Image.open(tmp_path / name)
        assert (held.mode, held.getpixel((1, 1))) == (
            "RGB",
            pytest.approx((90, 100, 200), abs=2),
        )


@pytest.mark.parametrize("name", ["a.webp", "a.avif"])
def test_transparent_grey_goes_through_its_profile_too(tmp_path: Path, name: str) -> None:
    image = Image.new("LA", (16, 16), (128, 255))
    image.putalpha(Image.linear_gradient("L").resize((16, 16)))
    image.info["icc_profile"] = linear_grey_profile()
    save(image, tmp_path / name, quality=100)
    result = Image.open(tmp_path / name)
    assert result.mode == "RGBA"
    assert np.allclose(result.getpixel((8, 15))[:3], 188, atol=3)
    alpha = np.asarray(result.getchannel("A"), int)
    assert np.abs(alpha - np.asarray(image.getchannel("A"))).max() <= 2


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("name", ["a.tga", "a.jp2"])
def test_transparency_is_kept_where_no_profile_fits(tmp_path: Path, name: str, mode: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new(mode, (16, 16))
    image.putalpha(Image.linear_gradient("L").resize((16, 16)))
    image.info["icc_profile"] = linear_grey_profile() if mode == "LA" else srgb
    save(image, tmp_path / name)
    held = Image.open(tmp_path / name)
    assert held.mode == mode
    assert held.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_a_profile_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    profile = bytearray(linear_grey_profile())
    at = profile.index(b"kTRC")
    profile[at : at + 4] = b"none"
    image = Image.new("L", (4, 4), 128)
    image.info["icc_profile"] = bytes(profile)
    save(image, tmp_path / "a.webp", quality=100)
    assert Image.open(tmp_path / "a.webp").getpixel((1, 1)) == (128, 128, 128)


def test_a_grey_palette_with_a_profile_stays_in_its_colours(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("L", (8, 8), 90).convert("P")
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in/a.png", icc_profile=srgb)
    (job,) = make_plan([str(tmp_path / "in")], tmp_path / "out").jobs
    loaded = batch.load(job)
    assert (loaded.mode, loaded.info["icc_profile"]) == ("RGB", srgb)
