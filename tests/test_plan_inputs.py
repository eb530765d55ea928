"""What a batch finds: files, folders and patterns, and a sentence for what it cannot take."""

from __future__ import annotations

import errno
import os
from itertools import product
from pathlib import Path

import pytest
from picture_files import picture, run

from preproc.batch.inputs import picture_extensions
from preproc.batch.plan import Job, make_plan


def test_a_folder_keeps_its_structure_without_hidden_files(tmp_path: Path) -> None:
    for name in ("a.png", "sub/deep/b.JPG", ".hidden.png", ".git/c.png", "notes.txt"):
        path = tmp_path / "in" / name
        picture(path) if path.suffix != ".txt" else path.write_text("no picture")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    targets = [job.target.relative_to(tmp_path / "out").as_posix() for job in plan.jobs]
    assert targets == ["a.png", "sub/deep/b.JPG"]
    assert not plan.failures


def test_a_glob_keeps_the_structure_below_its_fixed_part(tmp_path: Path) -> None:
    for name in ("x/a.png", "x/y/b.png", "x/y/c.jpg"):
        picture(tmp_path / name)
    plan = make_plan([str(tmp_path / "x/**/*.png")], tmp_path / "out")
    targets = [job.target.relative_to(tmp_path / "out").as_posix() for job in plan.jobs]
    assert targets == ["a.png", "y/b.png"]


def test_a_glob_finds_pictures_only_and_nothing_hidden(tmp_path: Path) -> None:
    for name in ("a.PNG", ".hidden.png", ".git/c.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in/notes.txt").write_text("no picture")
    plan = make_plan([str(tmp_path / "in/**")], tmp_path / "out")
    assert [job.source.name for job in plan.jobs] == ["a.PNG"]
    assert not plan.failures


def test_a_name_with_wildcard_characters_is_a_file_if_it_exists(tmp_path: Path) -> None:
    source = picture(tmp_path / "a[1].png")
    (job,) = make_plan([str(source)], tmp_path / "out").jobs
    assert job == Job(source, tmp_path / "out" / "a[1].png")


def test_a_glob_finds_pictures_below_the_output_folder(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/a.png")
    (job,) = make_plan([str(tmp_path / "in/*.png")], tmp_path, suffix="_x4").jobs
    assert job == Job(source, tmp_path / "a_x4.png")


def test_what_lies_in_the_output_folder_is_no_input(tmp_path: Path) -> None:
    for name in ("a.png", "out/other.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "again").symlink_to(tmp_path / "in")
    for folder, parent, pattern in product(("in", "again"), ("in", "again"), ("", "**/*.png")):
        out = tmp_path / parent / "out"
        (job,) = make_plan([str(tmp_path / folder / pattern)], out).jobs
        assert job == Job(tmp_path / folder / "a.png", out / "a.png")


def test_a_file_given_twice_is_enhanced_once(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/a.png")
    assert len(make_plan([str(source), str(tmp_path / "in")], tmp_path / "out").jobs) == 1


def test_a_link_has_a_result_of_its_own(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/b.png")
    for name in ("a.png", "signs/b.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).symlink_to(source)
    jobs = make_plan([str(tmp_path / "in")], tmp_path / "out").jobs
    names = [job.target.relative_to(tmp_path / "out").as_posix() for job in jobs]
    assert names == ["a.png", "b.png", "signs/b.png"]


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    picture(tmp_path / "elsewhere/b.png")
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (job,) = make_plan([str(tmp_path / "in")], tmp_path / "out").jobs
    assert job.source.name == "a.png"


def test_a_link_that_leads_round_names_no_result(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/z.png")
    (tmp_path / "in/again").symlink_to(source.parent)
    (job,) = make_plan([str(tmp_path / "in/**/*.png")], tmp_path / "out").jobs
    assert job == Job(source, tmp_path / "out/z.png")


def test_a_glob_goes_through_no_links_however_many_lead_round(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/sub/deep/b.png")
    for name in ("a", "b", "z"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "in")
    (tmp_path / "in/link").symlink_to(tmp_path / "in/sub")
    out = tmp_path / "out"
    for pattern in ("in/**/*.png", "in/**", "in/**/deep/**/*.png", "*/**/b.png"):
        (job,) = make_plan([str(tmp_path / pattern)], out).jobs
        assert job.source == source
        below = "in/sub/deep" if pattern.startswith("*") else "sub/deep"
        assert job.target == out / below / "b.png"


def test_a_picture_that_a_glob_finds_by_two_paths_is_named_by_the_shorter(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/sub/b.png")
    (tmp_path / "in/first").mkdir()
    (tmp_path / "in/first/link").symlink_to(source.parent)
    (job,) = make_plan([str(tmp_path / "in/**/*/b.png")], tmp_path / "out").jobs
    assert job == Job(source, tmp_path / "out/sub/b.png")


def test_a_glob_may_begin_at_any_depth_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "x[1]/b.png", "x[1]/y/c.png"):
        picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for pattern, wanted in (
        ("**/*.png", ["a.png", "x[1]/b.png", "x[1]/y/c.png"]),
        ("**", ["a.png", "x[1]/b.png", "x[1]/y/c.png"]),
        ("*/**/c.*", ["x[1]/y/c.png"]),
        ("**/y/*", ["x[1]/y/c.png"]),
    ):
        jobs = make_plan([pattern], Path("out")).jobs
        assert [job.source.as_posix() for job in jobs] == wanted, pattern


def test_links_that_lead_nowhere_fail_alone(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    for name, target in (("lost.png", "gone.png"), ("round.png", "round.png")):
        (tmp_path / "in" / name).symlink_to(target)
    summary = run(make_plan([str(tmp_path / "in")], tmp_path / "out"))
    assert [path.name for path in summary.done] == ["a.png"]
    assert [failure.source.name for failure in summary.failures] == ["lost.png", "round.png"]
    assert summary.failures[0].reason == "The file cannot be read: No such file or directory."
    assert summary.left == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/a.png")
    os.mkfifo(tmp_path / "in/b.png")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out")
    assert [job.source for job in plan.jobs] == [source]
    assert not plan.failures


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
@pytest.mark.parametrize("out", ["out", "out.png"])
def test_a_pipe_that_is_named_is_refused_with_a_way_out(tmp_path: Path, out: str) -> None:
    os.mkfifo(tmp_path / "a.png")
    plan = make_plan([str(tmp_path / "a.png")], tmp_path / out)
    assert not plan.jobs
    (failure,) = plan.failures
    assert failure.reason == "It is a pipe or device; save its content to a file first."


def test_a_folder_that_cannot_be_read_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_pictures_that_pillow_cannot_open_are_named(tmp_path: Path) -> None:
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


def test_raw_files_of_all_cameras_and_drawings_are_named(tmp_path: Path) -> None:
    raw = ("arw", "cr2", "cr3", "dng", "nef", "orf", "pef", "raf", "rw2", "srw")
    endings = sorted((*raw, "eps", "jxl", "pdf", "svg"))
    for ending in endings:
        (tmp_path / f"a.{ending}").write_bytes(b"?")
    plan = make_plan([str(tmp_path)], tmp_path / "out")
    assert [path.name for path in plan.unopened] == [f"a.{ending}" for ending in endings]


def test_what_only_another_program_could_draw_is_no_picture() -> None:
    assert {".jpg", ".png", ".webp", ".tif", ".avif", ".mpo"} <= picture_extensions()
    assert not {".eps", ".h5", ".mpg", ".pdf", ".wmf"} & picture_extensions()


def test_nothing_found_is_a_sentence_each(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    names = [str(tmp_path / name) for name in ("empty", "missing.png", "*.tif")]
    reasons = [failure.reason for failure in make_plan(names, tmp_path / "out").failures]
    assert reasons == [
        "The folder holds no picture files (hidden ones are not counted).",
        "There is no such file or folder.",
        "No picture file matches this pattern.",
    ]


def test_an_empty_folder_is_named_also_where_one_picture_is_asked_for(tmp_path: Path) -> None:
    (failure,) = make_plan([str(tmp_path)], tmp_path / "out.png").failures
    assert failure.reason.startswith("The folder holds no picture files")


@pytest.mark.parametrize("name", ["missing.png", "https://a.example/missing.png"])
def test_a_missing_picture_is_named(tmp_path: Path, name: str) -> None:
    (failure,) = make_plan([name], tmp_path / "out.png").failures
    assert "There is no such file" in failure.reason
    assert ("download it" in failure.reason) == name.startswith("https")


def test_a_path_that_the_system_cannot_look_at_fails_alone(tmp_path: Path) -> None:
    names = [str(tmp_path / ("n" * 300 + ".png")), str(picture(tmp_path / "a.png"))]
    plan = make_plan(names, tmp_path / "out")
    assert [job.source.name for job in plan.jobs] == ["a.png"]
    (failure,) = plan.failures
    assert failure.source == Path(names[0])
    assert "File name too long" in failure.reason
    assert not make_plan(names[:1], tmp_path / "out").jobs
