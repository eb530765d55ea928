"""Files come whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import math
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from preproc.errors import DiskFullError, OutputError
from preproc.files import replacing, require_writable, write_text
from preproc.reports import require_report_files, write_json


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    return path


def test_a_file_takes_the_place_of_another_at_the_end(old: Path) -> None:
    with replacing(old) as file:
        file.write(b"new")
        assert old.read_bytes() == b"old"
    assert old.read_bytes() == b"new"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664])
def test_who_may_read_a_file_stays_as_it_was_when_it_is_replaced(old: Path, mode: int) -> None:
    old.chmod(mode)
    with replacing(old) as file:
        (draft,) = set(old.parent.iterdir()) - {old}
        assert draft.stat().st_mode & 0o777 == mode, "before there is anything to read"
        file.write(b"new")
    assert (old.read_bytes(), old.stat().st_mode & 0o777) == (b"new", mode)


def test_a_link_stays_and_leads_to_the_new_file(old: Path, tmp_path: Path) -> None:
    link = tmp_path / "folder" / "link.txt"
    link.parent.mkdir()
    link.symlink_to(old)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert old.read_bytes() == b"new"
    assert [p.name for p in sorted(tmp_path.rglob("*.txt"))] == ["a.txt", "link.txt"]


def test_a_link_to_nothing_yet_leads_to_the_new_file(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to("later/a.txt")
    with replacing(link, overwrite=False) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "later/a.txt").read_bytes() == b"new"


def test_a_file_that_is_there_by_the_end_is_not_replaced_unless_that_is_allowed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.txt"

    def write() -> None:
        with replacing(path, overwrite=False) as file:
            file.write(b"new")
            path.write_bytes(b"theirs")

    with pytest.raises(OutputError, match=r"^\S+a\.txt exists already and was not replaced\.$"):
        write()
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("same", [True, False])
def test_a_file_that_another_process_holds_is_an_error_unless_it_is_the_same(
    old: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    def held(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", held)
    told = nullcontext() if same else pytest.raises(OutputError, match="Permission denied")
    with told, replacing(old, same=same) as file:
        file.write(b"new")
    assert old.read_bytes() == b"old"
    assert list(old.parent.iterdir()) == [old]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with replacing(tmp_path / "a/b/c.txt") as file:
        file.write(b"new")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"new"


def test_a_folder_that_can_be_written_to_is_made_and_stays_empty(tmp_path: Path) -> None:
    require_writable(tmp_path / "a/b")
    assert not list((tmp_path / "a/b").iterdir())


def test_a_report_takes_the_place_of_a_link_that_leads_round(tmp_path: Path) -> None:
    link = tmp_path / "report.json"
    link.symlink_to(link)
    require_report_files(link)
    write_json(link, {"words": 3})
    assert json.loads(link.read_text()) == {"words": 3}


def test_numbers_that_json_lacks_are_words_in_reports_wherever_they_are(tmp_path: Path) -> None:
    report = {"a": [1.5, {"b": (math.inf, None)}], "c": -math.inf, "d": math.nan}
    write_json(tmp_path / "a.json", report)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found == {"a": [1.5, {"b": ["inf", None]}], "c": "-inf", "d": "nan"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_whatever_ends_it_nothing_half_is_left(old: Path, stop: type[BaseException]) -> None:
    def write() -> None:
        with replacing(old) as file:
            file.write(b"half")
            raise stop

    with pytest.raises(stop):
        write()
    assert old.read_bytes() == b"old"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (errno.ENOSPC, DiskFullError, r"no room left on the disk to write .*a\.txt; free some"),
        (errno.EDQUOT, DiskFullError, r"no room left on the disk to write .*a\.txt; free some"),
        (errno.EACCES, OutputError, r"Cannot write .*a\.txt: Permission denied; check its folder"),
    ],
)
def test_a_full_disk_and_missing_rights_are_sentences(
    old: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[Exception],
    sentence: str,
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=sentence):
        write_text(old, "new")
    assert old.read_bytes() == b"old"
    assert list(old.parent.iterdir()) == [old]


def test_a_file_where_a_folder_is_needed_is_said_so(old: Path) -> None:
    for work in (lambda: require_writable(old), lambda: write_json(old / "report.json", {})):
        with pytest.raises(OutputError, match="a file stands where a folder is needed"):
            work()
