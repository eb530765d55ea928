"""Bad input on the command line: a sentence each, exit code 1, and the good pictures done."""

from __future__ import annotations

import errno
import os
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from preproc import cli


def same(image: object, progress: object = None) -> object:
    return image


same.scale = 1
same.descriptor, same.device, same.dtype = "cajnn-light x4", "cpu", "float32"


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("preproc.enhancer")
    module.Enhancer = lambda *_, **__: same
    monkeypatch.setitem(sys.modules, "preproc.enhancer", module)
    monkeypatch.setenv("TERM", "dumb")


def call(*args: object) -> int:
    before, sys.argv = sys.argv, ["preproc", *map(str, args)]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG file that claims a size, whatever its data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def truncated(path: Path) -> None:
    Image.effect_noise((64, 64), 80).save(path)
    path.write_bytes(path.read_bytes()[:-300])


def animated(path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated JPEG": ("bad.jpg", truncated, "truncated or damaged"),
    "truncated PNG": ("bad.png", truncated, "truncated or damaged"),
    "truncated WebP": ("bad.webp", truncated, ""),
    "truncated TIFF": ("bad.tif", truncated, ""),
    "empty": ("bad.jpg", lambda p: p.write_bytes(b""), "The file is empty."),
    "text": ("bad.jpg", lambda p: p.write_text("hello"), "not a picture in a known format"),
    "zero-sized": ("bad.png", lambda p: p.write_bytes(png(0, 5)), ""),
    "no pixels": ("bad.png", lambda p: p.write_bytes(png(5, 5)), "truncated or damaged"),
    "bomb": ("bad.png", lambda p: p.write_bytes(png(60000, 60000)), "suspiciously large"),
    "animation": ("bad.gif", animated, "holds 2 frames or pages"),
    "pages": ("bad.tif", animated, "holds 2 frames or pages"),
    "dangling link": ("bad.png", lambda p: p.symlink_to("nowhere"), "No such file"),
    "folder named like a picture": ("bad.png", lambda p: p.mkdir(), "holds no picture files"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_sentence_and_the_good_ones_are_done(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name, make, sentence = BAD[kind]
    source = tmp_path / "in"
    source.mkdir()
    for good in ("a.png", "z.png"):
        Image.new("RGB", (4, 4)).save(source / good)
    make(source / name)
    paths = sorted(source.iterdir()) if kind.startswith("folder") else [source]
    assert call("enhance", *paths, "-o", tmp_path / "out") == 1
    _, *lines = capfd.readouterr().err.splitlines()  # the first says what does it
    assert len(lines) == 2
    assert lines[0].startswith(f"Failed {source / name}: ")
    assert sentence in lines[0]
    assert "Unexpected" not in lines[0]
    assert lines[1].startswith("2 enhanced, 1 failed, in ")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]


def test_what_leads_nowhere_and_what_is_no_picture_are_both_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = [tmp_path / "missing.png", tmp_path / "a.png"]
    bad[1].write_bytes(b"no picture at all")
    assert call("enhance", *bad, "-o", tmp_path / "out") == 1
    *failed, counts = capfd.readouterr().err.splitlines()[1:]
    assert [line.split(": ")[0] for line in failed] == [f"Failed {path}" for path in bad]
    assert counts.startswith("0 enhanced, 2 failed, in ")


def test_damaged_exif_costs_no_picture(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    Image.new("RGB", (4, 4)).save(source, exif=b"Exif\0\0garbage that is not a TIFF header")
    assert call("enhance", source, "-o", tmp_path / "out") == 0
    assert Image.open(tmp_path / "out/a.jpg").size == (4, 4)


def test_a_large_picture_below_the_bomb_limit_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    source = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(source)
    assert call("enhance", source, "-o", tmp_path / "out") == 0


def test_16_bit_colour_is_kept_in_png_and_its_loss_elsewhere_is_noted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = png(2, 1, b"\0" + bytes(12))
    at = data.index(b"IHDR")
    header = data[at : at + 12] + b"\x10" + data[at + 13 : at + 17]
    deep = data[:at] + header + struct.pack(">I", zlib.crc32(header)) + data[at + 21 :]
    (tmp_path / "a.png").write_bytes(deep)
    assert call("enhance", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out/a.png").read_bytes()[24] == 16
    assert "Note" not in capfd.readouterr().err
    assert call("enhance", tmp_path / "a.png", "-o", tmp_path / "out", "-f", "jpg") == 0
    assert "has 16 bits a colour, but its result has 8" in capfd.readouterr().err


@pytest.mark.parametrize("taken", ["out", "out/b"])
def test_an_output_folder_that_is_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], taken: str
) -> None:
    for name in "abc":
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "in" / name / "1.png")
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")
    assert call("enhance", tmp_path / "in", "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"Error: Cannot write {tmp_path / taken}")
    assert (tmp_path / taken).read_text() == "mine"
    assert not list(tmp_path.glob("out/*/*"))


def test_an_output_folder_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr(Path, "touch", denied)
    assert call("enhance", tmp_path / "a.png", "-o", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "Cannot write" in line
    assert "Permission denied" in line


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_full_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for i in range(9):
        Image.new("L", (4, 4)).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(os, "fsync", full)
    assert call("enhance", tmp_path, "-o", tmp_path / "out", "--workers", 1, *options) == 1
    _, failed, summary, *way_on = capfd.readouterr().err.splitlines()
    assert "There is no room left on the disk" in failed
    assert failed.endswith("; free some space, then try again.")
    assert "0 enhanced, 1 failed, 8 not tried" in summary
    again = "again" if options else "again with --skip-existing"
    sentence = "The disk is full. Every result that was written is whole; run the same command "
    assert " ".join(way_on) == f"{sentence}{again} for the rest."
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_to_do_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call("enhance", tmp_path, "-o", tmp_path / "out") == 1
    assert "The folder holds no picture files" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
