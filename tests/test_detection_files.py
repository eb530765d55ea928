"""Detections come back from their files as they were, or the file is named if it is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wider_faces import face, found

from eval_tasks.engines.detection_files import read_detections, read_file, write_file
from preproc.errors import ImageError, OutputError


def test_detections_come_back_from_the_official_format_with_their_fractions(tmp_path):
    boxes = found(([1.125, 2.5, 10.25, 11.75], 0.99999994), (face(-3, -4), 1e-7))
    write_file(tmp_path / "e" / "p.j.txt", "e/p.j.jpg", boxes)
    write_file(tmp_path / "e" / "none.txt", "e/none.jpg", found())
    assert (tmp_path / "e" / "p.j.txt").read_text().splitlines()[:3] == [
        "e/p.j.jpg",
        "2",
        "1.125 2.500 10.250 11.750 0.99999994",
    ]
    back = read_detections(tmp_path, ["e/p.j", "e/none", "e/absent"])
    assert back.keys() == {"e/p.j", "e/none"}
    assert np.array_equal(back["e/p.j"], boxes)
    assert back["e/none"].shape == (0, 5)


@pytest.mark.parametrize(
    "text", ["", "name", "name\n2\n1 2 3 4 .5\n", "name\n1\n1 2 3 4\n", "name\n1\n1 2 3 4 x\n"]
)
def test_a_damaged_file_is_named(text, tmp_path):
    path = tmp_path / "p.txt"
    path.write_text(text)
    with pytest.raises(ImageError, match=r"p\.txt is not in WIDER FACE's format"):
        read_file(path)


def test_two_runs_may_write_the_same_file_at_once(tmp_path, monkeypatch):
    path = tmp_path / "p.txt"
    replace = Path.replace

    def overtaken(self, target):
        with monkeypatch.context() as context:
            context.setattr(Path, "replace", replace)
            write_file(path, "p.jpg", found())
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", overtaken)
    write_file(path, "p.jpg", found((face(), 1.0)))
    assert len(read_file(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "p.txt").mkdir()
    with pytest.raises(OutputError, match=r"Cannot write .*p\.txt"):
        write_file(tmp_path / "p.txt", "p.jpg", found())
    assert list(tmp_path.iterdir()) == [tmp_path / "p.txt"]
