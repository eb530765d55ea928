"""Phones save photographs as HEIC: with pillow-heif it goes in as any other picture does."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preproc.batch import run as batch
from preproc.batch.inputs import picture_extensions
from preproc.batch.plan import Job, make_plan
from preproc.errors import DepthWarning, ImageError
from preproc.pictures import heif
from preproc.pictures.images import decode
from preproc.pictures.picture import Picture
from preproc.training.data.folder import Folder

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
ORIENTATION, MAKER = 0x0112, 0x010F


def heic(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=-1, chroma=444, **options)
    return buffer.getvalue()


def box(brand: bytes, *others: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(others)
    return (8 + len(body)).to_bytes(4, "big") + b"ftyp" + body + b"\0\0\0\x08free" + b"heic"


def furthest(picture: Picture, pixels: np.ndarray) -> int:
    color = picture.color[0].permute(1, 2, 0).numpy()
    return int(np.abs(color.astype(int) - pixels).max())


@pytest.fixture
def pixels() -> np.ndarray:
    return (
        np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    )


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where pillow-heif is not installed; other tests may have plugged it in already."""
    monkeypatch.setattr(heif, "plug_in", lambda: False)
    for ending in [e for e, name in Image.registered_extensions().items() if name == "HEIF"]:
        monkeypatch.delitem(Image.EXTENSION, ending)


@pytest.mark.parametrize(
    ("header", "is_one"),
    [
        (box(b"heic", b"mif1"), True),
        (box(b"heix"), True),
        (box(b"mif1", b"mif1", b"heic"), True),
        (box(b"mif1", b"mif1", b"avif"), False),
        (box(b"avif", b"mif1"), False),
        (b"\xff\xd8\xff\xe0" + bytes(60), False),
        (b"\0", False),
    ],
)
def test_known_by_its_brands(header: bytes, is_one: bool) -> None:
    assert heif.is_heif(header) is is_one


@pytest.fixture
def not_plugged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As before anything has asked for such files."""
    for ending in [e for e, name in Image.registered_extensions().items() if name == "HEIF"]:
        monkeypatch.delitem(Image.EXTENSION, ending)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    heif.plug_in.cache_clear()
    yield
    heif.plug_in.cache_clear()


@pytest.mark.usefixtures("not_plugged_in")
def test_training_finds_them_whether_or_not_one_was_opened_before(
    pixels: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "photo.heic").write_bytes(heic(pixels))
    folder = Folder(tmp_path, 4, 1, 8, tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    hr, lr = folder.pair(0)
    assert np.abs(hr.astype(int) - pixels).max() <= 4
    assert lr.shape == (12, 16, 3)


def test_pixels_come_as_pillow_heif_has_them(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(heic(pixels))
    assert furthest(decode(path), pixels) <= 4


def test_lying_on_its_side_it_is_turned_once(pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "a phone"
    data = heic(pixels, exif=exif.tobytes())
    picture = decode(data)
    turned = np.rot90(pixels, -1)
    assert furthest(picture, turned) <= 4
    back = picture.pack(picture.color)
    assert isinstance(back, bytes)
    assert heif.is_heif(back)
    with Image.open(io.BytesIO(back)) as image:
        assert image.size == (48, 64)
        assert image.getexif().get(ORIENTATION, 1) == 1
        assert image.getexif()[MAKER] == "a phone"


def test_bytes_come_back_with_all_colours() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    picture = decode(heic(stripes))
    assert furthest(decode(picture.pack(picture.color)), stripes) <= 20


def test_in_folders_results_are_png(pixels: np.ndarray, tmp_path: Path) -> None:
    assert {".heic", ".heif", ".hif"} <= picture_extensions()
    (tmp_path / "a.heic").write_bytes(heic(pixels))
    plan = make_plan([str(tmp_path)], tmp_path / "out")
    assert plan.jobs == (Job(tmp_path / "a.heic", tmp_path / "out/a.png"),)
    assert batch.load(plan.jobs[0]).size == (64, 48)


def test_ten_bits_are_said_to_become_eight(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 48 * 64 * 3).astype(np.uint16)
    path = tmp_path / "deep.heic"
    pillow_heif.encode("RGB;16", (64, 48), values.tobytes(), str(path))
    with pytest.warns(DepthWarning, match="has 10 bits a colour, of which Pillow gives 8"):
        decode(path)


def test_a_damaged_file_is_a_sentence(pixels: np.ndarray, tmp_path: Path) -> None:
    data = heic(pixels)
    path = tmp_path / "cut.heic"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"cut\.heic is truncated or damaged \(.*[^\s]\)\."):
        decode(path)


@pytest.mark.usefixtures("absent")
def test_without_the_library_the_error_says_what_to_install(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"is HEIC, .*; pip install pillow-heif, or convert it"):
        decode(heic(pixels))


@pytest.mark.usefixtures("absent")
def test_without_the_library_folders_leave_it_out(pixels: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(heic(pixels))
    assert make_plan([str(tmp_path)], tmp_path / "out").unopened == (tmp_path / "a.heic",)
