"""A batch loses nothing: not an input, not a finished result, and not the reason of a failure."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from picture_files import double, failing, files, picture, run
from PIL import Image

from preproc.batch import run as batch
from preproc.batch.plan import Job, make_plan
from preproc.errors import DepthWarning, OutputError
from preproc.pictures import png16
from preproc.pictures.formats import format_named
from preproc.pictures.saving import save


def test_every_picture_comes_out_once_however_many_workers(tmp_path: Path) -> None:
    for i in range(9):
        picture(tmp_path / "in" / f"{i}.png", size=(i + 1, 3))
    for workers in (1, 4):
        out, seen = tmp_path / f"out{workers}", []
        plan = make_plan([str(tmp_path / "in")], out)
        batch.run(plan.jobs, double, save, workers=workers, progress=seen.append)
        assert sorted(seen, key=lambda job: job.source) == list(plan.jobs)
        assert [Image.open(out / f"{i}.png").width for i in range(9)] == [
            2 * i + 2 for i in range(9)
        ]


@pytest.mark.parametrize("skips", [True, False])
def test_a_result_that_another_run_has_left_meanwhile_is_no_failure_where_it_may_be_skipped(
    tmp_path: Path, skips: bool
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / "in" / name)
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out", skip_existing=skips)
    targets, enhanced = [job.target for job in plan.jobs], []

    def enhance(image: Image.Image) -> Image.Image:
        enhanced.append(image)
        for target in targets[:2]:  # of a run in the same folder
            if not target.exists():
                save(image, target)
        return image

    summary = batch.run(plan.jobs, enhance, save, workers=1, skip_existing=skips)
    assert summary.done == targets[2:]
    assert sorted(summary.skipped) == (targets[:2] if skips else [])
    assert len(summary.failures) == (0 if skips else 2)
    assert (len(enhanced), summary.left) == (2 if skips else 3, 0)


def test_reading_enhancing_and_writing_overlap(tmp_path: Path) -> None:
    """Writing the first picture waits for the second to be enhanced: only overlap ends it."""
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    second = threading.Event()
    calls = iter((lambda: None, second.set))

    def enhance(image: Image.Image) -> Image.Image:
        next(calls)()
        return image

    def slow_save(image: Image.Image, path: Path) -> None:
        assert second.wait(timeout=20)
        save(image, path)

    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    assert len(batch.run(plan.jobs, enhance, slow_save, workers=2).done) == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_as_there_are_workers_are_read_while_one_is_enhanced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Enhancing the first waits until the last is read: only reading ahead ends it."""
    for i in range(workers + 1):
        picture(tmp_path / "in" / f"{i}.png")
    last, load = threading.Event(), batch.load

    def noted_load(job: Job, scale: int) -> Image.Image | bytes:
        if job.source.stem == str(workers):
            last.set()
        return load(job, scale)

    def enhance(image: Image.Image) -> Image.Image:
        assert last.wait(timeout=20)
        return image

    monkeypatch.setattr(batch, "load", noted_load)
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    assert not batch.run(plan.jobs, enhance, save, workers=workers).failures


def test_only_a_few_pictures_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = picture(tmp_path / "a.png")
    jobs = [Job(source, tmp_path / "out" / f"{i}.png") for i in range(30)]
    lock, loaded, saved, most = threading.Lock(), 0, 0, 0
    load = batch.load

    def counting_load(job: Job, scale: int) -> Image.Image:
        nonlocal loaded, most
        with lock:
            loaded += 1
            most = max(most, loaded - saved)
        return load(job, scale)

    def counting_save(image: Image.Image, path: Path) -> None:
        nonlocal saved
        save(image, path)
        with lock:
            saved += 1

    monkeypatch.setattr(batch, "load", counting_load)
    batch.run(jobs, double, counting_save, workers=2)
    assert loaded == saved == 30
    assert most <= 2 * 2 + 1


def test_one_bad_picture_never_stops_the_rest(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in/b.png").write_bytes(b"no picture at all")
    plan, seen = make_plan([str(tmp_path / "in")], tmp_path / "out"), []
    summary = batch.run(plan.jobs, double, save, progress=seen.append)
    assert sorted(job.source.name for job in seen) == ["a.png", "b.png", "c.png"]
    assert files(tmp_path / "out") == ["a.png", "c.png"]
    assert [(f.source.name, f.reason) for f in summary.failures] == [
        ("b.png", "The file is not a picture in a known format.")
    ]


def test_an_error_nobody_foresaw_is_told_and_stops_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    summary = run(plan, failing(ZeroDivisionError("by zero"), at=1))
    assert summary.failures[0].reason == "Unexpected ZeroDivisionError: by zero"
    assert files(tmp_path / "out") == ["b.png"]


def test_full_memory_is_a_sentence_however_torch_says_it(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    error = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 4000000000000 bytes. Error code 12"
    )
    (failure,) = run(plan, failing(error, at=1)).failures
    assert failure.reason.startswith("The picture does not fit into memory; ")


def test_an_interruption_keeps_what_was_enhanced_and_nothing_half(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / "in" / f"{i}.png")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    summary = run(plan, failing(KeyboardInterrupt(), at=3))
    assert summary.interrupted
    assert (len(summary.done), summary.left, summary.failures) == (2, 4, [])
    assert files(tmp_path / "out") == ["0.png", "1.png"]
    rest = make_plan([str(tmp_path / "in")], tmp_path / "out", skip_existing=True)
    assert len(run(rest).done) == 4


def test_an_interruption_while_the_last_are_written_loses_none(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)

    def interrupt(job: Job) -> None:
        if job.source.name == "b.png":
            raise KeyboardInterrupt

    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    summary = batch.run(plan.jobs, double, save, progress=interrupt)
    assert (summary.interrupted, len(summary.done), summary.left) == (True, 2, 0)


def test_a_full_disk_ends_the_run_with_one_sentence_and_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(9):
        picture(tmp_path / "in" / f"{i}.png")
    synced = iter(range(1, 100))

    def fsync(_: int) -> None:
        if next(synced) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    summary = batch.run(plan.jobs, double, save, workers=1)
    assert files(tmp_path / "out") == ["0.png", "1.png"]
    (failure,) = summary.failures
    assert "no room left on the disk" in failure.reason
    assert "free some space, then try again" in failure.reason
    assert summary.left == 6
    assert not summary.interrupted


@pytest.mark.parametrize(("scale", "fits"), [(1, True), (4, False)])
def test_a_result_too_large_for_its_format_is_refused_before_the_work(
    tmp_path: Path, scale: int, fits: bool
) -> None:
    source = picture(tmp_path / "a.png", "L", (4096, 1))
    job = Job(source, tmp_path / "out/a.webp")
    if fits:
        assert batch.load(job, scale).size == (4096, 1)
    else:
        with pytest.raises(OutputError, match="16383 px a side, but the result has 16384x4"):
            batch.load(job, scale)


@pytest.mark.parametrize(
    ("mode", "asked", "message"),
    [
        (
            "RGBA",
            "jpg",
            r"A \.jpg file cannot hold the picture's transparency.*write it as png",
        ),
        ("LA", "bmp", r"A \.bmp file cannot hold the picture's transparency.*write it as png"),
        (
            "I;16",
            "jpg",
            r"A \.jpg file cannot hold the picture's colours or depth.*write it as png",
        ),
        (
            "F",
            "png",
            r"A \.png file cannot hold the picture's colours or depth.*write it as tif",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_a_sentence_before_any_work(
    tmp_path: Path, mode: str, asked: str, message: str
) -> None:
    source = tmp_path / "a.tif"
    Image.new(mode, (4, 4)).save(source)
    plan = make_plan([str(source)], tmp_path / "out", file_format=format_named(asked))
    with pytest.raises(OutputError, match=message):
        batch.load(plan.jobs[0])


def test_sixteen_bit_grey_with_alpha_goes_as_bytes_or_as_grey(tmp_path: Path) -> None:
    values = np.full((6, 8, 2), 12345, np.uint16)
    (tmp_path / "a.png").write_bytes(png16.write(values, {}))
    data = batch.load(Job(tmp_path / "a.png", tmp_path / "out.png"))
    assert np.array_equal(png16.read(data), values)
    with pytest.warns(DepthWarning, match="file has 16 bits a colour, but its result has 8"):
        assert batch.load(Job(tmp_path / "a.png", tmp_path / "out.tif")).mode == "LA"


def test_depth_that_pillow_cuts_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n1023\n" + bytes(12))
    with pytest.warns(DepthWarning, match="file has 10 bits a colour, but its result has 8"):
        batch.load(Job(tmp_path / "a.ppm", tmp_path / "out.png"))


@pytest.mark.parametrize(
    ("colours", "mode", "name"),
    [
        ((9, 9, 9, 200, 200, 200), "L", "b.png"),
        ((9, 9, 9, 200, 200, 200), "L", "b.pgm"),
        ((9, 9, 200, 200, 200, 9), "RGB", "b.png"),
    ],
)
def test_a_palette_is_grey_only_if_all_its_colours_are(
    tmp_path: Path, colours: tuple[int, ...], mode: str, name: str
) -> None:
    image = Image.new("P", (4, 4))
    image.putpalette(colours)
    image.save(tmp_path / "a.png")
    loaded = batch.load(Job(tmp_path / "a.png", tmp_path / name))
    assert loaded.mode == mode
    assert loaded.convert("RGB").getpixel((0, 0)) == colours[:3]


def test_a_palette_does_not_bound_the_result(tmp_path: Path) -> None:
    for colour, mode in (("gray", "L"), ("red", "RGB")):
        Image.new("RGB", (4, 4), colour).quantize(2).save(tmp_path / "a.png")
        assert Image.open(tmp_path / "a.png").mode == "P"
        assert batch.load(Job(tmp_path / "a.png", tmp_path / "b.png")).mode == mode
    for colour, mode in (((200, 10, 10), "RGBA"), ((90, 90, 90), "LA")):
        clear = Image.new("RGBA", (4, 4), (*colour, 255))
        clear.putpixel((0, 0), (0, 0, 0, 0))
        clear.save(tmp_path / "a.gif")
        loaded = batch.load(Job(tmp_path / "a.gif", tmp_path / "a.png"))
        assert loaded.mode == mode
        shown = loaded.convert("RGBA")
        assert shown.getpixel((3, 3)) == (*colour, 255)
        assert shown.getpixel((0, 0))[3] == 0
