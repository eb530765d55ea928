"""A folder of pictures to train on: what is taken of it, decoded once, and what is left out."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("lightning", reason='training needs the extra "train"')

from preproc.degrade import bicubic_down
from preproc.errors import OutputError, RecipeError
from preproc.training.data.folder import Folder, PictureWarning


def test_folder_decodes_once_and_shrinks(data, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    folder = Folder(data / "photos", 4, 2, 8, cache)
    hr, lr = folder.pair(0)
    with Image.open(data / "photos/0.png") as photo:
        np.testing.assert_array_equal(hr, bicubic_down(np.asarray(photo), 2))
    np.testing.assert_array_equal(lr, bicubic_down(hr, 4))
    files = {f: f.stat().st_mtime_ns for f in cache.iterdir()}
    folder.pair(0)
    assert {f: f.stat().st_mtime_ns for f in cache.iterdir()} == files


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_picture_may_have_a_name_that_is_not_utf_8(data, tmp_path):
    (data / "photos/0.png").rename(data / "photos" / os.fsdecode(b"caf\xe9.png"))
    folder = Folder(data / "photos", 4, 1, 8, tmp_path)
    assert [*folder.readable()] == [0, 1]


@pytest.mark.parametrize("left", [0, 5, 64, 1000])
@pytest.mark.parametrize("which", ["hr", "lr"])
def test_a_decoded_picture_that_is_damaged_is_decoded_anew(data, tmp_path, which, left):
    folder = Folder(data / "photos", 4, 1, 8, tmp_path)
    before = [np.array(part) for part in folder.pair(0)]
    (file,) = tmp_path.glob(f"*.{which}.npy")
    file.write_bytes(file.read_bytes()[:left])
    for _ in range(2):
        for part, was in zip(folder.pair(0), before, strict=True):
            np.testing.assert_array_equal(part, was)


def test_a_decoded_picture_that_another_worker_has_mapped_is_taken_as_it_is(
    data, tmp_path, monkeypatch
):
    def replace(draft, target):  # as on Windows
        shutil.copy(draft, target)
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(Path, "replace", replace)
    hr, lr = Folder(data / "photos", 4, 1, 8, tmp_path).pair(0)
    assert hr.shape == (4 * lr.shape[0], 4 * lr.shape[1], 3)
    monkeypatch.setattr(Path, "replace", Mock(side_effect=PermissionError(13, "Access is denied")))
    with pytest.raises(OutputError, match="Access is denied"):
        Folder(data / "photos", 4, 2, 8, tmp_path).pair(0)


def test_folder_never_takes_what_it_decoded_for_another_picture_or_size(data, tmp_path):
    photos = data / "photos"
    for scale, shrink, shape in ((4, 1, (40, 50, 3)), (2, 1, (80, 100, 3)), (4, 2, (20, 25, 3))):
        assert Folder(photos, scale, shrink, 8, tmp_path).pair(0)[1].shape == shape
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):  # in files of one size
        Image.new("RGB", (200, 160), name).save(photos / "0.bmp")
        os.utime(photos / "0.bmp", (1, len(name)))
        assert (Folder(photos, 4, 1, 8, tmp_path).pair(0)[0] == colour).all()


def test_folder_takes_pictures_below_it_that_are_large_enough_once_shrunk(data, tmp_path):
    (data / "photos/below").mkdir()
    (data / "photos/0.png").rename(data / "photos/below/0.png")
    for shrink, smallest in ((1, 40), (2, 20)):  # of 200x160 px, for x4
        assert len([*Folder(data / "photos", 4, shrink, smallest, tmp_path).readable()]) == 2
        with pytest.raises(RecipeError, match=f"at least {160 + 4 * shrink} px"):
            Folder(data / "photos", 4, shrink, smallest + 1, tmp_path)


def test_linked_folders_are_entered_once(data, tmp_path):
    photos, elsewhere = data / "photos", tmp_path / "elsewhere"
    shutil.copytree(photos, elsewhere)
    try:
        (photos / "link").symlink_to(elsewhere)
        (photos / "again").symlink_to(elsewhere)
        (elsewhere / "round").symlink_to(photos)
    except OSError:
        pytest.skip("links are not allowed here")
    assert len([*Folder(photos, 4, 1, 8, tmp_path).readable()]) == 4


def test_a_photograph_is_decoded_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: stored rows are the picture's columns
    stored = np.zeros((40, 80, 3), np.uint8)
    stored[:8] = 255
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    hr, lr = Folder(tmp_path, 4, 1, 8, tmp_path).pair(0)
    assert hr.shape == (80, 40, 3)
    assert lr.shape == (20, 10, 3)
    assert (hr[:, -8:] == 255).all()
    assert (hr[:, :-8] == 0).all()


@pytest.mark.parametrize("mode", ["I;16", "F", "L"])
def test_pictures_of_any_depth_are_what_they_show(tmp_path, mode):
    grey = np.tile(np.arange(1, 257, 2, dtype=np.uint8), (64, 1))
    kinds = {"I;16": grey.astype(np.uint16) * 257 - 100, "F": grey - np.float32(0.4), "L": grey}
    kinds["F"][:, -1] = 260  # resizing overshoots
    Image.fromarray(kinds[mode]).save(tmp_path / "grey.tif")
    hr, _ = Folder(tmp_path, 2, 1, 1, tmp_path).pair(0)
    np.testing.assert_array_equal(hr, np.repeat(grey[..., None], 3, -1))


def test_folder_without_pictures_is_a_sentence(tmp_path):
    with pytest.raises(RecipeError, match="no picture"):
        Folder(tmp_path, 4, 1, 8, tmp_path)


def test_unreadable_files_are_left_out_with_one_warning(data, tmp_path):
    photos = data / "photos"
    for k in range(5):
        (photos / f"broken{k}.jpg").write_bytes(b"no picture")
    with pytest.warns(PictureWarning, match=r"5 picture.*broken0\.jpg.*broken2\.jpg and 2") as told:
        folder = Folder(photos, 4, 1, 8, tmp_path)
    assert len(told) == 1
    assert [*folder.readable()] == [0, 1]
    for path in photos.glob("*.png"):
        path.unlink()
    with pytest.warns(PictureWarning), pytest.raises(RecipeError, match="no picture"):
        Folder(photos, 4, 1, 8, tmp_path)


def test_what_a_folder_leaves_out_is_told_in_one_line(data, tmp_path, caplog):
    photos = data / "photos"
    Image.new("RGB", (20, 20)).save(photos / "small.png")
    for name in ("one.CR2", "two.jxl", "bad.png", "notes.txt"):
        (photos / name).write_bytes(b"no picture")
    caplog.set_level(logging.INFO, "preproc")
    for kernel in ("bicubic", "lanczos"):
        with pytest.warns(PictureWarning, match=r"bad\.png \(the first: cannot identify"):
            Folder(photos, 4, 1, 8, tmp_path, kernel)
    (line,) = caplog.messages
    assert line.startswith(f"{photos}: 2 pictures; ")
    for part in ("1 too small", "2 of formats that cannot be opened", "1 unreadable"):
        assert part in line


def test_a_file_cut_short_is_left_out_when_it_is_drawn(data, tmp_path):
    photos, rng = data / "photos", np.random.default_rng(0)
    whole = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(whole[: len(whole) // 2])
    folder = Folder(photos, 4, 1, 8, tmp_path)
    with pytest.raises(RecipeError, match=r"0\.png cannot be read .* replace or delete it"):
        folder.pair(0)
    with pytest.warns(PictureWarning, match=r"1 picture.*0\.png") as told:
        drawn = [folder.draw(rng)[0] for _ in range(8)]
    assert len(told) == 1
    assert all((one == drawn[0]).all() for one in drawn)
    (photos / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"1\.png cannot be read"):
        folder.draw(rng)


def test_pictures_that_can_be_read_are_told_and_none_is_a_sentence(data, tmp_path):
    photos = data / "photos"
    whole = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(PictureWarning, match=r"0\.png"):
        assert list(Folder(photos, 4, 1, 8, tmp_path).readable()) == [1]
    (photos / "1.png").unlink()
    with pytest.warns(PictureWarning), pytest.raises(RecipeError, match="No picture of"):
        list(Folder(photos, 4, 1, 8, tmp_path).readable())


def test_a_picture_taken_away_in_mid_training_is_left_out(data, tmp_path):
    photos, rng = data / "photos", np.random.default_rng(0)
    folder = Folder(photos, 4, 1, 8, tmp_path)
    folder.pair(0)
    (photos / "0.png").unlink()
    with pytest.warns(PictureWarning, match=r"0\.png"):
        drawn = [folder.draw(rng)[0] for _ in range(8)]
    assert len(drawn) == 8
    assert [*folder.readable()] == [0]
