"""EXIF, XMP, profiles, resolutions and texts are kept as far as they are true of the result."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin, TiffTags
from PIL.PngImagePlugin import PngInfo
from sample_pictures import encoded, enlarge, is_deep, of_orientation, turned, with_chunk

from preproc.box import Box
from preproc.errors import MetadataWarning
from preproc.pictures import png16
from preproc.pictures.images import decode
from preproc.pictures.metadata import metadata_of
from preproc.pictures.rewriting import rewritten
from preproc.pictures.saving import save


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
    np.testing.assert_array_equal(enlarge(image), result, "the image given is as it was")


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


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_that_was_edited_or_deleted_is_not_that_of_the_file_again(photo, form):
    data = encoded(photo, form, exif=of_orientation(6))
    edited, turned, emptied, untold = images = [Image.open(io.BytesIO(data)) for _ in range(4)]
    for image in images:
        image.load()  # a TIFF's own tags say how
    edited.getexif()[0x010F] = "Other"
    assert enlarge(edited).getexif()[0x010F] == "Other"
    turned.getexif()[0x0112] = 1
    assert enlarge(turned).size == (2 * turned.width, 2 * turned.height)
    assert enlarge(turned).getexif().get(0x0112, 1) == 1
    emptied.getexif().clear()
    assert not dict(enlarge(emptied).getexif())
    untold.getexif().get_ifd(0x8825)[1] = "N"
    assert enlarge(untold).getexif().get_ifd(0x8825) == {1: "N"}


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


@pytest.mark.parametrize("kind", ["RGB", "P", "16-bit RGB"])
@pytest.mark.parametrize("profiled", [False, True])
def test_a_png_says_of_its_colours_what_the_source_said(photo, profile, kind, profiled):
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100000))
    chunks.add(b"cHRM", struct.pack(">8I", *range(30000, 38000, 1000)))
    if not profiled:
        chunks.add(b"sRGB", b"\1")
    given = {"pnginfo": chunks} | ({"icc_profile": profile} if profiled else {})
    if kind == "16-bit RGB":
        data = png16.write(np.asarray(photo).astype(np.uint16) * 257, given)
    else:
        data = encoded(photo.convert(kind), "PNG", **given)
    kept = Image.open(io.BytesIO(enlarge(data))).info
    assert kept["gamma"] == 1
    assert kept["chromaticity"] == (0.3, 0.31, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37)
    assert kept.get("srgb") == (None if profiled else 1)


def test_a_profile_given_to_a_picture_takes_the_place_of_srgb(photo, profile):
    photo.info |= {"srgb": 0, "icc_profile": profile}
    chunks = metadata_of(photo, "PNG")["pnginfo"].chunks
    assert not chunks


@pytest.mark.parametrize(
    "info",
    [
        {"gamma": "2.2", "chromaticity": "wide", "srgb": "1"},
        {"gamma": float("nan"), "chromaticity": (0.3,) * 7, "srgb": 4},
        {"gamma": -1.0, "chromaticity": (*[0.3] * 7, "x"), "srgb": -1},
        {"gamma": 1e9, "chromaticity": [float("inf")] * 8},
    ],
    ids=["texts", "too few", "negative", "too large"],
)
def test_what_cannot_be_said_of_colours_is_left_out(photo, info):
    photo.info |= info
    chunks = metadata_of(photo, "PNG")["pnginfo"].chunks
    assert {kind for kind, *_ in chunks} <= {b"tEXt"}
    assert Image.open(io.BytesIO(encoded(photo, "PNG", **metadata_of(photo, "PNG")))).size == (
        20,
        12,
    )


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


@pytest.mark.parametrize("keyword", ["dpi", "transparency", "icc_profile", "exif"])
def test_a_text_of_any_keyword_does_no_harm(photo, tmp_path, keyword):
    data = with_chunk(encoded(photo, "PNG"), b"tEXt", keyword.encode() + b"\0yes")
    (tmp_path / "a.png").write_bytes(data)
    wanted = np.asarray(enlarge(photo))
    np.testing.assert_array_equal(np.asarray(enlarge(tmp_path / "a.png")), wanted)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(enlarge(data)))), wanted)
    save(enlarge(tmp_path / "a.png"), tmp_path / "b.png")


def test_damaged_exif_does_not_cost_the_picture(photo):
    image = photo.copy()
    image.info["exif"] = b"Exif\0\0MM\0*garbage"
    assert enlarge(image).size == (40, 24)
