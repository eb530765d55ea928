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
from PIL.PngImagePlugin import PngInfo

from preproc import batch
from preproc.errors import DepthWarning, DiskFullError, MetadataWarning, OutputError
from preproc.inputs import picture_extensions
from preproc.pictures import png16
from preproc.pictures.formats import format_named, format_names, require_size
from preproc.pictures.saving import save
from preproc.plan import Job, Plan, make_plan

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="A sign"/></rdf:RDF></x:xmpmeta>'
)


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


def fails_with(code: int) -> Callable[..., None]:
    """Stands in for a function of the system's that fails."""

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


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

    def test_a_glob_finds_pictures_only_and_nothing_hidden(self, tmp_path: Path) -> None:
        for name in ("a.PNG", ".hidden.png", ".git/c.png"):
            picture(tmp_path / "in" / name)
        (tmp_path / "in/notes.txt").write_text("no picture")
        plan = make_plan([str(tmp_path / "in/**")], tmp_path / "out")
        assert [job.source.name for job in plan.jobs] == ["a.PNG"]
        assert not plan.failures

    def test_a_name_with_wildcard_characters_is_a_file_if_it_exists(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "a[1].png")
        (job,) = make_plan([str(source)], tmp_path / "out").jobs
        assert job == Job(source, tmp_path / "out" / "a[1].png")

    def test_a_file_given_twice_is_enhanced_once(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        assert len(make_plan([str(source), str(tmp_path / "in")], tmp_path / "out").jobs) == 1

    def test_a_link_has_a_result_of_its_own(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/b.png")
        for name in ("a.png", "signs/b.png"):
            (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "in" / name).symlink_to(source)
        jobs = make_plan([str(tmp_path / "in")], tmp_path / "out").jobs
        names = [job.target.relative_to(tmp_path / "out").as_posix() for job in jobs]
        assert names == ["a.png", "b.png", "signs/b.png"]

    def test_a_link_to_a_folder_is_not_followed(self, tmp_path: Path) -> None:
        picture(tmp_path / "in/a.png")
        picture(tmp_path / "elsewhere/b.png")
        (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
        (job,) = make_plan([str(tmp_path / "in")], tmp_path / "out").jobs
        assert job.source.name == "a.png"

    def test_a_folder_that_cannot_be_read_is_named_and_stops_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture(tmp_path / "in/a.png")
        picture(tmp_path / "in/closed/b.png")
        scandir = os.scandir

        def closed(path: str) -> object:
            if Path(path).name == "closed":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", closed)
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        assert [job.source.name for job in plan.jobs] == ["a.png"]
        (failure,) = plan.failures
        assert failure.source == tmp_path / "in/closed"
        assert failure.reason == "The folder cannot be read: Permission denied."

    def test_links_that_lead_nowhere_fail_alone(self, tmp_path: Path) -> None:
        picture(tmp_path / "in/a.png")
        for name, target in (("lost.png", "gone.png"), ("round.png", "round.png")):
            (tmp_path / "in" / name).symlink_to(target)
        summary = run(make_plan([str(tmp_path / "in")], tmp_path / "out"))
        assert [path.name for path in summary.done] == ["a.png"]
        assert [failure.source.name for failure in summary.failures] == ["lost.png", "round.png"]
        assert summary.failures[0].reason == "The file cannot be read: No such file or directory."
        assert summary.left == 0

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
    def test_a_pipe_in_a_folder_is_not_waited_for(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        os.mkfifo(tmp_path / "in/b.png")
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        assert [job.source for job in plan.jobs] == [source]
        assert not plan.failures

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
    @pytest.mark.parametrize("out", ["out", "out.png"])
    def test_a_pipe_that_is_named_is_refused_with_a_way_out(self, tmp_path: Path, out: str) -> None:
        os.mkfifo(tmp_path / "a.png")
        plan = make_plan([str(tmp_path / "a.png")], tmp_path / out)
        assert not plan.jobs
        (failure,) = plan.failures
        assert failure.reason == "It is a pipe or device; save its content to a file first."

    def test_a_link_that_leads_round_names_no_result(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/z.png")
        (tmp_path / "in/again").symlink_to(source.parent)
        (job,) = make_plan([str(tmp_path / "in/**/*.png")], tmp_path / "out").jobs
        assert job == Job(source, tmp_path / "out/z.png")

    def test_a_glob_finds_pictures_below_the_output_folder(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        (job,) = make_plan([str(tmp_path / "in/*.png")], tmp_path, suffix="_x4").jobs
        assert job == Job(source, tmp_path / "a_x4.png")

    def test_what_lies_in_the_output_folder_is_no_input(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        picture(tmp_path / "in/out/other.png")
        for name in ("in", "in/**/*.png"):
            (job,) = make_plan([str(tmp_path / name)], tmp_path / "in/out").jobs
            assert job == Job(source, tmp_path / "in/out/a.png")

    def test_a_single_file_may_get_an_output_file_name(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "a.jpg")
        (job,) = make_plan([str(source)], tmp_path / "better.png").jobs
        assert job.target == tmp_path / "better.png"

    def test_the_file_name_gets_the_suffix_and_keeps_to_the_format(self, tmp_path: Path) -> None:
        plan = partial(make_plan, [str(picture(tmp_path / "a.jpg"))], tmp_path / "better.png")
        (job,) = plan(suffix="_x4", file_format=format_named("png")).jobs
        assert job.target == tmp_path / "better_x4.png"
        with pytest.raises(OutputError, match=r"better\.png does not fit the format asked for"):
            plan(file_format=format_named("jpg"))

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

    def test_two_names_of_one_output_folder_are_seen_beforehand(self, tmp_path: Path) -> None:
        for name in ("in/x/a.png", "in/y/a.png"):
            picture(tmp_path / name)
        (tmp_path / "out/x").mkdir(parents=True)
        (tmp_path / "out/y").symlink_to(tmp_path / "out/x")
        with pytest.raises(OutputError, match="would both be written to"):
            make_plan([str(tmp_path / "in")], tmp_path / "out")

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_an_input_is_never_replaced(self, tmp_path: Path, overwrite: bool) -> None:
        for path in (picture(tmp_path / "a.png"), tmp_path):
            with pytest.raises(OutputError, match="would replace the input"):
                make_plan([str(path)], tmp_path, overwrite=overwrite)

    def test_what_an_earlier_run_left_among_the_inputs_is_never_replaced(
        self, tmp_path: Path
    ) -> None:
        for name in ("a.png", "a_x4.png"):
            picture(tmp_path / name)
        with pytest.raises(OutputError, match=r"folder, or leave out what an earlier run made"):
            make_plan([str(tmp_path)], tmp_path, suffix="_x4", overwrite=True)

    def test_an_input_is_never_replaced_through_a_link(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").symlink_to(source)
        with pytest.raises(OutputError, match="would replace the input"):
            make_plan([str(source)], tmp_path / "out", overwrite=True)

    def test_an_input_is_never_replaced_under_another_of_its_names(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "in/a.png")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").hardlink_to(source)
        with pytest.raises(OutputError, match="would replace the input"):
            make_plan([str(source)], tmp_path / "out", overwrite=True)

    def test_an_input_that_was_named_is_no_result_of_an_earlier_run(self, tmp_path: Path) -> None:
        names = [str(picture(tmp_path / name)) for name in ("a.png", "a_x4.png")]
        with pytest.raises(OutputError, match=r"would replace the input .*a_x4\.png"):
            make_plan(names, tmp_path, suffix="_x4", skip_existing=True)

    @pytest.mark.parametrize("turn", [1, -1])
    def test_what_is_named_counts_as_named_though_its_folder_is_given_too(
        self, tmp_path: Path, turn: int
    ) -> None:
        for name in ("a.png", "a_x4.png"):
            picture(tmp_path / name)
        (tmp_path / "b.cr2").write_bytes(b"?")
        paths = [str(tmp_path), str(tmp_path / "a_x4.png")][::turn]
        with pytest.raises(OutputError, match=r"would replace the input .*a_x4\.png"):
            make_plan(paths, tmp_path, suffix="_x4", skip_existing=True)
        paths = [str(tmp_path), str(tmp_path / "b.cr2")][::turn]
        plan = make_plan(paths, tmp_path / "out")
        assert (len(plan.jobs), plan.unopened) == (3, ())

    def test_how_many_outputs_exist_is_said(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png"):
            picture(tmp_path / "in" / name)
            picture(tmp_path / "out" / name)
        with pytest.raises(OutputError, match=r"a\.png exists already \(and 1 more\); pass"):
            make_plan([str(tmp_path / "in")], tmp_path / "out")

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

    def test_they_are_none_under_another_name_of_their_folder_either(self, tmp_path: Path) -> None:
        picture(tmp_path / "in/a.png")
        (tmp_path / "again").symlink_to(tmp_path / "in")
        plan = partial(make_plan, [str(tmp_path / "in")], tmp_path / "again", suffix="_x2")
        assert len(run(plan()).done) == 1
        again = plan(skip_existing=True)
        assert (len(again.jobs), len(again.skipped)) == (0, 1)

    def test_a_run_from_a_folder_into_itself_in_another_format_goes_on(
        self, tmp_path: Path
    ) -> None:
        for name in ("a.jpg", "b.jpg"):
            picture(tmp_path / name)
        plan = partial(make_plan, [str(tmp_path)], tmp_path, file_format=format_named("png"))
        run(plan(), failing(KeyboardInterrupt(), at=2))
        assert files(tmp_path) == ["a.jpg", "a.png", "b.jpg"]
        rest = plan(skip_existing=True)
        assert [job.source.name for job in rest.skipped] == ["a.jpg"]
        assert [job.source.name for job in rest.jobs] == ["b.jpg"]
        with pytest.raises(OutputError, match=r"would replace the input .*a\.png"):
            plan(overwrite=True)

    def test_one_picture_into_a_name_of_no_format_is_refused(self, tmp_path: Path) -> None:
        source = str(picture(tmp_path / "a.jpg"))
        with pytest.raises(OutputError, match=r"cannot be written as \.jgp; end it in one of"):
            make_plan([source], tmp_path / "res.jgp")
        (tmp_path / "v1.2").mkdir()
        (job,) = make_plan([source], tmp_path / "v1.2").jobs
        assert job.target == tmp_path / "v1.2/a.jpg"
        assert make_plan([str(tmp_path)], tmp_path / "v1.3").jobs, "many pictures go to a folder"

    def test_pictures_that_pillow_cannot_open_are_named(self, tmp_path: Path) -> None:
        picture(tmp_path / "in/a.png")
        for name in ("raw/b.nef", "c.CR2"):
            (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "in" / name).write_bytes(b"?")
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        assert [path.name for path in plan.unopened] == ["c.CR2", "b.nef"]
        assert [job.source.name for job in plan.jobs] == ["a.png"]
        only = make_plan([str(tmp_path / "in/raw/*")], tmp_path / "out")
        assert [path.name for path in only.unopened] == ["b.nef"]
        assert [f.reason for f in only.failures] == ["No picture file matches this pattern."]
        (empty,) = make_plan([str(tmp_path / "in/raw")], tmp_path / "out").failures
        assert empty.reason.startswith("The folder holds no picture files")
        named = make_plan([str(tmp_path / "in/c.CR2")], tmp_path / "out")
        assert len(named.jobs) == 1, "what is named is tried, whatever its ending"

    def test_raw_files_of_all_cameras_are_named(self, tmp_path: Path) -> None:
        raw = ("arw", "cr2", "cr3", "dng", "nef", "orf", "pef", "raf", "rw2", "srw")
        for ending in raw:
            (tmp_path / f"a.{ending}").write_bytes(b"?")
        plan = make_plan([str(tmp_path)], tmp_path / "out")
        assert [path.name for path in plan.unopened] == [f"a.{ending}" for ending in raw]

    def test_nothing_found_is_a_sentence_each(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        names = [str(tmp_path / name) for name in ("empty", "missing.png", "*.tif")]
        reasons = [failure.reason for failure in make_plan(names, tmp_path / "out").failures]
        assert reasons == [
            "The folder holds no picture files (hidden ones are not counted).",
            "There is no such file or folder.",
            "No picture file matches this pattern.",
        ]

    def test_an_empty_folder_is_named_also_where_one_picture_is_asked_for(
        self, tmp_path: Path
    ) -> None:
        (failure,) = make_plan([str(tmp_path)], tmp_path / "out.png").failures
        assert failure.reason.startswith("The folder holds no picture files")

    @pytest.mark.parametrize("name", ["missing.png", "https://a.example/missing.png"])
    def test_a_missing_picture_is_named(self, tmp_path: Path, name: str) -> None:
        (failure,) = make_plan([name], tmp_path / "out.png").failures
        assert "There is no such file" in failure.reason
        assert ("download it" in failure.reason) == name.startswith("https")

    def test_a_path_that_the_system_cannot_look_at_fails_alone(self, tmp_path: Path) -> None:
        names = [str(tmp_path / ("n" * 300 + ".png")), str(picture(tmp_path / "a.png"))]
        plan = make_plan(names, tmp_path / "out")
        assert [job.source.name for job in plan.jobs] == ["a.png"]
        (failure,) = plan.failures
        assert failure.source == Path(names[0])
        assert "File name too long" in failure.reason
        assert not make_plan(names[:1], tmp_path / "out").jobs

    def test_a_name_that_gets_too_long_fails_alone(self, tmp_path: Path) -> None:
        names = ("a.png", "n" * 250 + ".png")
        for name in names:
            picture(tmp_path / "in" / name)
        (tmp_path / "out").mkdir()
        summary = run(make_plan([str(tmp_path / "in")], tmp_path / "out", suffix="_x4"))
        assert [path.name for path in summary.done] == ["a_x4.png"]
        (failure,) = summary.failures
        assert "File name too long" in failure.reason

    def test_what_only_another_program_could_draw_is_no_picture(self) -> None:
        assert {".jpg", ".png", ".webp", ".tif", ".avif", ".mpo"} <= picture_extensions()
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

    def test_one_bad_picture_never_stops_the_rest(self, tmp_path: Path) -> None:
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

    def test_an_error_nobody_foresaw_is_told_and_stops_nothing(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png"):
            picture(tmp_path / "in" / name)
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        summary = run(plan, failing(ZeroDivisionError("by zero"), at=1))
        assert summary.failures[0].reason == "Unexpected ZeroDivisionError: by zero"
        assert files(tmp_path / "out") == ["b.png"]

    def test_full_memory_is_a_sentence_however_torch_says_it(self, tmp_path: Path) -> None:
        picture(tmp_path / "in/a.png")
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        error = RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4000000000000 bytes. Error code 12"
        )
        (failure,) = run(plan, failing(error, at=1)).failures
        assert failure.reason.startswith("The picture does not fit into memory; ")

    @pytest.mark.parametrize(("scale", "fits"), [(1, True), (4, False)])
    def test_a_result_too_large_for_its_format_is_refused_before_the_work(
        self, tmp_path: Path, scale: int, fits: bool
    ) -> None:
        source = picture(tmp_path / "a.png", "L", (4096, 1))
        job = Job(source, tmp_path / "out/a.webp")
        if fits:
            assert batch.load(job, scale).size == (4096, 1)
        else:
            with pytest.raises(OutputError, match="16383 px a side, but the result has 16384x4"):
                batch.load(job, scale)

    def test_sixteen_bit_grey_with_alpha_goes_as_bytes_or_as_grey(self, tmp_path: Path) -> None:
        values = np.full((6, 8, 2), 12345, np.uint16)
        (tmp_path / "a.png").write_bytes(png16.write(values, {}))
        data = batch.load(Job(tmp_path / "a.png", tmp_path / "out.png"))
        assert np.array_equal(png16.read(data), values)
        with pytest.warns(DepthWarning, match="file has 16 bits a colour, but its result has 8"):
            assert batch.load(Job(tmp_path / "a.png", tmp_path / "out.tif")).mode == "LA"

    def test_depth_that_pillow_cuts_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n1023\n" + bytes(12))
        with pytest.warns(DepthWarning, match="file has 10 bits a colour, but its result has 8"):
            batch.load(Job(tmp_path / "a.ppm", tmp_path / "out.png"))

    @pytest.mark.parametrize(
        ("colours", "mode"), [((9, 9, 9, 200, 200, 200), "L"), ((9, 9, 200, 200, 200, 9), "RGB")]
    )
    def test_a_palette_is_grey_only_if_all_its_colours_are(
        self, tmp_path: Path, colours: tuple[int, ...], mode: str
    ) -> None:
        image = Image.new("P", (4, 4))
        image.putpalette(colours)
        image.save(tmp_path / "a.png")
        loaded = batch.load(Job(tmp_path / "a.png", tmp_path / "b.png"))
        assert loaded.mode == mode
        assert loaded.convert("RGB").getpixel((0, 0)) == colours[:3]

    def test_a_palette_does_not_bound_the_result(self, tmp_path: Path) -> None:
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

    def test_an_interruption_while_the_last_are_written_loses_none(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png"):
            picture(tmp_path / "in" / name)

        def interrupt(job: Job) -> None:
            if job.source.name == "b.png":
                raise KeyboardInterrupt

        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        summary = batch.run(plan.jobs, double, save, progress=interrupt)
        assert (summary.interrupted, len(summary.done), summary.left) == (True, 2, 0)

    def test_a_full_disk_ends_the_run_with_one_sentence_and_nothing_half(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for i in range(9):
            picture(tmp_path / "in" / f"{i}.png")
        synced = iter(range(1, 100))

        def fsync(_: int) -> None:
            if next(synced) > 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fsync)
        plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
        summary = batch.run(plan.jobs, double, save, workers=1)
        assert files(tmp_path / "out") == ["0.png", "1.png"]
        assert "no room left on the disk" in summary.failures[0].reason
        assert "free some space, then try again" in summary.failures[0].reason
        assert summary.left > 0
        assert not summary.interrupted


class TestSave:
    def test_a_result_that_appears_meanwhile_is_not_replaced(self, tmp_path: Path) -> None:
        target = tmp_path / "a.png"
        target.write_text("mine")
        with pytest.raises(OutputError, match="was not replaced"):
            save(Image.new("RGB", (2, 2)), target)
        assert target.read_text() == "mine"
        assert files(tmp_path) == ["a.png"]

    def test_a_picture_that_cannot_be_encoded_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    def test_a_disk_that_fills_up_leaves_no_truncated_file(self, tmp_path: Path, name: str) -> None:
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

    def test_metadata_survives_and_the_orientation_goes(self, tmp_path: Path) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "A camera"
        for name in ("a.jpg", "a.png", "a.tif", "a.webp", "a.avif"):
            source = picture(tmp_path / "in" / name, exif=exif, icc_profile=profile, dpi=(300, 300))
            job = Job(source, tmp_path / "out" / name)
            save(double(batch.load(job)), job.target)
            result = Image.open(job.target)
            assert result.getexif().get(0x010F) == "A camera", name
            assert result.getexif().get(0x0112, 1) == 1, name
            assert result.info["icc_profile"] == profile, name
            if name not in ("a.webp", "a.avif"):  # which have no place for it
                assert tuple(map(round, result.info["dpi"])) == (300, 300), name

        image = Image.new("RGB", (4, 4))
        for dpi in ((300, 300), 300):
            image.info["dpi"] = dpi
            save(image, tmp_path / "a.bmp", overwrite=True)
            assert tuple(map(round, Image.open(tmp_path / "a.bmp").info["dpi"])) == (300, 300)

    @pytest.mark.parametrize("name", ["b.jpg", "b.png", "b.webp", "b.tif", "b.avif"])
    def test_what_a_camera_noted_survives_in_every_format(self, tmp_path: Path, name: str) -> None:
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
            save(image, tmp_path / "usual" / name, quality=95)
            low, high, usual = (tmp_path / q / name for q in ("low", "high", "usual"))
            assert low.stat().st_size < high.stat().st_size / 2, name
            assert usual.read_bytes() == high.read_bytes(), name

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
        self, tmp_path: Path, mode: str, asked: str, message: str
    ) -> None:
        source = tmp_path / "a.tif"
        Image.new(mode, (4, 4)).save(source)
        plan = make_plan([str(source)], tmp_path / "out", file_format=format_named(asked))
        with pytest.raises(OutputError, match=message):
            batch.load(plan.jobs[0])

    @pytest.mark.parametrize(
        ("name", "mode", "start"),
        [
            ("a.jp2", "RGB", b"\0\0\0\x0cjP  "),
            *(
                (f"a.{codestream}", "RGB", b"\xff\x4f\xff\x51")
                for codestream in ("j2k", "j2c", "jpc")
            ),
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
        self, tmp_path: Path, name: str, mode: str, start: bytes
    ) -> None:
        save(Image.new(mode, (16, 16)), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
        assert Image.open(tmp_path / name).size == (16, 16)

    @pytest.mark.parametrize(
        ("name", "mode"),
        [("a.pgm", "RGB"), ("a.pbm", "L"), ("a.pbm", "RGB"), ("a.pfm", "RGB"), ("a.pfm", "L")],
    )
    def test_colours_and_greys_that_a_name_has_no_room_for_are_refused(
        self, tmp_path: Path, name: str, mode: str
    ) -> None:
        ending = Path(name).suffix
        with pytest.raises(OutputError, match=rf"A \{ending} file cannot hold .*write it as png"):
            save(Image.new(mode, (16, 16)), tmp_path / name)
        assert files(tmp_path) == []

    @pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
    def test_xmp_goes_along_without_its_orientation(self, tmp_path: Path, source: str) -> None:
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

    def test_xmp_too_long_for_jpeg_is_left_out_with_a_warning(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (4, 4))
        image.info["xmp"] = XMP + b" " * 65536
        save(image, tmp_path / "a.png")
        assert Image.open(tmp_path / "a.png").info["xmp"].startswith(b"<x:xmpmeta")
        with pytest.warns(MetadataWarning, match="JPEG holds 65504 bytes; write PNG"):
            save(image, tmp_path / "a.jpg")
        assert "xmp" not in Image.open(tmp_path / "a.jpg").info

    def test_exif_too_long_for_jpeg_is_left_out_with_a_warning(self, tmp_path: Path) -> None:
        image, exif = Image.new("RGB", (4, 4)), Image.Exif()
        exif[0x010E] = "a" * 65536
        image.info["exif"] = exif.tobytes()
        with pytest.warns(MetadataWarning, match="JPEG holds 65533 bytes; write PNG"):
            save(image, tmp_path / "a.jpg")
        assert not Image.open(tmp_path / "a.jpg").getexif()

    @pytest.mark.parametrize("dpi", [1e6, 1e12])
    def test_a_resolution_beyond_all_printers_is_none(self, tmp_path: Path, dpi: float) -> None:
        image = Image.new("RGB", (4, 4))
        image.info["dpi"] = (dpi, dpi)
        for name in ("a.png", "a.jpg", "a.bmp", "a.tif"):
            save(image, tmp_path / name)
            assert Image.open(tmp_path / name).info.get("dpi", (1, 1))[0] < 100

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
    def test_tags_about_the_file_they_came_from_change_nothing(
        self, tmp_path: Path, name: str
    ) -> None:
        layout = [*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338]
        layout += [320, 330, 339, 347, *range(512, 522), *range(529, 533), 700, 34675]
        for folder, tags in (("plain", []), ("tiled", layout)):
            image, exif = Image.new("RGB", (4, 4), "red"), Image.Exif()
            exif[0x010F] = "A camera"
            exif.update(dict.fromkeys(tags, 7))
            image.info["exif"] = exif.tobytes()
            save(image, tmp_path / folder / name)
        assert (tmp_path / "tiled" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()

    def test_xmp_as_long_as_jpeg_holds_is_kept(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (4, 4))
        image.info["xmp"] = XMP.replace(b' tiff:Orientation="6"', b"").ljust(65504)
        save(image, tmp_path / "a.jpg")
        assert Image.open(tmp_path / "a.jpg").info["xmp"] == image.info["xmp"]

    def test_an_orientation_that_is_an_element_of_xmp_goes_too(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (4, 4))
        before, after = b"<rdf:Description><dc:title>A sign</dc:title>", b"</rdf:Description>"
        image.info["xmp"] = before + b"<tiff:Orientation>6</tiff:Orientation>" + after
        save(image, tmp_path / "a.jpg")
        assert Image.open(tmp_path / "a.jpg").info["xmp"] == before + after

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
    def test_a_dpi_that_is_no_resolution_is_left_out(self, tmp_path: Path, name: str) -> None:
        for dpi in ((0, 0), (72, 0), (float("inf"), 72), (float("nan"), 72)):
            image = Image.new("RGB", (4, 4))
            image.info["dpi"] = dpi
            save(image, tmp_path / name, overwrite=True)
            plain = Image.new("RGB", (4, 4))
            save(plain, tmp_path / "plain" / name, overwrite=True)
            assert (tmp_path / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()

    def test_the_compression_of_a_tiff_is_no_text_of_a_png(self, tmp_path: Path) -> None:
        source = picture(tmp_path / "a.tif", compression="tiff_lzw")
        job = Job(source, tmp_path / "a.png")
        save(batch.load(job), job.target)
        assert Image.open(job.target).text == {}

    @pytest.mark.parametrize("result", [Image.new("RGB", (2, 2)), b"a whole file"])
    def test_whatever_is_saved_replaces_nothing_unasked_and_says_how_to_go_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Image.Image | bytes
    ) -> None:
        target = tmp_path / "a.png"
        target.write_text("old")
        with pytest.raises(OutputError, match="exists already"):
            save(result, target)
        monkeypatch.setattr(os, "fsync", fails_with(errno.ENOSPC))
        with pytest.raises(DiskFullError, match="free some space, then start anew"):
            save(result, target, overwrite=True, again="start anew")
        assert target.read_text() == "old"

    def test_texts_go_from_png_to_png(self, tmp_path: Path) -> None:
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

    def test_opaque_alpha_is_no_hindrance(self, tmp_path: Path) -> None:
        save(Image.new("RGBA", (4, 4), (200, 10, 10, 255)), tmp_path / "a.jpg")
        assert Image.open(tmp_path / "a.jpg").mode == "RGB"

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
        self, tmp_path: Path, name: str, held: str
    ) -> None:
        for mode, wanted in zip(("1", "L", "RGB", "P", "CMYK"), held.split(), strict=True):
            save(Image.new(mode, (4, 4)), tmp_path / mode / name)
            result = Image.open(tmp_path / mode / name)
            assert (result.mode, result.size) == (wanted, (4, 4))

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

    @pytest.mark.parametrize("name", ["a.bmp", "a.ppm", "a.tga", "a.jp2"])
    def test_where_no_profile_fits_colours_become_those_of_srgb(
        self, tmp_path: Path, name: str
    ) -> None:
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
    def test_transparent_grey_goes_through_its_profile_too(self, tmp_path: Path, name: str) -> None:
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
    def test_transparency_is_kept_where_no_profile_fits(
        self, tmp_path: Path, name: str, mode: str
    ) -> None:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image = Image.new(mode, (16, 16))
        image.putalpha(Image.linear_gradient("L").resize((16, 16)))
        image.info["icc_profile"] = linear_grey_profile() if mode == "LA" else srgb
        save(image, tmp_path / name)
        held = Image.open(tmp_path / name)
        assert held.mode == mode
        assert held.getchannel("A").tobytes() == image.getchannel("A").tobytes()

    def test_a_profile_that_cannot_be_used_is_done_without(self, tmp_path: Path) -> None:
        profile = bytearray(linear_grey_profile())
        at = profile.index(b"kTRC")
        profile[at : at + 4] = b"none"
        image = Image.new("L", (4, 4), 128)
        image.info["icc_profile"] = bytes(profile)
        save(image, tmp_path / "a.webp", quality=100)
        assert Image.open(tmp_path / "a.webp").getpixel((1, 1)) == (128, 128, 128)

    @pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_sixteen_bits_are_held_in_either_byte_order(
        self, tmp_path: Path, mode: str, name: str
    ) -> None:
        values = np.array([[0, 100, 256, 30000, 65535]], np.uint16)
        order = ">u2" if mode == "I;16B" else "<u2"
        image = Image.frombytes(mode, (5, 1), values.astype(order).tobytes())
        image.info["icc_profile"] = linear_grey_profile()
        save(image, tmp_path / name)
        with Image.open(tmp_path / name) as held:
            assert np.asarray(held).tolist() == values.tolist()
            assert held.info["icc_profile"] == linear_grey_profile()

    def test_a_grey_palette_with_a_profile_stays_in_its_colours(self, tmp_path: Path) -> None:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image = Image.new("L", (8, 8), 90).convert("P")
        (tmp_path / "in").mkdir()
        image.save(tmp_path / "in/a.png", icc_profile=srgb)
        (job,) = make_plan([str(tmp_path / "in")], tmp_path / "out").jobs
        loaded = batch.load(job)
        assert (loaded.mode, loaded.info["icc_profile"]) == ("RGB", srgb)

    @pytest.mark.parametrize("mode", ["La", "RGBa"])
    def test_premultiplied_colours_are_held(self, tmp_path: Path, mode: str) -> None:
        image = Image.new(mode.upper(), (4, 4), (200, 100) if mode == "La" else (200, 9, 9, 100))
        save(image.convert(mode), tmp_path / "a.webp", quality=100)
        result = Image.open(tmp_path / "a.webp")
        assert np.allclose(result.getpixel((1, 1)), image.convert("RGBA").getpixel((1, 1)), atol=3)

    @pytest.mark.parametrize(
        ("name", "most"), [("a.webp", 16383), ("a.jpg", 65500), ("a.tga", 65535), ("a.avif", 32768)]
    )
    @pytest.mark.parametrize("turn", [1, -1])
    def test_a_side_too_long_for_the_format(
        self, tmp_path: Path, name: str, most: int, turn: int
    ) -> None:
        size, held = (most + 1, 1)[::turn], (most, 1)[::turn]
        with pytest.raises(OutputError, match=rf"at most {most} px a side.*write it as png"):
            save(Image.new("L", size), tmp_path / name)
        save(Image.new("L", held), tmp_path / name)
        assert Image.open(tmp_path / name).size == held

    def test_more_px_than_an_avif_is_read_with_are_refused(self) -> None:
        require_size((2**14, 2**14), format_named("avif"))
        with pytest.raises(OutputError, match=r"at most 268435456 px, .* 16384x16385; write it as"):
            require_size((2**14, 2**14 + 1), format_named("avif"))

    def test_integers_that_fit_into_16_bits_go_into_a_png(self, tmp_path: Path) -> None:
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

    def test_transparency_of_a_palette_is_never_lost(self, tmp_path: Path) -> None:
        image = Image.new("P", (4, 4))
        image.info["transparency"] = 0
        with pytest.raises(
            OutputError, match=r"A \.jpg file cannot hold the picture's transparency"
        ):
            save(image, tmp_path / "a.jpg")

    @pytest.mark.parametrize(
        ("mode", "held"),
        [("LAB", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("RGBX", "RGB"), ("PA", "RGBA")],
    )
    def test_modes_that_a_format_lacks_become_colours(
        self, tmp_path: Path, mode: str, held: str
    ) -> None:
        save(Image.new(mode, (4, 4)), tmp_path / "a.png")
        assert Image.open(tmp_path / "a.png").mode == held

    def test_a_tiff_is_compressed_without_loss(self, tmp_path: Path) -> None:
        image = Image.open(picture(tmp_path / "a.png")).resize((256, 256), Image.Resampling.NEAREST)
        save(image, tmp_path / "a.tif")
        assert (tmp_path / "a.tif").stat().st_size < 256 * 256
        assert Image.open(tmp_path / "a.tif").tobytes() == image.tobytes()

    def test_avif_keeps_colour_at_full_resolution(self, tmp_path: Path) -> None:
        stripes = np.zeros((32, 32, 3), np.uint8)
        stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
        save(Image.fromarray(stripes), tmp_path / "a.avif", quality=100)
        result = np.asarray(Image.open(tmp_path / "a.avif"))
        assert np.abs(result - stripes.astype(int)).max() < 20
