"""The README's dozen lines put an engine of the user's own behind an enhancer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from integrations.protocols import Word
from integrations.view import look
from preproc import Enhancer

SECTION = re.compile(r"#### Another engine\n.*?```python\n(.*?)```\n(.*?)\n#", re.DOTALL)


@pytest.fixture(scope="module")
def section():
    """The README's code, and the text below it."""
    readme = Path(__file__).parents[1] / "README.md"
    return SECTION.search(readme.read_text(encoding="utf-8")).groups()


@pytest.fixture(scope="module")
def picture():
    return np.zeros((6, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer(device="cpu")


def corners_of_all(rgb):
    """Stands for an engine that finds one thing: the whole picture that it is shown."""
    height, width, _ = rgb.shape
    return np.array([[0, 0], [width, 0], [width, height], [0, height]])


def test_a_reader_answers_in_source_pixels(section, picture, enhancer):
    names = {}
    exec(section[0], names)
    reader = names["Reader"](lambda rgb: [(corners_of_all(rgb), "all", 0.5)], enhancer=enhancer)
    assert reader.readtext(picture) == [Word([[0, 0], [8, 0], [8, 6], [0, 6]], "all", 0.5)]


def test_boxes_of_a_detector_are_in_source_pixels(section, picture, enhancer):
    (to_source,) = re.findall(r"`(view\.to_source\(boxes.*?)`", section[1], re.DOTALL)
    view = look(picture, enhancer)
    boxes = corners_of_all(view.rgb)[[0, 2]].reshape(1, 4)
    found = eval(to_source, {"view": view, "boxes": boxes})
    np.testing.assert_array_equal(found, [[0, 0, 8, 6]])


def test_points_may_be_lists_as_many_engines_give_them(picture, enhancer):
    view = look(picture, enhancer)
    assert view.to_source([[0, 0], [32, 24]]).tolist() == [[0, 0], [8, 6]]
