from __future__ import annotations

import errno
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import (
    Image,
    ImageCms,
    ImageDraw,
    PngImagePlugin,
    PsdImagePlugin,
    TiffImagePlugin,
    TiffTags,
)
from PIL.PngImagePlugin import PngInfo

from preproc.box import Box
from preproc.errors import DepthWarning, ImageError, MetadataWarning, OutputError
from preproc.pictures import png16
from preproc.pictures.images import decode
from preproc.pictures.opening import Depth, open_picture
from preproc.pictures.rewriting import rewritten
from preproc.pictures.saving import save

MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
MODES += ["LAB", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"]


def enlarge(img, channel_order="rgb"):
    """Through decode and pack with the simplest stage there is: every px twice."""
    picture = decode(img, channel_order)
    return picture.pack(picture.color.repeat_interleave(2, -2).repeat_interleave(2, -1))


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def depth_of(data):
    return open_picture(io.BytesIO(data)).depth


def is_deep(data):
    return depth_of(data) == Depth(16, "png16")


def blocks(shape, rng, high=256, dtype=np.uint8):
    """A picture of 4x4 px blocks, so that no filter's overshoot is in the way of comparing."""
    small = rng.integers(0, high, (-(-shape[0] // 4), -(-shape[1] // 4), *shape[2:]), dtype)
    return small.repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]]


@pytest.fixture
def photo(rng):
    return Image.fromarray(blocks((12, 20, 3), rng))


def in_mode(photo, mode):
    if mode in ("La", "RGBa"):
        return in_mode(photo, mode.upper()).convert(mode)
    if mode in ("LA", "PA", "RGBA"):
        image = photo.convert("P" if mode == "PA" else mode[:-1]).convert(mode)
        image.putalpha(200)
        return image
    if mode.startswith("I;16"):
        values = np.asarray(photo.convert("L")).astype(np.uint16) * 257 - (0 if mode == "I" else 3)
        order = ">u2" if mode == "I;16B" else "<u2"
        return Image.frombytes(mode, photo.size, values.astype(order).tobytes())
    return photo.convert(mode)


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


@pytest.mark.parametrize("kind", ["array", "bgr", "float", "alpha", "tensor", "PIL", "JPEG"])
def test_grey_stored_as_rgb_goes_in_as_grey_and_comes_out_as_rgb(photo, kind):
    grey = np.asarray(photo.convert("L"))
    rgb = np.stack([grey] * 3, axis=-1)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=40)
    given = {
        "array": rgb,
        "bgr": rgb,
        "float": rgb.astype(np.float32) / 255,
        "alpha": np.concatenate([rgb, np.full_like(rgb[..., :1], 90)], axis=-1),
        "tensor": torch.from_numpy(rgb).permute(2, 0, 1),
        "PIL": Image.fromarray(rgb),
        "JPEG": file.getvalue(),
    }[kind]
    picture = decode(given, "bgr" if kind == "bgr" else "rgb")
    assert picture.color.shape[1] == 1
    packed = picture.pack(picture.color.repeat(1, 1, 2, 2))
    assert type(packed) is type(given)
    back = decode(packed)
    assert back.color.shape[1] == 1, "three equal planes came out"
    shape = np.asarray(Image.open(io.BytesIO(packed)) if kind == "JPEG" else packed).shape
    assert sorted(shape)[0] == (4 if kind == "alpha" else 3)
    # A crop of a coloured picture may be grey by chance; the result of the whole is not.
    assert decode(packed).pack(torch.cat([back.color] * 3, 1)) is not None
    if kind not in ("PIL", "JPEG"):
        planes = packed if kind == "tensor" else np.moveaxis(packed, -1, 0)
        planes[0] = 0
        assert (planes[1] > 0).any(), "each plane is one of its own"


@pytest.mark.parametrize("odd", range(3))
def test_two_equal_planes_are_no_grey(rng, odd):
    array = np.repeat(rng.integers(0, 200, (6, 8, 1), np.uint8), 3, 2)
    array[..., odd] += 50
    assert decode(array).color.shape[1] == 3


def test_a_grey_picture_stays_grey_beside_coloured_ones(rng):
    grey, coloured = rng.random((2, 3, 6, 8)).astype(np.float32)
    grey[:] = grey[0]
    picture = decode(torch.from_numpy(np.stack([grey, coloured])))
    assert picture.color.shape == (2, 3, 6, 8)
    tint = torch.tensor([0.0, 0.3, 0.1]).view(3, 1, 1)
    tinted = (picture.color + tint).clamp(0, 1)
    result = picture.pack(tinted)
    assert torch.equal(result[0, 0], result[0, 1])
    assert torch.equal(result[0, 1], result[0, 2])
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # Pillow's
    torch.testing.assert_close(result[0, 0], (tinted[0] * weights).sum(0))
    assert torch.equal(result[1], tinted[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_under_holes_of_any_colour_is_grey(rng, dtype):
    peak = 1 if dtype is np.float32 else np.iinfo(dtype).max
    array = (rng.random((37, 29, 4)) * peak).astype(dtype)
    array[..., 1] = array[..., 2] = array[..., 0]
    array[10:20, 5:25, 3], array[10:20, 5:25, 0] = 0, peak
    assert decode(array).color.shape[1] == 1


def test_a_network_that_tints_does_not_tint_grey(make):
    paper = Image.new("RGB", (40, 24), "white")
    ImageDraw.Draw(paper).text((2, 5), "Grey", fill="black")
    scan = Image.open(io.BytesIO(encoded(paper, "JPEG", quality=40)))
    assert scan.mode == "RGB"
    for given in (scan, np.asarray(scan), [scan, np.asarray(scan).astype(np.uint16) * 257]):
        results = make()(given)
        for result in results if isinstance(given, list) else [results]:
            samples = np.asarray(result).astype(int)
            assert samples.shape == (96, 160, 3)
            assert np.ptp(samples, axis=2).max() == 0


def test_a_grey_region_of_a_coloured_picture_is_what_the_whole_has_there(make, rng):
    img = rng.integers(0, 256, (40, 60, 3), np.uint8)
    img[10:20, 20:40] = img[10:20, 20:40, :1]
    enhancer = make()
    [crop] = enhancer.regions(img, [(20, 10, 40, 20)])
    np.testing.assert_array_equal(crop, enhancer(img)[40:80, 80:160])
    assert np.ptp(crop.astype(int), axis=2).max() > 0, "its neighbours colour it"


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


def turned(pixels, orientation):
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels),
    }[orientation]


def of_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_once(photo, orientation):
    exif = of_orientation(orientation)
    image = Image.open(io.BytesIO(encoded(photo, "PNG", exif=exif)))
    result = enlarge(image)
    upright = turned(np.asarray(photo), orientation)
    np.testing.assert_array_equal(np.asarray(result), upright.repeat(2, 0).repeat(2, 1))
    kept = result.getexif()
    assert kept.get(0x0112, 1) == 1, "no viewer may turn it again"
    assert kept[0x010F] == "Maker"


@pytest.fixture(scope="module")
def profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_profile_and_dpi_survive_saving(photo, profile, form):
    source = Image.open(io.BytesIO(encoded(photo, form, icc_profile=profile, dpi=(300, 300))))
    saved = Image.open(io.BytesIO(encoded(enlarge(source), form)))
    assert saved.info["icc_profile"] == profile
    assert [round(v) for v in saved.info["dpi"]] == [300, 300]


def test_exif_of_a_tiff_is_kept_without_what_describes_its_file(photo, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    path = tmp_path / "photo.tif"
    photo.save(path, exif=exif)
    from_bytes = Image.open(io.BytesIO(enlarge(path.read_bytes())))
    for result in (enlarge(Image.open(path)), enlarge(str(path)), from_bytes):
        saved = Image.open(io.BytesIO(encoded(result, "TIFF", exif=result.getexif())))
        assert saved.size == (40, 24)
        assert saved.getexif()[0x010F] == "Maker"
    kept = Image.Exif()
    kept.load(enlarge(str(path)).info["exif"])
    assert dict(kept) == {0x010F: "Maker"}


def test_exif_that_an_image_got_in_memory_is_kept(photo):
    photo.getexif()[0x010F], photo.getexif()[0x0112] = "Maker", 6
    result = enlarge(photo)
    assert result.size == (24, 40)
    assert dict(result.getexif()) == {0x010F: "Maker"}


@pytest.mark.parametrize("place", ["info", "getexif"])
def test_taken_as_stored_an_image_keeps_its_orientation(photo, place):
    if place == "info":
        photo.info["exif"] = of_orientation(6).tobytes()
    else:
        photo.getexif().update(of_orientation(6))
    picture = decode(photo, upright=False)
    result = picture.pack(picture.color)
    np.testing.assert_array_equal(np.asarray(result), np.asarray(photo))
    assert dict(result.getexif()) == {0x0112: 6, 0x010F: "Maker"}


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


def test_what_a_camera_noted_is_kept_rather_than_the_compression_of_a_tiff(photo):
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2026:01:02 03:04:05"}
    original = Image.open(io.BytesIO(encoded(photo, "TIFF", exif=exif.tobytes())))
    original.info["compression"] = "tiff_lzw"
    with Image.open(io.BytesIO(rewritten(original, original))) as back:
        assert back.getexif().get_ifd(0x8769) == {0x9003: "2026:01:02 03:04:05"}


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="A sign"/></rdf:RDF></x:xmpmeta>'
)


def with_xmp(image, form):
    if form == "PNG":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return encoded(image, form, pnginfo=chunks)
    if form == "TIFF":
        exif = Image.Exif()
        exif[700] = XMP
        return encoded(image, form, exif=exif)
    return encoded(image, form, xmp=XMP)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
def test_bytes_keep_xmp_without_its_orientation(photo, form):
    result = Image.open(io.BytesIO(enlarge(with_xmp(photo, form))))
    assert result.info["xmp"].split() == XMP.replace(b' tiff:Orientation="6"', b"").split()
    assert result.getexif().get(0x0112, 1) == 1, "no viewer may turn it again"


@pytest.mark.parametrize("kind", ["RGB", "P", "16-bit RGB"])
def test_bytes_of_a_png_keep_texts_and_kind(photo, kind):
    chunks = PngInfo()
    chunks.add_text("Author", "Me")
    chunks.add_text("Title", "Schild \u4e2d")
    chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
    if kind == "16-bit RGB":
        data = png16.write(np.asarray(photo).astype(np.uint16) * 257, {"pnginfo": chunks})
    else:
        data = encoded(photo.convert(kind), "PNG", pnginfo=chunks)
    result = enlarge(data)
    assert is_deep(result) == (kind == "16-bit RGB")
    opened = Image.open(io.BytesIO(result))
    assert opened.mode == ("P" if kind == "P" else "RGB")
    assert (opened.text["Author"], opened.text["Title"]) == ("Me", "Schild \u4e2d")
    assert b"A sign" in opened.info["xmp"]
    assert b"Orientation" not in opened.info["xmp"]


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF", "16-bit PNG"])
def test_exif_of_bytes_says_the_size_of_the_result(photo, form):
    exif = of_orientation(6)
    exif[0x8769] = {0xA002: photo.width, 0xA003: photo.height, 0x9003: "2026:01:02 03:04:05"}
    if form == "16-bit PNG":
        data = png16.write(np.asarray(photo).astype(np.uint16) * 257, {"exif": exif})
    else:
        data = encoded(photo, form, exif=exif.tobytes())
    kept = Image.open(io.BytesIO(enlarge(data))).getexif()
    details = kept.get_ifd(0x8769)
    assert (details[0xA002], details[0xA003]) == (2 * photo.height, 2 * photo.width)
    assert (kept[0x010F], details[0x9003]) == ("Maker", "2026:01:02 03:04:05")


def test_paths_come_back_as_pil_images(photo, tmp_path):
    path = tmp_path / "photo.png"
    photo.save(path)
    for given in (path, str(path)):
        np.testing.assert_array_equal(np.asarray(enlarge(given)), np.asarray(enlarge(photo)))


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
    assert result.getpixel((0, 0))[3] == 0
    assert result.getpixel((39, 23))[3] == 255


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


def with_chunk(data, kind, body):
    """A PNG with one more chunk after its header."""
    chunk = struct.pack(">I", len(body)) + kind + body
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(kind + body)) + data[33:]


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


@pytest.mark.parametrize("keyword", ["dpi", "transparency", "icc_profile", "exif"])
def test_a_text_of_any_keyword_does_no_harm(photo, tmp_path, keyword):
    data = with_chunk(encoded(photo, "PNG"), b"tEXt", keyword.encode() + b"\0yes")
    (tmp_path / "a.png").write_bytes(data)
    wanted = np.asarray(enlarge(photo))
    np.testing.assert_array_equal(np.asarray(enlarge(tmp_path / "a.png")), wanted)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(enlarge(data)))), wanted)
    save(enlarge(tmp_path / "a.png"), tmp_path / "b.png")


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


def test_only_a_geotiff_of_its_own_size_keeps_its_place_on_the_ground(photo, tmp_path):
    tags, ground = TiffImagePlugin.ImageFileDirectory_v2(), {33550, 33922, 34264, 34735, 34736}
    for tag in ground:
        tags[tag], tags.tagtype[tag] = (0.5, 0.5, 0.0), TiffTags.DOUBLE
    tags[270], tags[34737] = "a field", "WGS 84"
    ground.add(34737)
    photo.save(tmp_path / "a.tif", tiffinfo=tags)
    picture = decode(tmp_path / "a.tif")
    save(picture.pack(picture.color), tmp_path / "same.tif")
    with pytest.warns(MetadataWarning, match="GeoTIFF's tags are left out"):
        save(enlarge(tmp_path / "a.tif"), tmp_path / "larger.tif")
    with pytest.warns(MetadataWarning, match="GeoTIFF's tags are left out"):
        save(picture.pack(picture.color, Box(0, 0, 10, 6)), tmp_path / "part.tif")
    names = ("same.tif", "larger.tif", "part.tif")
    kept = [Image.open(tmp_path / name).getexif() for name in names]
    assert [ground & tags.keys() for tags in kept] == [ground, set(), set()]
    assert [tags[270] for tags in kept] == ["a field"] * 3


def test_a_tiff_that_tells_no_resolution_gets_none(photo):
    data = encoded(photo, "TIFF")
    for result in (enlarge(data), encoded(enlarge(Image.open(io.BytesIO(data))), "TIFF")):
        tags = Image.open(io.BytesIO(result)).tag_v2
        assert not {282, 283} & set(tags)


def test_a_resolution_of_nothing_is_not_handed_on(photo):
    photo.info["dpi"] = (float("nan"), float("nan"))
    assert "dpi" not in Image.open(io.BytesIO(encoded(enlarge(photo), "PNG"))).info


def test_one_transparent_entry_of_a_full_palette_hides_its_px_only(rng):
    image = Image.frombytes("P", (16, 16), bytes(range(256)))
    image.putpalette(rng.bytes(768))
    image.info["transparency"] = 0
    alpha = np.asarray(enlarge(image).convert("RGBA"))[..., 3]
    assert np.argwhere(alpha < 255).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


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


# ------------------------------------------------------------------------------- bad input


def truncated_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")[:1500]


def animation():
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "is not a picture in a known format"),
        (truncated_jpeg(), "is truncated or damaged"),
        (truncated_jpeg()[:100], "is (truncated or damaged|no picture)"),
        (animation(), "holds 2 frames"),
        (None, "A NoneType is not a picture"),
        (3.5, "A float is not a picture"),
        ("https://a.example/b.png", "URLs are not fetched.*pass its content as bytes"),
        (np.zeros((0, 5, 3), np.uint8), "has no px"),
        (np.zeros((5, 0), np.float32), "has no px"),
        (torch.zeros(3, 0, 5), "has no px"),
        (torch.zeros(0, 3, 5, 5), "has no px"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((3, 40, 50), np.uint8), r"shape \(3, 40, 50\); pass channels-first data as a t"),
        (np.zeros((2, 4, 5, 3), np.uint8), "several pictures as a list"),
        (torch.zeros(40, 50, 3), r"shape \(40, 50, 3\); pass channels-last data as a numpy"),
        (torch.zeros(40, 50), r"shape \(40, 50\)"),
        (np.zeros((5, 5), np.int32), "int32"),
        (np.zeros((5, 5), bool), "bool"),
        (np.array([["a"]]), "<U1"),
        (torch.zeros(3, 5, 5, dtype=torch.int64), "int64"),
        (np.full((5, 5), np.nan), "NaN"),
        (torch.full((3, 5, 5), float("inf")), "NaN or infinite"),
        (np.full((5, 5), 255.0), "reach from 255 to 255; divide by"),
        (torch.full((3, 5, 5), -2.5), "from -2.5 to -2.5; if they were normalised, enhance before"),
        (np.full((5, 5), -1.0, np.float32), "reach from -1 to -1"),
        (Image.fromarray(np.full((4, 4), 65536, np.int32)), "from 65536 to 65536"),
        (Image.fromarray(np.full((4, 4), -1, np.int32)), "from -1 to -1"),
        (Image.fromarray(np.full((4, 4), 0.5, np.float32)), "F counts from 0 to 255.*0.5 to 0.5"),
        (Image.fromarray(np.eye(4, dtype=np.float32)), "F counts from 0 to 255.*0 to 1;"),
        (Image.fromarray(np.full((4, 4), 4000.0, np.float32)), "F counts from 0 to 255"),
        (Image.fromarray(np.full((4, 4), -900.0, np.float32)), "F counts from 0 to 255"),
        (Image.fromarray(np.full((4, 4), np.nan, np.float32)), "NaN"),
    ],
)
def test_bad_input_is_one_clear_sentence(bad, sentence):
    with pytest.raises(ImageError, match=sentence) as caught:
        decode(bad)
    assert "\n" not in str(caught.value)


def test_bad_paths_name_the_path(tmp_path):
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.touch()
    text.write_text("hello")
    for path, sentence in (
        (tmp_path / "none.png", "There is no file .*none.png"),
        (tmp_path, "cannot be read: Is a directory"),
        (empty, "empty.png is empty"),
        (text, "text.png is not a picture"),
    ):
        with pytest.raises(ImageError, match=sentence):
            decode(path)


@pytest.mark.parametrize("upright", [True, False])
def test_a_truncated_file_that_pillow_opened_lazily_is_a_sentence(upright):
    with pytest.raises(ImageError, match="The PIL image is truncated or damaged"):
        decode(Image.open(io.BytesIO(truncated_jpeg())))


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError, NotImplementedError, TypeError, KeyError),
        *(AttributeError, ZeroDivisionError, OverflowError, AssertionError),
    ],
)
def test_whatever_pillow_makes_of_a_damaged_file_is_a_sentence(photo, monkeypatch, error):
    def fail(_):
        raise error("Failed to decode frame 0")

    data = encoded(photo, "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_end", fail)
    with pytest.raises(ImageError, match=r"truncated or damaged .*Failed to decode frame 0"):
        decode(data)
    with pytest.raises(ImageError, match=r"truncated or damaged .*Failed to decode frame 0"):
        decode(Image.open(io.BytesIO(data)))


def test_a_spider_file_that_says_it_is_one_of_a_stack_is_a_sentence():
    data = bytearray(encoded(Image.new("F", (30, 20), 99), "SPIDER"))
    data[104:108] = np.float32(1).tobytes()  # which one; Pillow fails with an AttributeError
    with pytest.raises(ImageError, match="truncated or damaged"):
        decode(bytes(data))


def test_a_disk_that_fails_is_not_taken_for_a_damaged_file():
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() >= 2**16:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    with pytest.raises(OSError, match="Input/output error") as caught:
        open_picture(Failing(encoded(Image.fromarray(noise), "PNG")))
    assert caught.value.errno == errno.EIO


def test_and_so_it_is_for_its_regions(make):
    with pytest.raises(ImageError, match="The PIL image is truncated or damaged"):
        make().regions(Image.open(io.BytesIO(truncated_jpeg())), [(0, 0, 8, 8)])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_names_and_lists_that_are_no_pictures_are_one_sentence(make):
    with pytest.raises(ImageError, match="not the name of a file"):
        decode("a\0b")
    with pytest.raises(ImageError, match="Picture 0 of the list: A list is not a picture") as error:
        make()([[np.zeros((2, 2), np.uint8)]])
    assert "or a list" not in str(error.value)


def test_damaged_exif_does_not_cost_the_picture(photo):
    image = photo.copy()
    image.info["exif"] = b"Exif\0\0MM\0*garbage"
    assert enlarge(image).size == (40, 24)


def test_a_decompression_bomb_is_refused(photo, monkeypatch):
    data = encoded(photo, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(
        ImageError, match=r"large once decoded .*\w\); .* raise PIL.Image.MAX_IMAGE_PIXELS"
    ):
        decode(data)


def test_a_little_overshoot_of_floats_is_allowed():
    values = np.array([[-0.2, 1.2]], np.float32)
    for given in (values, Image.fromarray(values * 255)):
        np.testing.assert_allclose(decode(given).color, values[None, None])


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
