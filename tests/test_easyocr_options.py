"""EasyOCR's own options and output formats do in the adapter what they do in EasyOCR."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from fake_engines import Bicubic, FixedText
from PIL import Image, ImageDraw, ImageFont

from integrations import easyocr
from integrations.easyocr_output import shaped
from integrations.protocols import Word
from preproc.errors import PreprocError


def test_readtext_is_called_as_easyocrs_own():
    theirs = inspect.signature(pytest.importorskip("easyocr").Reader.readtext).parameters
    ours = inspect.signature(easyocr.Reader.readtext).parameters
    assert list(ours) == [*theirs, "max_scale", "max_pixels"]
    for name in theirs:
        assert (ours[name].kind, ours[name].default) == (theirs[name].kind, theirs[name].default)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"detail": 0},
        {"paragraph": True},
        {"paragraph": True, "detail": 0},
        {"output_format": "dict"},
        {"output_format": "json"},
        {"output_format": "dict", "paragraph": True},
        {"output_format": "json", "paragraph": True},
        {"output_format": "free_merge", "paragraph": True},
        {"rotation_info": [180]},
    ],
    ids=str,
)
def test_answers_are_those_of_easyocr_itself(text_engine, options):
    image = Image.new("RGB", (96, 64), "black")
    draw = ImageDraw.Draw(image)
    for top, line in ((3, "EXIT"), (33, "left")):
        draw.text((10, top), line, fill="white", font=ImageFont.load_default(22))
    pixels = np.asarray(image)
    ours = easyocr.Reader(text_engine).readtext(pixels, min_size=5, **options)
    theirs = text_engine.readtext(pixels, min_size=5, **options)
    assert len(ours) >= 1
    assert _comparable(ours) == _comparable(theirs)


def _comparable(answers):
    """Answers as plain data; confidences to two digits, since grey is rounded differently."""
    plain = [json.loads(a) if str(a).startswith("{") and isinstance(a, str) else a for a in answers]
    plain = [list(a.items()) if isinstance(a, dict) else a for a in plain]
    return json.loads(
        json.dumps(plain, default=lambda v: round(float(v), 2)),
        parse_int=float,
        parse_float=lambda v: round(float(v), 2),
    )


def test_every_option_reaches_the_part_of_easyocr_that_it_is_for():
    theirs = pytest.importorskip("easyocr").Reader
    engine = FixedText([[0, 9, 0, 9]])
    easyocr.Reader(engine).readtext(np.zeros((20, 30, 3), np.uint8))
    ours = {"self", "detail", "paragraph", "x_ths", "y_ths", "output_format"}
    options = inspect.signature(theirs.readtext).parameters.keys() - ours
    given = engine.options, engine.recognise_options
    for part, its in zip((theirs.detect, theirs.recognize), given, strict=True):
        assert options & inspect.signature(part).parameters.keys() <= its.keys()


def test_options_may_be_given_by_position():
    engine = FixedText([[0, 40, 0, 20]])
    easyocr.Reader(engine).readtext(np.zeros((20, 40, 3), np.uint8), "beamsearch", 7, 2, 0, "abc")
    given = engine.recognise_options
    assert given["decoder"] == "beamsearch"
    assert given["beamWidth"] == 7
    assert given["batch_size"] == 2
    assert given["allowlist"] == "abc"


def test_tilted_words_are_merged_in_reading_order():
    tilted = [[30, 62], [50, 66], [49, 76], [29, 72]]  # below all lines, where EasyOCR's own fails
    between = [[45, 12], [55, 15], [54, 25], [44, 22]]
    # The last line is indented, and its second word begins below the tilted word in it.
    upright = [[0, 40, 10, 20], [60, 95, 11, 20], [5, 20, 60, 70], [60, 95, 64, 74]]
    above = [[70, 2], [90, 6], [89, 9], [69, 7]]
    engine = FixedText(upright, [tilted, between, above])
    words = easyocr.Reader(engine).readtext(
        np.zeros((100, 100, 3), np.uint8), output_format="free_merge"
    )
    corners = [[0, 10], [45, 12], [60, 11], [70, 2], [5, 60], [30, 62], [60, 64]]
    assert [w.box[0] for w in words] == corners

    alone = easyocr.Reader(FixedText([], [between, tilted]))
    words = alone.readtext(np.zeros((100, 100, 3), np.uint8), output_format="free_merge")
    assert [w.box for w in words] == [tilted, between]


def test_json_has_boxes_on_the_nearest_px_and_letters_as_they_are():
    (answer,) = shaped([Word([[0.6, 1.4]], "Étage", 0.5)], detail=1, output_format="json")
    assert answer == '{"boxes": [[1, 1]], "text": "Étage", "confident": 0.5}'


@pytest.mark.parametrize("output_format", ["standard", "dict", "json", "free_merge"])
def test_without_details_every_format_is_the_texts(output_format):
    words = [Word([[0.6, 1.4]], "Étage", 0.5)]
    assert shaped(words, detail=0, output_format=output_format) == ["Étage"]


def test_paragraphs_follow_the_direction_of_the_script():
    pytest.importorskip("easyocr", reason="it groups the words")
    engine = FixedText([[0, 20, 0, 10], [25, 47, 0, 10]])
    for script, text in (("english", "20x10 22x10"), ("arabic", "22x10 20x10")):
        engine.model_lang = script
        picture = np.zeros((20, 60, 3), np.uint8)
        ((_, found),) = easyocr.Reader(engine).readtext(picture, paragraph=True)
        assert found == text


def test_paragraphs_end_where_lines_are_farther_apart_than_y_ths():
    pytest.importorskip("easyocr", reason="it groups the words")
    engine = FixedText([[0, 20, 0, 10], [0, 20, 18, 28]])
    picture = np.zeros((40, 60, 3), np.uint8)
    for apart, number in ((0.1, 2), (2, 1)):
        options = {"paragraph": True, "x_ths": 2 - apart, "y_ths": apart}
        assert len(easyocr.Reader(engine).readtext(picture, **options)) == number


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"decoder": "beam"}, "decoder must be one of greedy, beamsearch, .* but is 'beam'"),
        ({"decoder": ["greedy"]}, "decoder must be one of greedy"),
        ({"rotation_info": 90}, "rotation_info must be a list of angles .* but is 90"),
        ({"rotation_info": ["x"]}, "rotation_info must be a list of angles"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more, but is 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number"),
        ({"beamWidth": 0}, "beamWidth must be a whole number, 1 or more"),
        ({"workers": -1}, "workers must be a whole number, 0 or more, but is -1"),
        ({"contrast_ths": "a"}, "contrast_ths must be a number, but is 'a'"),
        ({"canvas_size": "a"}, "canvas_size must be a number above 0, but is 'a'"),
        ({"min_size": "a"}, "min_size must be a number of px, or None, but is 'a'"),
        ({"add_margin": None}, "add_margin must be a number, but is None"),
        ({"x_ths": "a"}, "x_ths must be a number"),
        ({"output_format": "xml"}, "output_format must be .* free_merge, but is 'xml'"),
    ],
    ids=str,
)
def test_what_an_option_cannot_be_is_a_sentence_before_anything_is_enhanced(option, sentence):
    enhancer = Bicubic(2)
    reader = easyocr.Reader(FixedText(), enhancer=enhancer)
    picture = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(PreprocError, match=sentence):
        reader.readtext(picture, **option)
    if set(option) <= set(inspect.signature(reader.readline).parameters):
        with pytest.raises(PreprocError, match=sentence):
            reader.readline(picture, **option)
    assert enhancer.sizes == []


def test_angles_may_be_a_tuple_and_numbers_numpys():
    engine = FixedText([[0, 9, 0, 9]])
    options = {"rotation_info": (90, np.int64(180)), "batch_size": np.int64(2), "min_size": None}
    assert easyocr.Reader(engine).readtext(
        np.zeros((20, 30, 3), np.uint8), contrast_ths=np.float32(0.2), **options
    )
    assert engine.recognise_options["batch_size"] == 2
    assert engine.options["min_size"] == 0
