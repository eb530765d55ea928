"""What a picture says of itself goes along: EXIF, XMP, resolution and texts, as far as they fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from picture_files import double, picture
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from preproc.batch import run as batch
from preproc.batch.plan import Job
from preproc.errors import MetadataWarning
from preproc.pictures.saving import save

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="A sign"/></rdf:RDF></x:xmpmeta>'
)


def test_metadata_survives_and_the_orientation_goes(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    for name in ("a.jpg", "a.png", "a.tif", "a.webp", "a.avif"):
        facts = {"exif": exif, "icc_profile": profile, "dpi": (300, 300), "comment": "noon"}
        source = picture(tmp_path / "in" / name, **facts)
        job = Job(source, tmp_path / "out" / name)
        save(double(batch.load(job)), job.target)
        result = Image.open(job.target)
        assert result.getexif().get(0x010F) == "A camera", name
        assert result.getexif().get(0x0112, 1) == 1, name
        assert result.info["icc_profile"] == profile, name
        if name not in ("a.webp", "a.avif"):  # which have no place for it
            assert tuple(map(round, result.info["dpi"])) == (300, 300), name
        if name == "a.jpg":
            assert result.info["comment"] == b"noon"

    image = Image.new("RGB", (4, 4))
    for dpi in ((300, 300), 300):
        image.info["dpi"] = dpi
        save(image, tmp_path / "a.bmp", overwrite=True)
        assert tuple(map(round, Image.open(tmp_path / "a.bmp").info["dpi"])) == (300, 300)


@pytest.mark.parametrize("name", ["b.jpg", "b.png", "b.webp", "b.tif", "b.avif"])
def test_what_a_camera_noted_survives_in_every_format(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0xA002: 8, 0xA003: 6, 0x9003: "2026:01:02 03:04:05"}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    job = Job(picture(tmp_path / "a.jpg", exif=exif.tobytes()), tmp_path / name)
    save(double(batch.load(job)), job.target)
    with Image.open(job.target) as result:
        kept = result.getexif()
        taken = {0xA002: 16, 0xA003: 12, 0x9003: "2026:01:02 03:04:05"}
        assert kept.get_ifd(0x8769) == taken, "the size is the result's"
        assert kept.get_ifd(0x8825) == {1: "N", 2: (1.0, 2.0, 3.0)}
        result.load()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_tags_about_the_file_they_came_from_change_nothing(tmp_path: Path, name: str) -> None:
    layout = [*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338]
    layout += [320, 330, 339, 347, *range(512, 522), *range(529, 533), 700, 34675]
    for folder, tags in (("plain", []), ("tiled", layout)):
        image, exif = Image.new("RGB", (4, 4), "red"), Image.Exif()
        exif[0x010F] = "A camera"
        exif.update(dict.fromkeys(tags, 7))
        image.info["exif"] = exif.tobytes()
        save(image, tmp_path / folder / name)
    assert (tmp_path / "tiled" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_exif_too_long_for_jpeg_is_left_out_with_a_warning(tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (4, 4)), Image.Exif()
    exif[0x010E] = "a" * 65536
    image.info["exif"] = exif.tobytes()
    with pytest.warns(MetadataWarning, match="JPEG holds 65533 bytes; write PNG"):
        save(image, tmp_path / "a.jpg")
    assert not Image.open(tmp_path / "a.jpg").getexif()


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
def test_xmp_goes_along_without_its_orientation(tmp_path: Path, source: str) -> None:
    exif = Image.Exif()
    if source == "a.png":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
        picture(tmp_path / source, pnginfo=chunks)
    elif source == "a.tif":
        exif[700] = XMP
        picture(tmp_path / source, exif=exif)
    else:
        picture(tmp_path / source, xmp=XMP)
    for name in ("b.jpg", "b.png", "b.webp", "b.tif", "b.avif"):
        job = Job(tmp_path / source, tmp_path / "out" / name)
        save(double(batch.load(job)), job.target, overwrite=True)
        result = Image.open(job.target)
        wanted = XMP.replace(b' tiff:Orientation="6"', b"")
        assert result.info["xmp"].split() == wanted.split(), name
        assert result.getexif().get(0x0112, 1) == 1, "no viewer may turn it again"


def test_an_orientation_that_is_an_element_of_xmp_goes_too(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    before, after = b"<rdf:Description><dc:title>A sign</dc:title>", b"</rdf:Description>"
    image.info["xmp"] = before + b"<tiff:Orientation>6</tiff:Orientation>" + after
    save(image, tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").info["xmp"] == before + after


def test_xmp_as_long_as_jpeg_holds_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    image.info["xmp"] = XMP.replace(b' tiff:Orientation="6"', b"").ljust(65504)
    save(image, tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").info["xmp"] == image.info["xmp"]


def test_xmp_too_long_for_jpeg_is_left_out_with_a_warning(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    image.info["xmp"] = XMP + b" " * 65536
    save(image, tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").info["xmp"].startswith(b"<x:xmpmeta")
    with pytest.warns(MetadataWarning, match="JPEG holds 65504 bytes; write PNG"):
        save(image, tmp_path / "a.jpg")
    assert "xmp" not in Image.open(tmp_path / "a.jpg").info


@pytest.mark.parametrize("dpi", [1e6, 1e12])
def test_a_resolution_beyond_all_printers_is_none(tmp_path: Path, dpi: float) -> None:
    image = Image.new("RGB", (4, 4))
    image.info["dpi"] = (dpi, dpi)
    for name in ("a.png", "a.jpg", "a.bmp", "a.tif"):
        save(image, tmp_path / name)
        assert Image.open(tmp_path / name).info.get("dpi", (1, 1))[0] < 100


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_a_dpi_that_is_no_resolution_is_left_out(tmp_path: Path, name: str) -> None:
    for dpi in ((0, 0), (72, 0), (float("inf"), 72), (float("nan"), 72)):
        image = Image.new("RGB", (4, 4))
        image.info["dpi"] = dpi
        save(image, tmp_path / name, overwrite=True)
        plain = Image.new("RGB", (4, 4))
        save(plain, tmp_path / "plain" / name, overwrite=True)
        assert (tmp_path / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_texts_go_from_png_to_png(tmp_path: Path) -> None:
    chunks = PngInfo()
    chunks.add_text("Author", "Me")
    chunks.add_text("Comment", "long " * 99, zip=True)
    chunks.add_itxt("Title", "Schild \u4e2d", "de", "Titel")
    chunks.add_text("Raw profile type exif", "of the old file")
    source = picture(tmp_path / "a.png", pnginfo=chunks)
    for name in ("b.png", "b.jpg"):
        job = Job(source, tmp_path / name)
        save(double(batch.load(job)), job.target)
    with Image.open(tmp_path / "b.png") as result:
        texts = {"Author": "Me", "Comment": "long " * 99, "Title": "Schild \u4e2d"}
        assert result.text == texts
        assert result.text["Title"].lang == "de"


def test_the_compression_of_a_tiff_is_no_text_of_a_png(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.tif", compression="tiff_lzw")
    job = Job(source, tmp_path / "a.png")
    save(batch.load(job), job.target)
    assert Image.open(job.target).text == {}
