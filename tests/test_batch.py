"""A batch loses nothing: not an input, not a finished result, and not the reason of a failure."""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from preproc import batch, saving
from preproc.errors import OutputError
from preproc.plan import Job, Plan, make_plan, picture_extensions
from preproc.saving import format_named, save


def double(image: Image.Image) -> Image.Image:
    """Stands in for an enhancer: any callable that maps a picture to a picture does."""
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 6), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], bands), np.uint8)
    Image.fromarray(values if bands > 1 else values[..., 0]).convert(mode).save(path, **options)
    return path


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


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def run(plan: Plan, enhance: Callable[[Image.Image], Image.Image] = double) -> batch.Summary:
    return batch.run(plan.jobs, enhance, save)


def failing(error: BaseException, at: int) -> Callable[[Image.Image], Image.Image]:
    """An enhancer that raises on its ``at``-th picture."""
    calls = iter(range(1, 1000))

    def enhance(image: Image.Image) -> Image.Image:
        if next(calls) == at:
            raise error
        return double(image)

    return enhance


class TestPlan:
    def test_a_folder_keeps_its_structure_without_hidden_files(self, tmp_path: Path) -> None:
        for name in ("a.png", "sub/deep/b.JPG", ".hidden.png", ".git/c.png", "notes.txt"):
            path = tmp_path / "in" / name
            picture(path) if path.suffix != ".txt" else path.write_text("no picture")
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        targets = [job.target.relative_to(tmp_path / "out").as_posix() for job in plan.jobs]
        assert targets == ["a.png", "sub/deep/b.JPG"]
        assert not plan.failures

    def test_a_glob_keeps_the_structure_below_its_fixed_part(self, tmp_path: Path) -> None:
        for name in ("x/a.png", "x/y/b.png", "x/y/c.jpg"):
            picture(tmp_path / name)
        plan = make_plan([str(tmp_path / "x/**/*.png")], tmp_path / "out")
        targets = [job.target.relative_to(tmp_path / "out").as_posix() for job in plan.jobs]
        assert targets == ["a.png", "y/b.png"]

    def test_a_name_with_wildcard_characters_is_a_file_if_it_exists(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "a[1].png")
        (job,) = make_plan([str(source)], tmp_path / "out").jobs
        assert job == Job(source, tmp_path / "out" / "a[1].png")

    def test_a_file_given_twice_is_enhanced_once(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        assert len(make_plan([str(source), str(tmp_path / "in")], tmp_path / "out").jobs) == 1

    def test_a_single_file_may_get_an_output_file_name(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "a.jpg")
        (job,) = make_plan([str(source)], tmp_path / "better.png").jobs
        assert job.target == tmp_path / "better.png"

    def test_several_files_into_one_file_name_are_refused(self, tmp_path: Path) -> None:
        sources = [str(picture(tmp_path / name)) for name in ("a.jpg", "b.jpg")]
        with pytest.raises(OutputError, match="give a folder"):
            make_plan(sources, tmp_path / "better.png")

    @pytest.mark.parametrize(
        ("name", "asked", "expected"),
        [
            ("a.jpeg", None, "a.jpeg"),
            ("a.gif", None, "a.png"),
            ("a.jpeg", "jpg", "a.jpeg"),
            ("a.jpeg", "png", "a.png"),
            ("a", None, "a.png"),
        ],
    )
    def test_the_format_is_the_inputs_unless_asked_or_not_writable(
        self, tmp_path: Path, name: str, asked: str | None, expected: str
    ) -> None:
        source = picture(tmp_path / name, "L", format="PNG")
        chosen = format_named(asked) if asked else None
        (job,) = make_plan([str(source)], tmp_path / "out", file_format=chosen).jobs
        assert job.target.name == expected

    def test_two_inputs_with_one_output_are_seen_beforehand(self, tmp_path: Path) -> None:
        for name in ("a.png", "a.jpg"):
            picture(tmp_path / "in" / name)
        with pytest.raises(OutputError, match=r"a\.jpg and .*a\.png would both be written to"):
            make_plan([str(tmp_path / "in")], tmp_path / "out", file_format=format_named("png"))

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_an_input_is_never_replaced(self, tmp_path: Path, overwrite: bool) -> None:
        source = picture(tmp_path / "a.png")
        with pytest.raises(OutputError, match="would replace the input"):
            make_plan([str(source)], tmp_path, overwrite=overwrite)

    def test_an_input_is_never_replaced_through_a_link(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").symlink_to(source)
        with pytest.raises(OutputError, match="would replace the input"):
            make_plan([str(source)], tmp_path / "out", overwrite=True)

    def test_an_existing_output_is_refused_skipped_or_replaced_as_asked(
        self, tmp_path: Path
    ) -> None:
        for name in ("a.png", "b.png"):
            picture(tmp_path / "in" / name)
        picture(tmp_path / "out/a.png")
        plan = partial(make_plan, [str(tmp_path / "in")], tmp_path / "out")
        with pytest.raises(OutputError, match=r"a\.png exists already; pass --skip-existing"):
            plan()
        skipping = plan(skip_existing=True)
        assert [j.source.name for j in skipping.jobs] == ["b.png"]
        assert [j.source.name for j in skipping.skipped] == ["a.png"]
        assert [j.source.name for j in plan(overwrite=True).jobs] == ["a.png", "b.png"]

    def test_results_of_an_earlier_run_are_no_inputs(self, tmp_path: Path) -> None:
        folder = str(tmp_path)
        picture(tmp_path / "a.png")
        for out, suffix in ((tmp_path / "out", ""), (tmp_path, "_x2")):
            assert len(run(make_plan([folder], out, suffix=suffix)).done) == 1
            again = make_plan([folder], out, suffix=suffix, skip_existing=True)
            assert (len(again.jobs), len(again.skipped)) == (0, 1)
            for path in (tmp_path / "out").glob("*"):
                path.unlink()

    def test_nothing_found_is_a_sentence_each(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        names = [str(tmp_path / name) for name in ("empty", "missing.png", "*.tif")]
        reasons = [failure.reason for failure in make_plan(names, tmp_path / "out").failures]
        assert reasons == [
            "The folder holds no picture files (hidden ones are not counted).",
            "There is no such file or folder.",
            "No picture file matches this pattern.",
        ]

    def test_what_only_another_program_could_draw_is_no_picture(self) -> None:
        assert {".jpg", ".png", ".webp", ".tif", ".avif"} <= picture_extensions()
        assert not {".eps", ".h5", ".mpg", ".pdf", ".wmf"} & picture_extensions()


class TestRun:
    def test_every_picture_comes_out_once_however_many_workers(self, tmp_path: Path) -> None:
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

    def test_reading_enhancing_and_writing_overlap(self, tmp_path: Path) -> None:
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

    def test_only_a_few_pictures_are_in_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = picture(tmp_path / "a.png")
        jobs = [Job(source, tmp_path / "out" / f"{i}.png") for i in range(30)]
        lock, loaded, saved, most = threading.Lock(), 0, 0, 0
        load = batch.load

        def counting_load(job: Job) -> Image.Image:
            nonlocal loaded, most
            with lock:
                loaded += 1
                most = max(most, loaded - saved)
            return load(job)

        def counting_save(image: Image.Image, path: Path) -> None:
            nonlocal saved
            save(image, path)
            with lock:
                saved += 1

        monkeypatch.setattr(batch, "load", counting_load)
        batch.run(jobs, double, counting_save, workers=2)
        assert loaded == saved == 30
        assert most <= 2 * 2 + 1

    def test_one_bad_picture_never_stops_the_rest(self, tmp_path: Path) -> None:
        for name in ("a.png", "c.png"):
            picture(tmp_path / "in" / name)
        (tmp_path / "in/b.png").write_bytes(b"no picture at all")
        summary = run(make_plan([str(tmp_path / "in")], tmp_path / "out"))
        assert files(tmp_path / "out") == ["a.png", "c.png"]
        assert [(f.source.name, f.reason) for f in summary.failures] == [
            ("b.png", "The file is no picture in a known format.")
        ]

    def test_an_error_nobody_foresaw_is_told_and_stops_nothing(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png"):
            picture(tmp_path / "in" / name)
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        summary = run(plan, failing(ZeroDivisionError("by zero"), at=1))
        assert summary.failures[0].reason == "Unexpected ZeroDivisionError: by zero"
        assert files(tmp_path / "out") == ["b.png"]

    def test_a_palette_does_not_bound_the_result(self, tmp_path: Path) -> None:
        for colour, mode in (("gray", "L"), ("red", "RGB")):
            Image.new("RGB", (4, 4), colour).quantize(2).save(tmp_path / "a.png")
            assert Image.open(tmp_path / "a.png").mode == "P"
            assert batch.load(Job(tmp_path / "a.png", tmp_path / "b.png")).mode == mode
        clear = Image.new("RGBA", (4, 4), (200, 10, 10, 0))
        clear.save(tmp_path / "a.gif")
        loaded = batch.load(Job(tmp_path / "a.gif", tmp_path / "a.png"))
        assert loaded.getchannel("A").getextrema() == (0, 0)

    def test_an_interruption_keeps_what_was_enhanced_and_nothing_half(self, tmp_path: Path) -> None:
        for i in range(6):
            picture(tmp_path / "in" / f"{i}.png")
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        summary = run(plan, failing(KeyboardInterrupt(), at=3))
        assert summary.interrupted
        assert (len(summary.done), summary.left, summary.failures) == (2, 4, [])
        assert files(tmp_path / "out") == ["0.png", "1.png"]
        rest = make_plan([str(tmp_path / "in")], tmp_path / "out", skip_existing=True)
        assert len(run(rest).done) == 4

    def test_a_full_disk_ends_the_run_with_one_sentence_and_nothing_half(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for i in range(9):
            picture(tmp_path / "in" / f"{i}.png")
        synced = iter(range(1, 100))

        def fsync(_: int) -> None:
            if next(synced) > 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(saving.os, "fsync", fsync)
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        summary = batch.run(plan.jobs, double, save, workers=1)
        assert files(tmp_path / "out") == ["0.png", "1.png"]
        assert "no room left on the disk" in summary.failures[0].reason
        assert "--skip-existing" in summary.failures[0].reason
        assert summary.left > 0
        assert not summary.interrupted

    def test_a_full_disk_while_the_file_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = picture(tmp_path / "a.png")

        def full(self: Image.Image, file, *_: object, **__: object) -> None:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        image = Image.open(source)
        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(saving.DiskFullError, match="no room left"):
            save(image, tmp_path / "out/a.png")
        assert files(tmp_path / "out") == []


class TestSave:
    def test_a_result_that_appears_meanwhile_is_not_replaced(self, tmp_path: Path) -> None:
        target = tmp_path / "a.png"
        target.write_text("mine")
        with pytest.raises(OutputError, match="was not replaced"):
            save(Image.new("RGB", (2, 2)), target)
        assert target.read_text() == "mine"
        assert files(tmp_path) == ["a.png"]

    def test_a_failed_replacement_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "a.png"
        target.write_text("old")

        def broken(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Image.Image, "save", broken)
        with pytest.raises(OutputError, match=r"Cannot write .*Permission denied"):
            save(Image.new("RGB", (2, 2)), target, overwrite=True)
        assert target.read_text() == "old"
        assert files(tmp_path) == ["a.png"]

    def test_metadata_survives_and_the_orientation_goes(self, tmp_path: Path) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "A camera"
        for name in ("a.jpg", "a.png", "a.tif", "a.webp"):
            source = picture(tmp_path / "in" / name, exif=exif, icc_profile=profile, dpi=(300, 300))
            job = Job(source, tmp_path / "out" / name)
            save(double(batch.load(job)), job.target)
            result = Image.open(job.target)
            assert result.getexif().get(0x010F) == "A camera", name
            assert result.getexif().get(0x0112, 1) == 1, name
            assert result.info["icc_profile"] == profile, name
            if name != "a.webp":  # which has no place for it
                assert tuple(map(round, result.info["dpi"])) == (300, 300), name

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_16_bit_stays_16_bit(self, tmp_path: Path, name: str) -> None:
        values = np.arange(0, 65535, 1000, dtype=np.uint16).reshape(6, 11)
        (tmp_path / "in").mkdir()
        Image.fromarray(values).save(tmp_path / "in" / name)
        run(make_plan([str(tmp_path / "in")], tmp_path / "out"))
        result = np.asarray(Image.open(tmp_path / "out" / name))
        assert result.dtype == np.uint16
        assert np.array_equal(result[::2, ::2], values)

    def test_jpeg_keeps_colour_at_full_resolution(self, tmp_path: Path) -> None:
        save(Image.new("RGB", (32, 32)), tmp_path / "a.jpg")
        with Image.open(tmp_path / "a.jpg") as image:
            assert [component[1:3] for component in image.layer] == [(1, 1)] * 3

    def test_quality_counts_for_lossy_formats(self, tmp_path: Path) -> None:
        image = Image.open(picture(tmp_path / "a.png", size=(64, 64)))
        for name in ("a.jpg", "a.webp", "a.avif"):
            save(image, tmp_path / "high" / name)
            save(image, tmp_path / "low" / name, quality=20)
            low, high = ((tmp_path / q / name).stat().st_size for q in ("low", "high"))
            assert low < high / 2, name

    @pytest.mark.parametrize(
        ("mode", "asked", "message"),
        [
            ("RGBA", "jpg", r"JPEG cannot hold the picture's transparency.*--format png"),
            ("LA", "bmp", r"BMP cannot hold the picture's transparency.*--format png"),
            ("I;16", "jpg", r"JPEG cannot hold the picture's depth.*--format png"),
            ("F", "png", r"PNG cannot hold the picture's depth.*--format tif"),
        ],
    )
    def test_what_a_format_cannot_hold_is_a_sentence_before_any_work(
        self, tmp_path: Path, mode: str, asked: str, message: str
    ) -> None:
        source = tmp_path / "a.tif"
        Image.new(mode, (4, 4)).save(source)
        plan = make_plan([str(source)], tmp_path / "out", file_format=format_named(asked))
        with pytest.raises(OutputError, match=message):
            batch.load(plan.jobs[0])

    def test_opaque_alpha_is_no_hindrance(self, tmp_path: Path) -> None:
        save(Image.new("RGBA", (4, 4), (200, 10, 10, 255)), tmp_path / "a.jpg")
        assert Image.open(tmp_path / "a.jpg").mode == "RGB"

    @pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.webp", "a.tif", "a.png", "a.jp2"])
    def test_every_common_mode_without_alpha_is_held(self, tmp_path: Path, name: str) -> None:
        for mode in ("1", "L", "RGB", "P", "CMYK"):
            save(Image.new(mode, (4, 4)), tmp_path / mode / name)
            assert Image.open(tmp_path / mode / name).size == (4, 4)

    def test_a_new_colour_space_gets_no_profile_of_the_old_one(self, tmp_path: Path) -> None:
        """WebP has no grey: a grey picture's profile, or a wrong one, would spoil its colours."""
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for profile in (b"damaged", srgb):
            image = Image.new("L", (4, 4), 128)
            image.info["icc_profile"] = profile
            save(image, tmp_path / "a.webp", quality=100, overwrite=True)
            result = Image.open(tmp_path / "a.webp")
            assert "icc_profile" not in result.info
            assert result.getpixel((1, 1)) == (128, 128, 128)

    def test_a_new_colour_space_is_reached_through_the_profile(self, tmp_path: Path) -> None:
        """Mid-grey of a linear-light profile is a light grey in sRGB."""
        image = Image.new("L", (4, 4), 128)
        image.info["icc_profile"] = linear_grey_profile()
        save(image, tmp_path / "a.webp", quality=100)
        result = Image.open(tmp_path / "a.webp")
        assert np.allclose(result.getpixel((1, 1)), 188, atol=2)

    def test_a_side_too_long_for_the_format(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"at most 16383 px a side.*--format png"):
            save(Image.new("L", (16384, 1)), tmp_path / "a.webp")
