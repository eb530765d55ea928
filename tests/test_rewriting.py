"""Files given as bytes or by path come back in their format, in its quality, or not at all."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, PsdImagePlugin, TiffImagePlugin
from sample_pictures import blocks, encoded, enlarge, in_mode

from preproc.errors import ImageError
from preproc.pictures.images import decode


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_bytes_whose_result_pillow_would_find_suspiciously_large_come_back(
    photo, monkeypatch, mode
):
    data = encoded(in_mode(photo, mode), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12 * 20)
    result = enlarge(data)
    monkeypatch.undo()
    assert Image.open(io.BytesIO(result)).size == (40, 24)


@pytest.mark.parametrize(("form", "side"), [("ICO", 100), ("ICO", 200), ("ICNS", 30)])
def test_icons_come_back_in_their_size_or_not_at_all(rng, form, side):
    icon = Image.fromarray(blocks((side, side, 3), rng))
    data = encoded(icon, form, **({"sizes": [icon.size]} if form == "ICO" else {}))
    size = Image.open(io.BytesIO(data)).size
    if form == "ICO" and side == 100:
        assert Image.open(io.BytesIO(enlarge(data))).size == (2 * size[0], 2 * size[1])
        return
    with pytest.raises(ImageError, match=f"cannot be written as {form} again"):
        enlarge(data)


def test_bytes_of_an_avif_do_not_become_one_that_nobody_reads():
    data = encoded(Image.new("RGB", (16385, 1)), "AVIF")
    with pytest.raises(ImageError, match=r"cannot be written as AVIF again .*at most 32768 px"):
        enlarge(data)


def test_a_phone_s_jpeg_with_a_second_picture_comes_back_as_the_jpeg_of_the_first(photo):
    data = encoded(photo, "MPO", save_all=True, append_images=[photo.rotate(180)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    result = Image.open(io.BytesIO(enlarge(data)))
    assert (result.format, result.size) == ("JPEG", (40, 24))
    plain = Image.open(io.BytesIO(enlarge(encoded(photo, "JPEG"))))
    assert result.quantization == plain.quantization


def test_of_a_psd_with_layers_its_main_picture_is_taken(photo, monkeypatch):
    head = b"8BPS" + struct.pack(">H6x HIIHH", 1, 3, photo.height, photo.width, 8, 3)
    planes = b"".join(band.tobytes() for band in photo.split())
    monkeypatch.setattr(PsdImagePlugin.PsdImageFile, "n_frames", 2)
    picture = decode(head + bytes(12) + bytes(2) + planes)
    np.testing.assert_array_equal(picture.color[0].permute(1, 2, 0), np.asarray(photo))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM"])
def test_bytes_come_back_as_bytes_of_the_same_format(photo, profile, form):
    data = encoded(photo, form, icc_profile=profile)
    assert enlarge(bytearray(data)) == enlarge(memoryview(data)) == enlarge(data)
    result = Image.open(io.BytesIO(enlarge(data)))
    assert (result.format, result.size) == (form, (40, 24))
    assert ("icc_profile" in result.info) == ("icc_profile" in Image.open(io.BytesIO(data)).info)


@pytest.mark.parametrize(
    ("form", "colours"),
    [("JPEG", {"subsampling": "4:4:4"}), ("WEBP", {}), ("AVIF", {"subsampling": "4:4:4"})],
)
def test_bytes_of_lossy_formats_come_back_at_q95_with_all_colours(photo, form, colours):
    data = encoded(photo, form)
    result = enlarge(Image.open(io.BytesIO(data)))
    assert enlarge(data) == encoded(result, form, quality=95, **colours)


def test_bytes_of_a_tiff_that_was_compressed_with_loss_lose_nothing_more(photo):
    data = encoded(photo, "TIFF", compression="jpeg")
    result = Image.open(io.BytesIO(enlarge(data)))
    assert result.info["compression"] == "tiff_adobe_deflate"
    np.testing.assert_array_equal(
        np.asarray(result), np.asarray(enlarge(Image.open(io.BytesIO(data))))
    )


def tiff(image, compression="raw"):
    """The bytes of a TIFF with a scanner's tags; not compressed, a resolution of 0/0, too."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[297], tags[321] = (0, 1), (1, 2)
    if compression == "raw":
        tags[282] = tags[283] = TiffImagePlugin.IFDRational(0, 0)
        tags[296] = 2
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", tiffinfo=tags, compression=compression)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_bytes_of_a_scanner_stay_compressed_and_lose_what_would_be_garbage(
    make_skip, compression
):
    image = Image.new("RGB", (24, 16), (200, 90, 30))
    given = tiff(image, compression)
    results = [make_skip()(given) for _ in range(2)]
    assert results[0] == results[1]
    with Image.open(io.BytesIO(results[0])) as back:
        assert back.size == (96, 64)
        assert back.info["compression"] == compression
        assert not {297, 321} & set(back.getexif())


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_tiff_bytes_keep_their_mode(make_skip, mode):
    image = Image.new(mode, (24, 16), "white" if mode == "CMYK" else (200, 90, 30))
    with Image.open(io.BytesIO(make_skip()(tiff(image)))) as back:
        assert back.mode == mode


def test_paths_come_back_as_pil_images(photo, tmp_path):
    path = tmp_path / "photo.png"
    photo.save(path)
    for given in (path, str(path)):
        np.testing.assert_array_equal(np.asarray(enlarge(given)), np.asarray(enlarge(photo)))
