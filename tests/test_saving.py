"""A result is written whole or not at all, in the format its name says, if that can hold it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_files import files, picture
from PIL import Image

from preproc.batch.run import store
from preproc.errors import DiskFullError, OutputError
from preproc.pictures.formats import format_named, format_names, require_size
from preproc.pictures.saving import save


def fails_with(code: int) -> Callable[..., None]:
    """Stands in for a function of the system's that fails."""

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_result_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_text("mine")
    with pytest.raises(OutputError, match="was not replaced"):
        save(Image.new("RGB", (2, 2)), target)
    assert target.read_text() == "mine"
    assert files(tmp_path) == ["a.png"]


def test_a_picture_that_cannot_be_encoded_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")

    def broken(*_: object, **__: object) -> None:
        raise OSError("encoder error -2")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OutputError, match=r"Cannot write .*a\.png: encoder error -2; try"):
        save(Image.new("RGB", (2, 2)), target, overwrite=True)
    assert target.read_text() == "old"
    assert files(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", format_names())
def test_a_disk_that_fills_up_leaves_no_truncated_file(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    image = Image.open(picture(tmp_path / "in.png", size=(64, 64)))
    save(image, tmp_path / f"whole.{name}")
    size = (tmp_path / f"whole.{name}").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size * 2 // 3, limits[1]))
    try:
        with pytest.raises(OutputError, match="Cannot write"):
            save(image, tmp_path / f"out/a.{name}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize("result", [Image.new("RGB", (2, 2)), b"a whole file"])
def test_whatever_is_stored_replaces_nothing_unasked_and_nothing_by_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Image.Image | bytes
) -> None:
    target = tmp_path / "a.png"
    store(result, target)
    written = target.read_bytes()
    assert written == result if isinstance(result, bytes) else written.startswith(b"\x89PNG")
    target.write_text("old")
    with pytest.raises(OutputError, match="exists already"):
        store(result, target)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails_with(errno.ENOSPC))
        with pytest.raises(DiskFullError, match="free some space, then try again"):
            store(result, target, overwrite=True)
    assert target.read_text() == "old"
    store(result, target, overwrite=True)
    assert target.read_bytes() == written


@pytest.mark.parametrize(
    ("name", "mode", "start"),
    [
        ("a.jp2", "RGB", b"\0\0\0\x0cjP  "),
        *((f"a.{codestream}", "RGB", b"\xff\x4f\xff\x51") for codestream in ("j2k", "j2c", "jpc")),
        ("a.ppm", "RGB", b"P6"),
        ("a.pnm", "L", b"P5"),
        ("a.pgm", "L", b"P5"),
        ("a.pgm", "1", b"P5"),
        ("a.pgm", "I;16", b"P5"),
        ("a.pbm", "1", b"P4"),
        ("a.pfm", "F", b"Pf"),
    ],
)
def test_a_file_is_of_the_kind_that_its_name_says(
    tmp_path: Path, name: str, mode: str, start: bytes
) -> None:
    save(Image.new(mode, (16, 16)), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert Image.open(tmp_path / name).size == (16, 16)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.pgm", "RGB"), ("a.pbm", "L"), ("a.pbm", "RGB"), ("a.pfm", "RGB"), ("a.pfm", "L")],
)
def test_colours_and_greys_that_a_name_has_no_room_for_are_refused(
    tmp_path: Path, name: str, mode: str
) -> None:
    ending = Path(name).suffix
    with pytest.raises(OutputError, match=rf"A \{ending} file cannot hold .*write it as png"):
        save(Image.new(mode, (16, 16)), tmp_path / name)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "most"), [("a.webp", 16383), ("a.jpg", 65500), ("a.tga", 65535), ("a.avif", 32768)]
)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_side_too_long_for_the_format(tmp_path: Path, name: str, most: int, turn: int) -> None:
    size, held = (most + 1, 1)[::turn], (most, 1)[::turn]
    with pytest.raises(OutputError, match=rf"at most {most} px a side.*write it as png"):
        save(Image.new("L", size), tmp_path / name)
    save(Image.new("L", held), tmp_path / name)
    assert Image.open(tmp_path / name).size == held


def test_more_px_than_an_avif_is_read_with_are_refused() -> None:
    require_size((2**14, 2**14), format_named("avif"))
    with pytest.raises(OutputError, match=r"at most 268435456 px, .* 16384x16385; write it as"):
        require_size((2**14, 2**14 + 1), format_named("avif"))


def test_jpeg_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    save(Image.new("RGB", (32, 32)), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


def test_avif_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
    save(Image.fromarray(stripes), tmp_path / "a.avif", quality=100)
    result = np.asarray(Image.open(tmp_path / "a.avif"))
    assert np.abs(result - stripes.astype(int)).max() < 20


def test_a_tiff_is_compressed_without_loss(tmp_path: Path) -> None:
    image = Image.open(picture(tmp_path / "a.png")).resize((256, 256), Image.Resampling.NEAREST)
    save(image, tmp_path / "a.tif")
    assert (tmp_path / "a.tif").stat().st_size < 256 * 256
    assert Image.open(tmp_path / "a.tif").tobytes() == image.tobytes()


def test_quality_counts_for_lossy_formats(tmp_path: Path) -> None:
    image = Image.open(picture(tmp_path / "a.png", size=(64, 64)))
    for name in ("a.jpg", "a.webp", "a.avif"):
        save(image, tmp_path / "high" / name)
        save(image, tmp_path / "low" / name, quality=20)
        save(image, tmp_path / "usual" / name, quality=95)
        low, high, usual = (tmp_path / q / name for q in ("low", "high", "usual"))
        assert low.stat().st_size < high.stat().st_size / 2, name
        assert usual.read_bytes() == high.read_bytes(), name
