"""Where the results of a batch go: no input and no finished result is lost to them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from picture_files import failing, files, picture, run

from preproc.batch.plan import make_plan
from preproc.errors import OutputError
from preproc.pictures.formats import format_named


def test_a_single_file_may_get_an_output_file_name(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.jpg")
    (job,) = make_plan([str(source)], tmp_path / "better.png").jobs
    assert job.target == tmp_path / "better.png"


def test_the_file_name_gets_the_suffix_and_keeps_to_the_format(tmp_path: Path) -> None:
    plan = partial(make_plan, [str(picture(tmp_path / "a.jpg"))], tmp_path / "better.png")
    (job,) = plan(suffix="_x4", file_format=format_named("png")).jobs
    assert job.target == tmp_path / "better_x4.png"
    with pytest.raises(OutputError, match=r"better\.png does not fit the format asked for"):
        plan(file_format=format_named("jpg"))


def test_several_files_into_one_file_name_are_refused(tmp_path: Path) -> None:
    sources = [str(picture(tmp_path / name)) for name in ("a.jpg", "b.jpg")]
    with pytest.raises(OutputError, match="give a folder"):
        make_plan(sources, tmp_path / "better.png")


def test_one_picture_into_a_name_of_no_format_is_refused(tmp_path: Path) -> None:
    source = str(picture(tmp_path / "a.jpg"))
    with pytest.raises(OutputError, match=r"cannot be written as \.jgp; end it in one of"):
        make_plan([source], tmp_path / "res.jgp")
    (tmp_path / "v1.2").mkdir()
    (job,) = make_plan([source], tmp_path / "v1.2").jobs
    assert job.target == tmp_path / "v1.2/a.jpg"
    assert make_plan([str(tmp_path)], tmp_path / "v1.3").jobs, "many pictures go to a folder"


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
    tmp_path: Path, name: str, asked: str | None, expected: str
) -> None:
    source = picture(tmp_path / name, "L", format="PNG")
    chosen = format_named(asked) if asked else None
    (job,) = make_plan([str(source)], tmp_path / "out", file_format=chosen).jobs
    assert job.target.name == expected


def test_two_inputs_with_one_output_are_seen_beforehand(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        picture(tmp_path / "in" / name)
    with pytest.raises(OutputError, match=r"a\.jpg and .*a\.png would both be written to"):
        make_plan([str(tmp_path / "in")], tmp_path / "out", file_format=format_named("png"))
    for name in ("a.bmp", "b.png", "b.jpg"):
        picture(tmp_path / "in" / name)
    with pytest.raises(OutputError, match=r"to .*a\.png \(and 2 more like them\); enhance"):
        make_plan([str(tmp_path / "in")], tmp_path / "out", file_format=format_named("png"))


def test_two_names_of_one_output_folder_are_seen_beforehand(tmp_path: Path) -> None:
    for name in ("in/x/a.png", "in/y/a.png"):
        picture(tmp_path / name)
    (tmp_path / "out/x").mkdir(parents=True)
    (tmp_path / "out/y").symlink_to(tmp_path / "out/x")
    with pytest.raises(OutputError, match="would both be written to"):
        make_plan([str(tmp_path / "in")], tmp_path / "out")


def test_a_name_that_gets_too_long_fails_alone(tmp_path: Path) -> None:
    names = ("a.png", "n" * 250 + ".png")
    for name in names:
        picture(tmp_path / "in" / name)
    (tmp_path / "out").mkdir()
    summary = run(make_plan([str(tmp_path / "in")], tmp_path / "out", suffix="_x4"))
    assert [path.name for path in summary.done] == ["a_x4.png"]
    (failure,) = summary.failures
    assert "File name too long" in failure.reason


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    for path in (picture(tmp_path / "a.png"), tmp_path):
        with pytest.raises(OutputError, match="would replace the input"):
            make_plan([str(path)], tmp_path, overwrite=overwrite)


def test_what_an_earlier_run_left_among_the_inputs_is_never_replaced(tmp_path: Path) -> None:
    for name in ("a.png", "a_x4.png"):
        picture(tmp_path / name)
    with pytest.raises(OutputError, match=r"folder, or leave out what an earlier run made"):
        make_plan([str(tmp_path)], tmp_path, suffix="_x4", overwrite=True)


def test_an_input_is_never_replaced_through_a_link(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").symlink_to(source)
    with pytest.raises(OutputError, match="would replace the input"):
        make_plan([str(source)], tmp_path / "out", overwrite=True)


def test_an_input_is_never_replaced_under_another_of_its_names(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").hardlink_to(source)
    with pytest.raises(OutputError, match="would replace the input"):
        make_plan([str(source)], tmp_path / "out", overwrite=True)


def test_an_input_that_was_named_is_no_result_of_an_earlier_run(tmp_path: Path) -> None:
    names = [str(picture(tmp_path / name)) for name in ("a.png", "a_x4.png")]
    with pytest.raises(OutputError, match=r"would replace the input .*a_x4\.png"):
        make_plan(names, tmp_path, suffix="_x4", skip_existing=True)


@pytest.mark.parametrize("turn", [1, -1])
def test_what_is_named_counts_as_named_though_its_folder_is_given_too(
    tmp_path: Path, turn: int
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


def test_how_many_outputs_exist_is_said(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
        picture(tmp_path / "out" / name)
    with pytest.raises(OutputError, match=r"a\.png exists already \(and 1 more\); pass"):
        make_plan([str(tmp_path / "in")], tmp_path / "out")


def test_an_existing_output_is_refused_skipped_or_replaced_as_asked(tmp_path: Path) -> None:
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


def test_results_of_an_earlier_run_are_no_inputs(tmp_path: Path) -> None:
    folder = str(tmp_path)
    picture(tmp_path / "a.png")
    for out, suffix in ((tmp_path / "out", ""), (tmp_path, "_x2")):
        assert len(run(make_plan([folder], out, suffix=suffix)).done) == 1
        again = make_plan([folder], out, suffix=suffix, skip_existing=True)
        assert (len(again.jobs), len(again.skipped)) == (0, 1)
        for path in (tmp_path / "out").glob("*"):
            path.unlink()


def test_they_are_none_under_another_name_of_their_folder_either(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    (tmp_path / "again").symlink_to(tmp_path / "in")
    plan = partial(make_plan, [str(tmp_path / "in")], tmp_path / "again", suffix="_x2")
    assert len(run(plan()).done) == 1
    again = plan(skip_existing=True)
    assert (len(again.jobs), len(again.skipped)) == (0, 1)


def test_a_run_from_a_folder_into_itself_in_another_format_goes_on(tmp_path: Path) -> None:
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
