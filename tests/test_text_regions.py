"""With Regions only what was found is enhanced, and read as the whole picture is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_engines import Bicubic, FixedText, rectangle
from PIL import Image

from integrations import easyocr
from integrations.view import Regions, look
from preproc.errors import ModelError, PreprocError


def answering(answer):
    """An enhancer that gives the same answer to everything."""
    enhancer = Bicubic(2)
    enhancer.__class__ = type("Answering", (Bicubic,), {"__call__": lambda *_: answer})
    return enhancer


def test_regions_are_read_where_the_whole_picture_is(text_engine, sign):
    whole = easyocr.Reader(text_engine, enhancer=Bicubic(2)).readtext(sign)
    regions = easyocr.Reader(text_engine, enhancer=Regions(Bicubic(2))).readtext(sign)
    assert [w.text for w in regions] == [w.text for w in whole]
    for region, word in zip(regions, whole, strict=True):
        np.testing.assert_allclose(rectangle(region), rectangle(word), atol=5)


def test_only_regions_and_their_margin_are_enhanced():
    enhancer = Bicubic(4)
    engine = FixedText(
        [[20, 60, 10, 22], [0, 30, 60, 70]], [[[70, 40], [90, 44], [88, 54], [68, 50]]]
    )
    reader = easyocr.Reader(engine, enhancer=Regions(enhancer, margin=5))
    words = reader.readtext(np.zeros((75, 120, 3), np.uint8), min_size=9, canvas_size=500)
    assert engine.seen.shape == (75, 120, 3)
    assert (engine.options["min_size"], engine.options["canvas_size"]) == (9, 120)
    assert enhancer.sizes == [(50, 22), (35, 20), (32, 24)]  # the second lies in a corner
    assert [rectangle(w) for w in words[:2]] == [[20, 10, 60, 22], [0, 60, 30, 70]]
    assert words[2].box == [[70, 40], [90, 44], [88, 54], [68, 50]]
    assert [w.text for w in words] == ["160x48", "120x40", "81x40"]


@pytest.mark.parametrize("origin", [(0, 0), (37, 11)])
def test_a_region_shows_the_recogniser_what_the_whole_picture_shows(make, rng, origin):
    picture = rng.integers(0, 256, (60, 110, 3), np.uint8)
    left, top = origin
    upright = [[left, left + 40, top, top + 12]]
    free = [[[left + 4, top], [left + 30, top + 5], [left + 29, top + 15], [left + 3, top + 10]]]
    sheets = []
    for enhancer in (make(), Regions(make())):
        scale = 1 if isinstance(enhancer, Regions) else 2  # at which text is looked for
        engine = FixedText(np.multiply(upright, scale).tolist(), np.multiply(free, scale).tolist())
        easyocr.Reader(engine, enhancer=enhancer).readtext(picture)
        sheets.append(engine.sheet.astype(int))
    assert np.ptp(sheets[0]) > 50
    assert sheets[0].shape == sheets[1].shape
    assert np.abs(sheets[0] - sheets[1]).max() <= 1


@pytest.mark.parametrize("color", [True, False])
def test_black_text_on_white_is_enhanced_as_the_picture_around_it(make, rng, color):
    picture = rng.integers(0, 256, (60, 110, 3), np.uint8)
    picture[10:50, 20:100] = rng.integers(0, 256, (40, 80, 1), np.uint8)
    if not color:
        picture[:] = picture[..., :1]
    corners = np.array([[40, 25], [80, 25], [80, 35], [40, 35]], float)
    (view,) = Regions(make()).views(picture, [corners])
    (left, top), (right, bottom) = (view.from_source(corners[n]).astype(int) for n in (0, 2))
    difference = view.rgb[top:bottom, left:right].astype(int) - make()(picture)[100:140, 160:320]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("gap", [2, 30])
def test_regions_near_each_other_or_not_keep_their_places_and_sizes(make, rng, gap):
    picture = rng.integers(0, 256, (60, 110, 3), np.uint8)
    first = np.array([[10, 5], [30, 5], [30, 15], [10, 15]], float)
    quads = [first, first + np.array([20 + gap, 3]), first]
    views = Regions(make(), margin=4).views(picture, quads)
    assert [view.origin for view in views] == [(6, 1), (26 + gap, 4), (6, 1)]
    assert {(view.scale, view.rgb.shape) for view in views} == {(4, (72, 112, 3))}


def test_an_enhancer_of_regions_is_told_their_margin_once():
    class Asked(Bicubic):
        def regions(self, img, boxes, *, margin):
            self.boxes, self.margin = boxes, margin
            return [self(img[top:bottom, left:right]) for left, top, right, bottom in boxes]

    enhancer = Asked(2)
    quad = np.array([[30, 20], [50, 20], [50, 30], [30, 30]], float)
    (view,) = Regions(enhancer, margin=3).views(np.zeros((60, 80, 3), np.uint8), [quad])
    assert (enhancer.boxes, enhancer.margin) == ([(27, 17, 53, 33)], 0)
    assert (view.origin, view.rgb.shape) == ((27, 17), (32, 52, 3))


def test_an_enhancer_may_write_to_the_regions_it_is_given():
    class Writing(Bicubic):
        scale = 1

        def __call__(self, img):
            assert img.flags.c_contiguous
            img.fill(9)
            return img

    picture = np.zeros((60, 80, 3), np.uint8)
    quad = np.array([[30, 20], [50, 20], [50, 30], [30, 30]], float)
    views = Regions(Writing(1)).views(picture, [quad, quad + 3])
    assert all((view.rgb == 9).all() for view in views)
    assert not picture.any()


def test_a_region_knows_the_way_back_to_the_source():
    corners = np.array([[30, 20], [50, 20], [50, 30], [30, 30]], float)
    (view,) = Regions(Bicubic(4), margin=3).views(np.zeros((60, 80, 3), np.uint8), [corners])
    assert (view.origin, view.rgb.shape) == ((27, 17), (64, 104, 3))
    np.testing.assert_array_equal(view.from_source(corners)[0], [12, 12])
    np.testing.assert_array_equal(view.to_source(view.from_source(corners)), corners)


def test_8_px_around_a_region_are_enhanced_with_it_unless_others_are_asked_for():
    corners = np.array([[30, 20], [50, 20], [50, 30], [30, 30]], float)
    (view,) = Regions(Bicubic(2)).views(np.zeros((60, 80, 3), np.uint8), [corners])
    assert (view.origin, view.rgb.shape) == ((22, 12), (52, 72, 3))


def test_a_region_holds_all_px_that_its_corners_touch():
    corners = np.array([[30.7, 20.6], [50.3, 20.6], [50.3, 30.2], [30.7, 30.2]])
    (view,) = Regions(Bicubic(4), margin=0).views(np.zeros((60, 80, 3), np.uint8), [corners])
    assert (view.origin, view.rgb.shape) == ((30, 20), (44, 84, 3))


def test_nothing_is_enhanced_where_nothing_was_found():
    enhancer = Bicubic(4)
    reader = easyocr.Reader(FixedText(), enhancer=Regions(enhancer))
    assert reader.readtext(np.zeros((20, 30, 3), np.uint8)) == []
    assert enhancer.sizes == []


@pytest.mark.parametrize("margin", [0, 8])
def test_regions_outside_the_picture_do_no_harm(margin):
    right = np.array([[200, 5], [220, 9], [219, 19], [199, 15]])
    engine = FixedText([], [right.tolist(), (right - (260, 0)).tolist()])
    reader = easyocr.Reader(engine, enhancer=Regions(Bicubic(2), margin))
    assert len(reader.readtext(np.zeros((50, 100, 3), np.uint8))) == 2


@pytest.mark.parametrize(("answer", "said"), [(None, "a NoneType"), ([], "0"), ([1, 2], "2")])
def test_an_enhancer_that_answers_with_no_array_for_a_region_is_refused(answer, said):
    class Odd(Bicubic):
        def regions(self, img, boxes, *, margin):  # noqa: ARG002
            return answer

    reader = easyocr.Reader(FixedText([[0, 9, 0, 9]]), enhancer=Regions(Odd(2)))
    with pytest.raises(ModelError, match=f"asked for 1 of a picture, but gave {said}"):
        reader.readtext(np.zeros((20, 30, 3), np.uint8))


@pytest.mark.parametrize("margin", [-1, "8", 0.5, 8.0, float("nan"), None, True])
def test_a_margin_that_is_no_number_of_px_is_refused(margin):
    with pytest.raises(PreprocError, match=f"whole number of px, 0 or more, but is {margin!r}"):
        Regions(Bicubic(2), margin=margin)
    assert Regions(Bicubic(2), margin=np.int64(3)).margin == 3


@pytest.mark.parametrize("answer", [None, Image.new("RGB", (60, 40)), torch.zeros(40, 60, 3)])
def test_an_enhancer_that_answers_with_no_array_is_refused(answer):
    enhancer = answering(answer)
    picture = np.zeros((20, 30, 3), np.uint8)
    sentence = f"given an array, but gave back a {type(answer).__name__}"
    with pytest.raises(ModelError, match=sentence):
        look(picture, enhancer)
    quads = [np.array([[0, 0], [30, 0], [30, 20], [0, 20]], float)]
    with pytest.raises(ModelError, match=sentence):
        Regions(enhancer).views(picture, quads)
    with pytest.raises(ModelError, match="says it has scale 2"):
        Regions(answering(picture)).views(picture, quads)


@pytest.mark.parametrize("given", ["cajnn", None, Regions(Bicubic(2)), Bicubic])
def test_regions_need_an_enhancer(given):
    with pytest.raises(PreprocError, match="An enhancer must be an object"):
        Regions(given)
