"""Rendered text to train on: its words, fonts and colours, the page it stands on, and its noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("lightning", reason='training needs the extra "train"')

from preproc import drawing
from preproc.errors import MissingLibraryError
from preproc.training.data import text
from preproc.training.data.folder import Folder
from preproc.training.data.patches import Patches
from preproc.training.data.rendered import Text
from preproc.training.data.text import text_picture
from preproc.training.recipe import Data, Source, Stage


def test_text_is_reproducible():
    one, same, other = (text_picture(np.random.default_rng(s), 192) for s in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (192, 192, 3)
    assert (one != other).any()


def test_text_stands_off_its_ground(monkeypatch):
    off = []

    def line(rng, back, top, height):
        before = np.asarray(back.convert("L"), int)
        write(rng, back, top, height)
        off.append(np.abs(np.asarray(back.convert("L"), int) - before).max())

    write = text._line
    monkeypatch.setattr(text, "_line", line)
    for seed in range(4):
        text_picture(np.random.default_rng(seed), 192)
    assert len(off) > 8
    assert min(off) >= 40


def test_words_are_of_all_kinds_in_all_cases():
    rng = np.random.default_rng(0)
    words = [text._word(rng) for _ in range(2000)]
    kinds = str.islower, str.isupper, str.istitle, str.isdigit
    shares = [np.mean([kind(word) for word in words]) for kind in kinds]
    assert shares == pytest.approx([0.25, 0.27, 0.17, 0.18], abs=0.05)
    assert np.mean([not word.isalnum() for word in words]) == pytest.approx(0.1, abs=0.03)


def test_fonts_come_in_many_weights_and_none_draws_signs_for_letters(monkeypatch):
    fonts = {path.name: path for path in drawing._fonts()}
    assert len(fonts) > 20
    assert not any(name.startswith(("cmex", "cmmi", "cmsy", "NotoSansSymbols")) for name in fonts)
    inter = next(path for name, path in fonts.items() if name.startswith("Inter["))
    monkeypatch.setattr(drawing, "_fonts", lambda: [inter])
    drawn = [drawing.random_font(np.random.default_rng(seed), 40).getmask("H") for seed in range(8)]
    assert len({bytes(mask) for mask in drawn}) > 6


def test_fonts_have_the_size_and_colours_the_range_that_was_asked_for():
    rng = np.random.default_rng(0)
    assert [drawing.random_font(rng, height).size for height in (2, 6, 19, 50)] == [6, 6, 19, 50]
    colours = np.array([drawing.any_colour(rng) for _ in range(3000)])
    assert colours.min(axis=0).tolist() == [0, 0, 0]
    assert colours.max(axis=0).tolist() == [255, 255, 255]


def test_fonts_are_drawn_alike_however_a_file_system_lists_them(monkeypatch):
    monkeypatch.setattr(drawing, "_draws_latin", lambda _: True)
    plain, listed = drawing._fonts.__wrapped__(), Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda *args: reversed(list(listed(*args))))
    assert drawing._fonts.__wrapped__() == plain


def test_fonts_that_are_not_installed_are_a_sentence(monkeypatch):
    monkeypatch.setattr(drawing, "find_spec", lambda _: None)
    with pytest.raises(MissingLibraryError, match=r"the fonts of \w+; install preproc with its"):
        drawing._fonts.__wrapped__()


def test_a_page_seen_from_a_side_has_no_border():
    rng = np.random.default_rng(0)
    dots = np.full((64, 64, 3), 255, np.uint8)
    dots[30:34, 30:34] = 0
    for _ in range(20):
        page = np.asarray(text._tilted(rng, Image.fromarray(dots)))
        assert page[:20].min() == page[44:].min() == 255
        assert page[20:44].min() < 50


@pytest.mark.parametrize("level", [0, 255])
def test_noise_leaves_black_dark_and_white_bright(level):
    flat = np.full((32, 32, 3), level, np.uint8)
    noisy = [text._noisy(np.random.default_rng(seed), flat).astype(int) for seed in range(200)]
    off = np.array([np.abs(picture - level).max() for picture in noisy])
    assert 15 < off.max() < 40
    assert np.mean(off > 0) == pytest.approx(0.3, abs=0.1)


def test_text_is_written_on_photographs_where_there_are_some(tmp_path):
    photo = np.tile(np.array([[[0, 255, 0], [0, 0, 255]]], np.uint8), (64, 40, 1))
    Image.fromarray(photo).save(tmp_path / "stripes.png")
    text = Text(4, reuse=1, ground=Folder(tmp_path, 4, 1, 8, tmp_path))
    rng = np.random.default_rng(0)
    shown = [(text.draw(rng)[0] == (0, 255, 0)).all(2).mean() for _ in range(24)]
    assert max(shown) > 0.25
    assert {tuple(text._photo(rng, 8)[0, 0]) for _ in range(8)} == {(0, 255, 0), (0, 0, 255)}


def test_rendered_text_is_as_large_as_its_patches_need(tmp_path):
    stage = Stage("cajnn", data=Data(patch=100, source=(Source(kind="text"),)))
    degraded, _, sharp = next(iter(Patches(stage, tmp_path, tmp_path / "cache")))
    assert degraded.shape == (3, 100, 100)
    assert sharp.shape == (3, 400, 400)


def test_text_picture_is_reused_as_often_as_told():
    text = Text(4, reuse=2, ground=None)
    rng = np.random.default_rng(0)
    first, second, third = (text.draw(rng)[0] for _ in range(3))
    assert first is second
    assert third is not first
