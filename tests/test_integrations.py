"""The adapters: one answer for every kind of input, well-formed, in source pixels."""

from __future__ import annotations

import inspect
import io
import json
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from integrations import easyocr, mtcnn, rapidocr
from integrations.easyocr_output import shaped
from integrations.mtcnn import FaceSizeWarning
from integrations.protocols import Word, surer
from integrations.text_lines import level, shrink
from integrations.view import Regions, look
from preproc.errors import ImageError, ModelError, PreprocError
from preproc.pictures import png16


class Bicubic:
    """Stands for an enhancer: plain interpolation."""

    def __init__(self, scale):
        self.scale = scale
        self.sizes = []

    def __call__(self, img):
        if isinstance(img, list):
            return [self(item) for item in img]
        self.sizes.append(img.shape[1::-1])
        height, width, _ = img.shape
        size = (width * self.scale, height * self.scale)
        return np.asarray(Image.fromarray(img).resize(size, Image.Resampling.BICUBIC))


def answering(answer):
    """An enhancer that gives the same answer to everything."""
    enhancer = Bicubic(2)
    enhancer.__class__ = type("Answering", (Bicubic,), {"__call__": lambda *_: answer})
    return enhancer


class FixedFace:
    """Stands for facenet-pytorch's MTCNN: finds the same face in everything."""

    min_face_size = 20

    def detect(self, img, landmarks):  # noqa: ARG002
        self.shape = img.shape
        FixedFace.asked = self.min_face_size
        box = [5.0, 9.0, 8.0, 16.0]
        return np.array([box], dtype=object), np.array([0.9], dtype=object), np.full((1, 5, 2), 5.5)


class FixedText:
    """Stands for easyocr.Reader: finds the given boxes in everything, and reads their sizes."""

    model_lang = "english"

    def __init__(self, upright=(), free=()):
        self.upright, self.free = list(upright), list(free)

    def detect(self, img, **options):
        self.seen, self.options = img, options
        return [self.upright], [self.free]

    def recognize(self, img_cv_grey, horizontal_list, free_list, **options):  # noqa: ARG002
        self.sheet, self.recognise_options = img_cv_grey, options
        read = [
            ([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], f"{x2 - x1}x{y2 - y1}", 0.5)
            for x1, x2, y1, y2 in horizontal_list
        ]
        return read[::-1]


@pytest.fixture(scope="module")
def portrait():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def face_engine():
    return pytest.importorskip("facenet_pytorch").MTCNN()


@pytest.fixture(scope="module")
def text_engine():
    models = pytest.importorskip("easyocr_en_models", reason="the offline EasyOCR models")
    return (
        pytest.importorskip("easyocr")
        and easyocr.Reader(
            ["en"],
            gpu=False,
            model_storage_directory=models.model_dir(),
            download_enabled=False,
            quantize=False,
            verbose=False,
        ).engine
    )


@pytest.fixture(scope="module")
def sign():
    """A sign of two lines, upright, in colour."""
    image = Image.new("RGB", (300, 112), (20, 90, 60))
    draw = ImageDraw.Draw(image)
    for top, line in ((10, "Emergency exit"), (62, "Second floor")):
        draw.text((14, top), line, fill=(245, 240, 220), font=ImageFont.load_default(34))
    return image


def kinds(image, folder):
    """One picture in every kind of input; the stored ones lie on their side, by EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    file = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    path = folder / "sign.png"
    path.write_bytes(file.getvalue())
    return {
        "path": path,
        "string": str(path),
        "bytes": file.getvalue(),
        "PIL": image,
        "array": np.asarray(image),
        "palette": image.quantize(8, dither=Image.Dither.NONE),
    }


def rectangle(word):
    corners = np.asarray(word.box)
    return [*corners.min(axis=0), *corners.max(axis=0)]


# Faces


def test_finds_the_face_where_it_is_at_every_scale(face_engine, portrait):
    small = np.asarray(Image.fromarray(portrait).resize((256, 256), Image.Resampling.BICUBIC))
    before = mtcnn.MTCNN(face_engine).detect(small)
    after = mtcnn.MTCNN(face_engine, enhancer=Bicubic(2)).detect(small)

    for faces in (before, after):
        assert [part.shape for part in faces] == [(1, 4), (1,), (1, 5, 2)]
        assert {part.dtype for part in faces} == {np.dtype(np.float32)}
        assert faces.probabilities[0] > 0.95
    np.testing.assert_allclose(before.boxes[0], [91, 31, 134, 86], atol=4)
    np.testing.assert_allclose(after.boxes, before.boxes, atol=4)
    np.testing.assert_allclose(after.landmarks, before.landmarks, atol=2)


@pytest.mark.parametrize("shape", [(64, 64, 3), (19, 200, 3), (1, 1, 3)])
def test_no_face_has_the_shapes_of_faces(face_engine, shape):
    faces = mtcnn.MTCNN(face_engine).detect(np.full(shape, 128, np.uint8))
    assert [part.shape for part in faces] == [(0, 4), (0,), (0, 5, 2)]
    assert {part.dtype for part in faces} == {np.dtype(np.float32)}


@pytest.mark.parametrize("keep_all", [False, True])
def test_the_engine_cuts_out_what_was_found(portrait, keep_all):
    mine = pytest.importorskip("facenet_pytorch").MTCNN(keep_all=keep_all)
    detector = mtcnn.MTCNN(mine)
    for image, shape in ((portrait, (3, 160, 160)), (np.full_like(portrait, 128), None)):
        faces = detector.detect(image)
        crops = mine.extract(image, faces.boxes if len(faces.boxes) else None, None)
        assert (None if crops is None else crops.shape[-3:]) == shape
    found = detector.detect(portrait).boxes
    np.testing.assert_array_equal(mine.extract(portrait, found, None), mine(portrait))


def test_every_kind_of_input_gives_the_same_faces(face_engine, portrait, tmp_path):
    image = Image.fromarray(portrait).resize((128, 128), Image.Resampling.BICUBIC)
    detector = mtcnn.MTCNN(face_engine)
    inputs = kinds(image, tmp_path)
    del inputs["palette"]  # 8 colours are another picture
    expected = detector.detect(image)
    assert len(expected.boxes) == 1
    for kind, given in inputs.items():
        for part, wanted in zip(detector.detect(given), expected, strict=True):
            np.testing.assert_array_equal(part, wanted, err_msg=kind)


def test_face_coordinates_follow_the_engines_pixel_counting():
    image = np.zeros((40, 40, 3), np.uint8)
    plain = mtcnn.MTCNN(FixedFace()).detect(image)
    np.testing.assert_array_equal(plain.boxes, [[5, 9, 8, 16]])
    np.testing.assert_array_equal(plain.landmarks, np.full((1, 5, 2), 5.5))

    # Pixels 5 to 8 and 9 to 16, counted from 1, are what became of pixels 2 to 2 and 3 to 4.
    enlarged = mtcnn.MTCNN(FixedFace(), enhancer=Bicubic(4)).detect(image)
    np.testing.assert_allclose(enlarged.boxes, [[2, 3, 2, 4]])
    # 5.5 is the edge between pixels 5 and 6, 5 px from the border, and so 1.25 px in the source.
    np.testing.assert_allclose(enlarged.landmarks, np.full((1, 5, 2), 1.75))
    assert {part.dtype for faces in (plain, enlarged) for part in faces} == {np.dtype(np.float32)}


@pytest.mark.parametrize("scale", [2, 4])
def test_landmarks_of_real_faces_are_not_shifted(face_engine, portrait, rng, scale):
    plain = mtcnn.MTCNN(face_engine)
    enlarged = mtcnn.MTCNN(face_engine, enhancer=Bicubic(scale))
    shifts = []
    for side in rng.integers(140, 300, 16):
        picture = Image.fromarray(portrait).resize((side, side), Image.Resampling.LANCZOS)
        left, top = rng.integers(0, side // 8, 2)
        picture = picture.crop((left, top, 0.8 * side, 0.6 * side))
        before, after = plain.detect(picture), enlarged.detect(picture)
        assert len(before.boxes) == len(after.boxes) == 1
        shifts.append((after.landmarks - before.landmarks).mean(axis=(0, 1)))
    # Single faces differ by some .3 px.
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0, atol=0.25)


def test_smallest_face_is_in_source_pixels_and_the_users_detector_stays():
    engine = FixedFace()
    image = np.zeros((40, 40, 3), np.uint8)
    mtcnn.MTCNN(engine, enhancer=Bicubic(4)).detect(image)
    assert FixedFace.asked == 80
    mtcnn.MTCNN(engine, enhancer=Bicubic(4), min_face_size=6).detect(image)
    assert FixedFace.asked == 24
    assert engine.min_face_size == 20


def test_smallest_face_follows_the_detector_unless_it_was_given():
    engine = FixedFace()
    image = np.zeros((200, 200, 3), np.uint8)
    follows = mtcnn.MTCNN(engine, enhancer=Bicubic(2))
    given = mtcnn.MTCNN(engine, enhancer=Bicubic(2), min_face_size=6)
    engine.min_face_size = 50
    follows.detect(image)
    assert (FixedFace.asked, follows.min_face_size) == (100, 50)
    given.detect(image)
    assert (FixedFace.asked, given.min_face_size) == (12, 6)
    given.min_face_size = 10
    given.detect(image)
    assert FixedFace.asked == 20
    with pytest.raises(PreprocError, match="above 0"):
        given.min_face_size = -1


def test_a_picture_as_high_as_the_smallest_face_is_searched():
    detector = mtcnn.MTCNN(FixedFace())
    found = [len(detector.detect(np.zeros((side, 30, 3), np.uint8)).boxes) for side in (19, 20)]
    assert found == [0, 1]


def test_a_list_of_unequal_pictures_gives_what_each_gives_alone(face_engine, portrait):
    image = Image.fromarray(portrait)
    pictures = [
        image.resize((128, 128)),
        np.asarray(image.resize((90, 110))),
        np.full((30, 40, 3), 128, np.uint8),
    ]
    detector = mtcnn.MTCNN(face_engine, enhancer=Bicubic(2))
    together = detector.detect(pictures)
    assert [len(faces.boxes) for faces in together] == [1, 1, 0]
    for faces, picture in zip(together, pictures, strict=True):
        for part, wanted in zip(faces, detector.detect(picture), strict=True):
            np.testing.assert_array_equal(part, wanted)
    assert detector.detect([]) == []


def test_a_bad_picture_of_a_list_is_named():
    with pytest.raises(ImageError, match="Picture 1 of the list"):
        mtcnn.MTCNN(FixedFace()).detect([np.zeros((9, 9, 3), np.uint8), b"no image"])


def test_faces_below_the_window_need_an_enhancer_that_enlarges(face_engine, portrait):
    tiny = np.asarray(Image.fromarray(portrait).resize((48, 48), Image.Resampling.BICUBIC))
    with pytest.warns(FaceSizeWarning, match="under 12 px"):
        returned = mtcnn.MTCNN(face_engine, enhancer=Bicubic(1), min_face_size=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FaceSizeWarning)
        enlarged = mtcnn.MTCNN(face_engine, enhancer=Bicubic(4), min_face_size=6)
        mtcnn.MTCNN(face_engine, enhancer=Bicubic(1))
        mtcnn.MTCNN(face_engine, enhancer=Bicubic(1), min_face_size=12)
        enlarged.min_face_size = 5
    with pytest.warns(FaceSizeWarning, match="min_face_size 5 cannot"):
        returned.min_face_size = 5
    assert len(returned.detect(tiny).boxes) == 0
    (box,) = enlarged.detect(tiny).boxes
    assert box[3] - box[1] < 12


def test_options_of_crops_are_refused_and_those_of_detection_count(portrait):
    facenet = pytest.importorskip("facenet_pytorch")
    options = set(inspect.signature(facenet.MTCNN).parameters)
    effective = {"min_face_size", "thresholds", "factor", "select_largest", "device"}
    for name in options - effective:
        with pytest.raises(PreprocError, match=f"{name} would change nothing"):
            mtcnn.MTCNN(**{name: True})
    made = mtcnn.MTCNN(thresholds=[0.6, 0.7, 1.0], factor=0.7, select_largest=False, device="cpu")
    assert (made.engine.factor, made.engine.select_largest) == (0.7, False)
    assert len(made.detect(portrait).boxes) == 0  # none is that sure


def test_impossible_smallest_face_is_a_sentence():
    for size in (0, "20", float("nan")):
        with pytest.raises(PreprocError, match=f"px above 0, but is {size!r}"):
            mtcnn.MTCNN(FixedFace(), min_face_size=size)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"factor": 1.0}, "factor must be a number between 0 and 1, .* but is 1.0"),
        ({"factor": 0}, "factor must be .* but is 0"),
        ({"factor": "0.7"}, "factor must be .* but is '0.7'"),
        ({"thresholds": [0.5, 0.5]}, "three numbers from 0 to 1, .* but are"),
        ({"thresholds": [60, 70, 70]}, "three numbers from 0 to 1, .* but are"),
        ({"thresholds": 0.7}, "three numbers from 0 to 1, .* but are 0.7"),
        ({"thresholds": ["a", 0.5, 0.5]}, "three numbers from 0 to 1, .* but are"),
        ({"thresholds": [0.5, 0.5, float("nan")]}, "three numbers from 0 to 1, .* but are"),
    ],
    ids=str,
)
def test_what_a_detector_could_never_search_with_is_a_sentence(options, sentence):
    with pytest.raises(PreprocError, match=sentence):
        mtcnn.MTCNN(**options)


# Text


@pytest.mark.parametrize("scale", [None, 2])
def test_reads_a_sign_where_it_is(text_engine, sign, scale):
    reader = easyocr.Reader(text_engine, enhancer=scale and Bicubic(scale))
    words = reader.readtext(sign)
    assert [w.text for w in words] == ["Emergency exit", "Second floor"]
    assert all(w.confidence > 0.5 for w in words)
    np.testing.assert_allclose(rectangle(words[0]), [14, 19, 250, 50], atol=10)
    box, text, confidence = words[1]  # unpacks as EasyOCR's own triples
    assert (len(box), text) == (4, "Second floor")
    assert 0 < confidence <= 1


def test_every_kind_of_input_gives_the_same_text(text_engine, sign, tmp_path):
    reader = easyocr.Reader(text_engine)
    expected = reader.readtext(sign)
    assert expected
    for kind, given in kinds(sign, tmp_path).items():
        words = reader.readtext(given)
        if kind == "palette":
            assert [w.text for w in words] == [w.text for w in expected]
        else:
            assert words == expected, kind


def test_tilted_text_is_read_along_its_slope(text_engine):
    image = Image.new("RGB", (300, 300), (20, 90, 60))
    draw = ImageDraw.Draw(image)
    draw.text((20, 120), "Emergency exit", fill="white", font=ImageFont.load_default(36))
    words = easyocr.Reader(text_engine).readtext(
        image.rotate(15, Image.Resampling.BICUBIC, fillcolor=(20, 90, 60))
    )
    assert {w.text for w in words} == {"Emergency", "exit"}
    for word in words:
        corners = np.asarray(word.box)
        assert corners[1, 1] < corners[0, 1] - 10  # the right end is higher


def test_a_tilted_line_is_cut_as_from_the_whole_picture(rng):
    picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
    quad = np.array([[10.5, 9], [40.5, 14], [38.5, 26], [8.5, 21]])
    corners = quad[[0, 3, 2, 1]].ravel()
    whole = Image.fromarray(picture).transform(
        (30, 12), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC
    )
    line = level(picture, quad)
    assert line.shape == (12, 30, 3)
    assert np.abs(line - np.asarray(whole, int)).max() <= 1


def test_an_upright_line_is_cut_at_the_nearest_px(rng):
    picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
    quad = np.array([[10.4, 8.6], [40.3, 8.6], [40.3, 20.4], [10.4, 20.4]])
    np.testing.assert_array_equal(level(picture, quad), picture[9:20, 10:40])


def test_a_line_seen_from_a_side_is_as_large_as_its_longer_sides():
    quad = np.array([[10, 10], [50, 14], [50, 26], [10, 30]], float)
    assert level(np.zeros((40, 60, 3), np.uint8), quad).shape == (20, 40, 3)


def test_a_picture_without_text_has_no_words(text_engine):
    reader = easyocr.Reader(text_engine, enhancer=Bicubic(2))
    assert reader.readtext(np.full((40, 60, 3), 128, np.uint8)) == []
    assert reader.readtext(np.full((1, 1, 3), 128, np.uint8)) == []


def test_sizes_are_in_source_pixels():
    engine = FixedText([[40, 80, 20, 40]])
    words = easyocr.Reader(engine, enhancer=Bicubic(2)).readtext(
        np.zeros((50, 100, 3), np.uint8),
        min_size=7,
        canvas_size=100,
        add_margin=0.3,
        decoder="beamsearch",
    )
    sizes = {k: engine.options[k] for k in ("min_size", "canvas_size", "mag_ratio")}
    assert sizes == {"min_size": 14, "canvas_size": 200, "mag_ratio": 1.0}
    assert (engine.options["add_margin"], engine.options["reformat"]) == (0.3, False)
    assert engine.recognise_options["decoder"] == "beamsearch"
    assert engine.recognise_options["reformat"] is False
    assert words == [([[20, 10], [40, 10], [40, 20], [20, 20]], "40x20", 0.5)]


def test_what_is_larger_than_the_canvas_is_shrunk_without_aliasing():
    stripes = np.zeros((200, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    engine = FixedText([[10, 60, 0, 50]])
    words = easyocr.Reader(engine).readtext(stripes, canvas_size=100)
    assert engine.seen.shape == (50, 100, 3)
    assert np.ptp(engine.seen[:, 5:-5]) < 20
    assert engine.seen.mean() == pytest.approx(127.5, abs=5)
    assert rectangle(words[0]) == [40, 0, 240, 200]


def test_text_is_looked_for_at_twice_the_size_and_read_at_the_enhancers():
    engine = FixedText([[10, 60, 0, 50]])
    reader = easyocr.Reader(engine, enhancer=Bicubic(4))
    picture = np.zeros((50, 100, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = reader.readtext(picture)
    assert engine.seen.shape == (100, 200, 3)
    assert engine.options["min_size"] == 40
    assert rectangle(words[0]) == [5, 0, 30, 25]
    assert words[0].text == "64x64"  # 100 px high in the enlarged picture, and so brought to a line
    reader.readtext(picture, max_scale=3)
    assert engine.seen.shape == (150, 300, 3)
    reader.readtext(picture, max_scale=8)
    assert engine.seen.shape == (200, 400, 3)


@pytest.mark.parametrize(
    ("scale", "ratio", "shown", "left"),
    [(None, 2, (50, 100, 3), 2), (None, 0.5, (25, 50, 3), 1), (4, 1.5, (150, 300, 3), 1)],
)
def test_text_is_looked_for_as_much_larger_as_mag_ratio_says(scale, ratio, shown, left):
    """What is still to be enlarged is left to EasyOCR."""
    engine = FixedText([[1, 5, 1, 5]])
    reader = easyocr.Reader(engine, enhancer=scale and Bicubic(scale))
    reader.readtext(np.zeros((50, 100, 3), np.uint8), mag_ratio=ratio)
    assert engine.seen.shape == shown
    assert engine.options["mag_ratio"] == left
    assert engine.options["canvas_size"] == left * shown[1]


def test_boxes_of_a_strip_go_back_by_each_of_its_sides_to_the_nearest_px():
    """Its sides are rounded apart: it is shown as 70x10, where its 15 px would be 10.5."""
    free = [[7, 2], [56, 4], [55, 9], [6, 7]]
    reader = easyocr.Reader(FixedText([[7, 69, 2, 10]], [free]))
    upright, tilted = reader.readtext(np.zeros((15, 100, 3), np.uint8), canvas_size=70)
    assert rectangle(upright) == [10, 3, 99, 15]
    np.testing.assert_allclose(tilted.box, np.array(free) / (0.7, 10 / 15))


def test_what_was_shrunk_once_is_not_shrunk_again():
    engine = FixedText([[1, 5, 1, 5]])
    easyocr.Reader(engine).readtext(np.zeros((50, 100, 3), np.uint8), canvas_size=70.6)
    assert engine.seen.shape[1] == 71
    assert engine.options["canvas_size"] >= 71


def test_the_detector_is_spared_what_would_fill_the_memory():
    engine = FixedText([[10, 60, 0, 50]])
    reader = easyocr.Reader(engine, enhancer=Bicubic(4))
    picture = np.zeros((50, 100, 3), np.uint8)
    with pytest.warns(easyocr.DetectionSizeWarning, match="0.25 of the enlarged size") as caught:
        words = reader.readtext(picture, max_pixels=5_000)
    assert "Regions" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert engine.seen.shape == (50, 100, 3)
    assert rectangle(words[0]) == [10, 0, 60, 50]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.readtext(picture, max_scale=4, max_pixels=80_000)
    assert engine.seen.shape == (200, 400, 3)
    with pytest.warns(easyocr.DetectionSizeWarning, match="than for 12 million px"):
        easyocr.Reader(engine, enhancer=Bicubic(2)).readtext(np.zeros((1800, 1800, 3), np.uint8))


@pytest.mark.parametrize("enhancer", [None, Regions(Bicubic(4))], ids=["none", "regions"])
def test_the_detector_is_spared_what_would_fill_the_memory_without_enlargement(enhancer):
    reader = easyocr.Reader(FixedText([[10, 60, 0, 50]]), enhancer=enhancer)
    with pytest.warns(
        easyocr.DetectionSizeWarning, match=r"at 0.5\d of the given size.*raise max_pixels=\.$"
    ):
        reader.readtext(np.zeros((50, 100, 3), np.uint8), max_pixels=1_300)


@pytest.mark.parametrize("name", ["canvas_size", "mag_ratio", "max_scale", "max_pixels"])
@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_a_size_at_which_nothing_would_be_found_is_one_sentence(name, size):
    reader = easyocr.Reader(FixedText([[1, 5, 1, 5]]))
    with pytest.raises(PreprocError, match=f"{name} must be a number above 0, but is {size}"):
        reader.readtext(np.zeros((50, 100, 3), np.uint8), **{name: size})


def test_tall_lines_are_shrunk_with_antialiasing():
    stripes = np.zeros((256, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    engine = FixedText(
        [[0, 512, 0, 256], [520, 600, 0, 40]], [[[0, 0], [512, 1], [511, 257], [-1, 256]]]
    )
    words = easyocr.Reader(engine).readtext(stripes)
    assert [w.text for w in words] == ["128x64", "80x40", "128x64"]
    assert np.ptp(engine.sheet[2:62, 5:120]) < 30
    assert engine.sheet[2:62, 5:120].mean() == pytest.approx(127.5, abs=5)


def test_a_line_of_one_px_stays_one():
    assert shrink(np.zeros((1, 40, 3), np.uint8), 0.2).shape == (1, 8, 3)


def test_a_column_of_letters_is_read_at_its_width():
    engine = FixedText([[10, 50, 0, 300]])
    (word,) = easyocr.Reader(engine).readtext(np.zeros((300, 60, 3), np.uint8))
    assert word.text == "40x300"


def test_boxes_past_the_border_are_cut_and_those_outside_dropped():
    engine = FixedText([[-5, 30, -8, 12], [200, 220, 5, 10]])
    words = easyocr.Reader(engine).readtext(np.zeros((50, 100, 3), np.uint8))
    assert [rectangle(w) for w in words] == [[0, 0, 30, 12]]


def test_upright_boxes_are_whole_px_around_the_text_and_tilted_ones_are_not():
    tilted = [[30, 62], [50, 66], [49, 76], [29, 72]]
    engine = FixedText([[41, 82, 22, 43]], [tilted])
    picture = np.zeros((50, 100, 3), np.uint8)
    reader = easyocr.Reader(engine, enhancer=Bicubic(4))
    words = reader.readtext(picture, max_scale=4)
    assert words[0].box == [[10, 5], [21, 5], [21, 11], [10, 11]]
    (left, top), _, (right, bottom), _ = words[0].box
    assert picture[top:bottom, left:right].shape == (6, 11, 3)
    pytest.importorskip("cv2").rectangle(picture, words[0].box[0], words[0].box[2], (255, 0, 0))
    assert words[1].box[0] == [7.5, 15.5]
    assert {type(v) for corner in reader.readline(picture).box for v in corner} == {int}


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
        {"output_format": "json", "paragraph": True},
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
    engine = FixedText(upright, [tilted, between])
    words = easyocr.Reader(engine).readtext(
        np.zeros((100, 100, 3), np.uint8), output_format="free_merge"
    )
    corners = [[0, 10], [45, 12], [60, 11], [5, 60], [30, 62], [60, 64]]
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


def test_the_first_of_two_equal_readings_counts_and_its_place_in_any_case():
    here, there = ([[x, 0.0]] for x in (1.0, 2.0))
    first = Word(here, "first", 0.5)
    assert surer(first, Word(there, "second", 0.5)) == first
    assert surer(first, Word(there, "second", 0.6)) == Word(here, "second", 0.6)


def test_an_unknown_output_format_is_a_sentence():
    with pytest.raises(PreprocError, match="free_merge, but is 'xml'"):
        easyocr.Reader(FixedText()).readtext(np.zeros((9, 9, 3), np.uint8), output_format="xml")


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


def test_a_reader_made_without_a_network_says_what_it_is_for(sign):
    models = pytest.importorskip("easyocr_en_models", reason="the offline EasyOCR models")
    options = {"model_storage_directory": models.model_dir(), "download_enabled": False}
    make = pytest.importorskip("easyocr").Reader
    deaf = make(["en"], gpu=False, verbose=False, recognizer=False, **options)
    with pytest.raises(PreprocError, match="made with recognizer=False cannot read"):
        easyocr.Reader(deaf)
    blind = easyocr.Reader(["en"], gpu=False, verbose=False, detector=False, **options)
    with pytest.raises(PreprocError, match=r"made with detector=False .* use readline"):
        blind.readtext(sign)
    assert blind.readline(sign.crop((8, 12, 268, 54))).text == "Emergency exit"


@pytest.mark.parametrize("wrap", [lambda e: e, Regions], ids=["whole", "regions"])
def test_both_keeps_the_surer_reading_of_each_text(wrap):
    class Doubtful(FixedText):
        """Surer of the second line at each size it has not at the other."""

        def recognize(self, grey, horizontal, free, **options):
            read = super().recognize(grey, horizontal, free, **options)
            return [(box, text, float(text in ("160x48", "30x10"))) for box, text, _ in read]

    size = 1 if wrap is Regions else 2  # at which text is looked for
    boxes = np.multiply([[20, 60, 10, 22], [0, 30, 60, 70]], size).tolist()
    picture = np.zeros((75, 120, 3), np.uint8)
    reader = easyocr.Reader(Doubtful(boxes), enhancer=wrap(Bicubic(4)), both=True)
    words = reader.readtext(picture)
    assert [(word.text, word.confidence) for word in words] == [("160x48", 1), ("30x10", 1)]
    assert [rectangle(word) for word in words] == [[20, 10, 60, 22], [0, 60, 30, 70]]
    assert reader.readline(picture[:10, :30]).text == "30x10"
    alone = easyocr.Reader(Doubtful(boxes), enhancer=wrap(Bicubic(4)))
    assert [word.confidence for word in alone.readtext(picture)] == [1, 0]


def test_both_keeps_a_text_that_one_of_the_two_readings_lacks():
    class Blinking(FixedText):
        """Reads the last line the first time, and the others the second time."""

        first = True

        def recognize(self, grey, horizontal, free, **options):
            read = super().recognize(grey, horizontal, free, **options)
            seen, self.first = (read[:1] if self.first else read[1:]), False
            return seen

    engine = Blinking([[20, 60, 10, 22], [0, 30, 60, 70]])
    words = easyocr.Reader(engine, enhancer=Bicubic(1), both=True).readtext(
        np.zeros((75, 120, 3), np.uint8)
    )
    assert [rectangle(word) for word in words] == [[20, 10, 60, 22], [0, 60, 30, 70]]


@pytest.mark.parametrize("wrap", [lambda e: e, Regions], ids=["whole", "regions"])
def test_both_takes_the_enhanced_of_two_equally_sure_readings(wrap):
    engine = FixedText([[20, 60, 10, 22]])
    reader = easyocr.Reader(engine, enhancer=wrap(Bicubic(2)), both=True)
    picture = np.zeros((75, 120, 3), np.uint8)
    assert [word.text for word in reader.readtext(picture, max_scale=1)] == ["80x24"]
    assert reader.readline(picture[:10, :30]).text == "60x20"
    first = TwoReadings("enhanced", 0.9)
    (word,) = rapidocr.Reader(first, enhancer=Bicubic(1), both=True).readtext(picture)
    assert word.text == "enhanced"
    first = TwoReadings("enhanced", 0.9)
    line = rapidocr.Reader(first, enhancer=Bicubic(2), both=True).readline(picture)
    assert (line.text, rectangle(line)) == ("enhanced", [0, 0, 120, 75])


def test_nothing_is_read_twice_without_an_enhancer(monkeypatch):
    read, plain = [], FixedText.recognize
    monkeypatch.setattr(
        FixedText, "recognize", lambda *args, **options: read.append(0) or plain(*args, **options)
    )
    picture = np.zeros((75, 120, 3), np.uint8)
    easyocr.Reader(FixedText([[0, 9, 0, 9]]), both=True).readtext(picture)
    assert len(read) == 1
    engine = Flagged()
    rapidocr.Reader(engine, both=True).readtext(picture)
    assert engine.said == ["det True cls True rec True"]


# Regions


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
    (view,) = Regions(make()).look(picture, [corners])
    (left, top), (right, bottom) = (view.from_source(corners[n]).astype(int) for n in (0, 2))
    difference = view.rgb[top:bottom, left:right].astype(int) - make()(picture)[100:140, 160:320]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("gap", [2, 30])
def test_regions_near_each_other_or_not_keep_their_places_and_sizes(make, rng, gap):
    picture = rng.integers(0, 256, (60, 110, 3), np.uint8)
    first = np.array([[10, 5], [30, 5], [30, 15], [10, 15]], float)
    quads = [first, first + np.array([20 + gap, 3]), first]
    views = Regions(make(), margin=4).look(picture, quads)
    assert [view.origin for view in views] == [(6, 1), (26 + gap, 4), (6, 1)]
    assert {(view.scale, view.rgb.shape) for view in views} == {(4, (72, 112, 3))}


def test_an_enhancer_of_regions_is_told_their_margin_once():
    class Asked(Bicubic):
        def regions(self, img, boxes, *, margin):
            self.boxes, self.margin = boxes, margin
            return self([img[top:bottom, left:right] for left, top, right, bottom in boxes])

    enhancer = Asked(2)
    quad = np.array([[30, 20], [50, 20], [50, 30], [30, 30]], float)
    (view,) = Regions(enhancer, margin=3).look(np.zeros((60, 80, 3), np.uint8), [quad])
    assert (enhancer.boxes, enhancer.margin) == ([(27, 17, 53, 33)], 0)
    assert (view.origin, view.rgb.shape) == ((27, 17), (32, 52, 3))


def test_an_enhancer_of_lists_may_write_to_the_regions_it_is_given():
    class Writing(Bicubic):
        scale = 1

        def __call__(self, img):
            for crop in img:
                assert crop.flags.c_contiguous
                crop.fill(9)
            return img

    picture = np.zeros((60, 80, 3), np.uint8)
    quad = np.array([[30, 20], [50, 20], [50, 30], [30, 30]], float)
    views = Regions(Writing(1)).look(picture, [quad, quad + 3])
    assert all((view.rgb == 9).all() for view in views)
    assert not picture.any()


def test_a_region_knows_the_way_back_to_the_source():
    corners = np.array([[30, 20], [50, 20], [50, 30], [30, 30]], float)
    (view,) = Regions(Bicubic(4), margin=3).look(np.zeros((60, 80, 3), np.uint8), [corners])
    assert (view.origin, view.rgb.shape) == ((27, 17), (64, 104, 3))
    np.testing.assert_array_equal(view.from_source(corners)[0], [12, 12])
    np.testing.assert_array_equal(view.to_source(view.from_source(corners)), corners)


def test_a_region_holds_all_px_that_its_corners_touch():
    corners = np.array([[30.7, 20.6], [50.3, 20.6], [50.3, 30.2], [30.7, 30.2]])
    (view,) = Regions(Bicubic(4), margin=0).look(np.zeros((60, 80, 3), np.uint8), [corners])
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


def test_an_enhancer_that_takes_no_lists_is_refused_for_regions():
    class One:
        scale = 1

        def __call__(self, img):
            return img[0]

    reader = easyocr.Reader(FixedText([[0, 9, 0, 9]]), enhancer=Regions(One()))
    with pytest.raises(ModelError, match="list of 1 regions"):
        reader.readtext(np.zeros((20, 30, 3), np.uint8))
    reader = easyocr.Reader(FixedText([[0, 9, 0, 9]]), enhancer=Regions(answering(None)))
    with pytest.raises(ModelError, match="list of 1 regions, but gave back a NoneType"):
        reader.readtext(np.zeros((20, 30, 3), np.uint8))


@pytest.mark.parametrize("margin", [-1, "8", 0.5, float("nan"), None])
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
        Regions(answering([answer])).look(picture, quads)


# Single lines


@pytest.mark.parametrize(
    "enhancer", [None, Bicubic(2), Regions(Bicubic(2))], ids=["none", "whole", "regions"]
)
def test_a_line_is_read_without_looking_for_it(text_engine, sign, enhancer):
    crop = sign.crop((8, 12, 268, 54))
    word = easyocr.Reader(text_engine, enhancer=enhancer).readline(crop)
    assert word.text == "Emergency exit"
    assert rectangle(word) == [0, 0, 260, 42]
    assert 0.5 < word.confidence <= 1


def test_options_of_a_line_reach_the_recogniser_and_no_text_is_empty(monkeypatch):
    engine = FixedText()
    easyocr.Reader(engine).readline(np.zeros((12, 40, 3), np.uint8), allowlist="0123")
    assert engine.recognise_options["allowlist"] == "0123"
    assert engine.recognise_options["reformat"] is False
    monkeypatch.setattr(engine, "recognize", lambda *_, **__: [])
    word = easyocr.Reader(engine).readline(np.zeros((12, 40, 3), np.uint8))
    assert word == ([[0, 0], [40, 0], [40, 12], [0, 12]], "", 0)


def test_a_line_takes_readtexts_options_of_recognition_and_no_others(text_engine, sign):
    everything = inspect.signature(easyocr.Reader.readtext).parameters
    ours = inspect.signature(easyocr.Reader.readline).parameters
    theirs = inspect.signature(text_engine.recognize).parameters
    for name in set(ours) - {"self", "image"}:
        assert ours[name].default == everything[name].default == theirs[name].default

    reader = easyocr.Reader(text_engine)
    crop = sign.crop((8, 12, 268, 54))
    given = {name: p.default for name, p in ours.items() if name not in ("self", "image")}
    assert reader.readline(crop, **given) == reader.readline(crop)
    assert set(reader.readline(crop, allowlist="abc").text) <= set("abc")
    with pytest.raises(TypeError, match="'detail'"):
        reader.readline(crop, detail=0)


# RapidOCR


class Flagged:
    """Stands for rapidocr.RapidOCR: keeps its flags from call to call, and says what they were."""

    def __init__(self, meet=lambda: None, **settings):
        self.use_det, self.use_cls, self.use_rec = True, True, True
        self.max_side_len = 20
        self.cfg = SimpleNamespace(Global=SimpleNamespace(**settings))
        self.meet = meet
        self.shapes, self.said = [], []

    def __call__(self, img_content, **flags):
        self.__dict__.update({name: flag for name, flag in flags.items() if flag is not None})
        self.shapes.append(img_content.shape)
        self.meet()
        said = f"det {self.use_det} cls {self.use_cls} rec {self.use_rec}"
        self.said.append(said)
        box = [[0, 0], [8, 0], [8, 4], [0, 4]]
        return SimpleNamespace(boxes=[box] if self.use_det else None, txts=[said], scores=[0.9])


@pytest.fixture(scope="module")
def rapid_engine():
    pytest.importorskip("rapidocr")
    return rapidocr.Reader(params={"Global.log_level": "error", "Global.use_cls": False}).engine


def test_rapidocr_keeps_its_own_settings():
    for turns in (True, False):
        engine = Flagged()
        engine.use_cls = turns
        before = dict(vars(engine))
        reader = rapidocr.Reader(engine)
        picture = np.zeros((9, 9, 3), np.uint8)
        assert reader.readline(picture).text == "det False cls False rec True"
        assert [w.text for w in reader.readtext(picture)] == [f"det True cls {turns} rec True"]
        rapidocr.Reader(engine, enhancer=Bicubic(1), both=True).readtext(picture)
        assert engine.said[-2:] == [f"det False cls {turns} rec True"] * 2
        assert vars(engine) == before


@pytest.mark.parametrize(("height", "shape"), [(14, (14, 10, 3)), (15, (10, 15, 3))])
def test_rapidocr_lays_lines_down_that_are_half_as_high_again_as_wide(rng, height, shape):
    class Standing(Flagged):
        def __call__(self, img_content, **flags):
            found = super().__call__(img_content, **flags)
            self.shown.append(img_content)
            found.boxes = [[[0, 0], [10, 0], [10, height], [0, height]]]
            return found

    engine, picture = Standing(), rng.integers(0, 256, (20, 20, 3), np.uint8)
    engine.shown = []
    reader = rapidocr.Reader(engine, enhancer=Bicubic(1), both=True)
    reader.readtext(picture)
    assert engine.shapes[1:] == [shape, shape]
    line = picture[:height, :10, ::-1]
    wanted = line if height == 14 else line.swapaxes(0, 1)[::-1]  # its top is at the left
    for shown in engine.shown[1:]:
        np.testing.assert_array_equal(shown, wanted)


def test_a_real_rapidocr_is_left_as_it_is(rapid_engine, sign):
    reader = rapidocr.Reader(rapid_engine, enhancer=Bicubic(2), both=True)
    lines = ["Emergency exit", "Second floor"]
    assert reader.readline(sign.crop((8, 12, 268, 54))).text == lines[0]
    assert (rapid_engine.use_det, rapid_engine.use_cls) == (True, False)
    assert [word.text for word in reader.readtext(sign)] == lines
    assert (rapid_engine.use_det, rapid_engine.use_cls) == (True, False)
    assert rapid_engine.text_det is not None  # else each call's copy would load it anew
    assert rapid_engine.text_rec is not None
    assert rapid_engine.text_cls is None  # not needed, and so not loaded


class TwoReadings:
    """Stands for rapidocr.RapidOCR: finds a line; in the first picture read, it reads ``first``.

    As the engine does, it drops what it reads as blank in a picture that it looks for text in.
    """

    text_score = 0.5

    def __init__(self, *first):
        self.readings = [first, ("right", 0.9)]

    def __call__(self, _shown, use_det, use_rec, text_score=None, **_):
        least = self.text_score if text_score is None else text_score
        boxes = [[[8, 12], [268, 12], [268, 54], [8, 54]]]
        if not use_rec:
            return SimpleNamespace(boxes=boxes)
        text, score = self.readings.pop(0)
        dropped = use_det and (score < least or not text.strip())
        return SimpleNamespace(
            boxes=None if dropped else boxes,
            txts=None if dropped else (text,),
            scores=None if dropped else (score,),
        )


@pytest.mark.parametrize("first", [("wrong", 0.3), ("wrong", 0.7), ("", 0.0), (" ", 0.99)], ids=str)
def test_rapidocr_reads_in_the_source_what_is_doubtful_or_blank_enhanced(sign, first):
    words = rapidocr.Reader(TwoReadings(*first), enhancer=Bicubic(2)).readtext(sign)
    assert [word.text for word in words] == ["wrong"] * (first[1] == 0.7)
    (word,) = rapidocr.Reader(TwoReadings(*first), enhancer=Bicubic(2), both=True).readtext(sign)
    assert (word.text, word.confidence) == ("right", 0.9)
    assert rectangle(word) == [4, 6, 134, 27]
    line = rapidocr.Reader(TwoReadings(*first), enhancer=Bicubic(2), both=True).readline(sign)
    assert (line.text, line.confidence) == ("right", 0.9)


@pytest.mark.parametrize(("second", "least"), [(("right", 0.9), 0.95), ((" ", 0.9), 0.5)], ids=str)
def test_rapidocr_leaves_out_what_neither_reading_is_sure_of(sign, second, least):
    engine = TwoReadings("", 0.0)
    engine.readings[1], engine.text_score = second, least
    assert rapidocr.Reader(engine, enhancer=Bicubic(2), both=True).readtext(sign) == []


def test_rapidocr_gives_what_is_just_as_sure_as_asked_for(sign):
    reader = rapidocr.Reader(TwoReadings("", 0.0), enhancer=Bicubic(2), both=True)
    assert [word.text for word in reader.readtext(sign, text_score=0.9)] == ["right"]


@pytest.mark.parametrize(("second", "texts"), [(("doubtful", 0.1), ["doubtful"]), (("", 0.0), [])])
def test_rapidocr_gives_all_but_the_blank_where_no_confidence_is_asked_for(sign, second, texts):
    engine = TwoReadings("", 0.0)
    engine.readings[1] = second
    reader = rapidocr.Reader(engine, enhancer=Bicubic(2), both=True)
    assert [word.text for word in reader.readtext(sign, text_score=0)] == texts


@pytest.mark.parametrize("both", [False, True])
def test_rapidocrs_least_confidence_may_be_chosen_for_a_picture(rapid_engine, sign, both):
    reader = rapidocr.Reader(rapid_engine, enhancer=Bicubic(1), both=both)
    assert len(reader.readtext(sign)) == 2
    assert reader.readtext(sign, text_score=1) == []
    assert rapid_engine.text_score == 0.5
    engine = TwoReadings("wrong", 0.3)
    engine.readings[1] = ("right", 0.4)
    doubtful = rapidocr.Reader(engine, enhancer=Bicubic(1), both=both)
    (word,) = doubtful.readtext(sign, text_score=0.2)
    assert word.text == ("right" if both else "wrong")
    for score in ("0.5", 50, float("nan")):
        with pytest.raises(PreprocError, match=f"from 0 to 1, but is {score!r}"):
            reader.readtext(sign, text_score=score)


@pytest.mark.parametrize(
    "name", ["use_det", "use_rec", "return_word_box", "return_single_char_box"]
)
def test_rapidocrs_settings_that_would_change_nothing_are_refused(name):
    with pytest.raises(PreprocError, match=f"Global.{name} would change nothing"):
        rapidocr.Reader(params={f"Global.{name}": True})


def test_rapidocr_is_asked_by_two_threads_at_once():
    barrier = threading.Barrier(2, timeout=20)
    reader = rapidocr.Reader(Flagged(barrier.wait))
    picture = np.zeros((9, 9, 3), np.uint8)
    with ThreadPoolExecutor(2) as threads:
        words = threads.submit(reader.readtext, picture)
        line = threads.submit(reader.readline, picture)
        assert [w.text for w in words.result()] == ["det True cls True rec True"]
        assert line.result().text == "det False cls False rec True"


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (10, 20, 3)),
        ({"use_preprocess_img": True}, (10, 20, 3)),
        ({"use_preprocess_img": False}, (40, 80, 3)),
    ],
)
def test_rapidocr_is_shown_what_it_would_shrink_to(settings, shape):
    engine = Flagged(**settings)
    (word,) = rapidocr.Reader(engine).readtext(np.zeros((40, 80, 3), np.uint8))
    assert engine.shapes == [shape]
    assert rectangle(word)[2] == 8 * 80 / shape[1]
    assert rapidocr.Reader(engine).readline(np.zeros((40, 80, 3), np.uint8)).text
    assert engine.shapes == [shape, shape]


def test_rapidocr_that_undoes_all_enlargement_gets_a_warning():
    reader = rapidocr.Reader(Flagged(), enhancer=Bicubic(4))
    sentence = r'has 160x80 px, but RapidOCR is shown 20x10, .*"Global.max_side_len": 160\}'
    with pytest.warns(rapidocr.ShownSizeWarning, match=sentence) as caught:
        reader.readtext(np.zeros((20, 40, 3), np.uint8))
    assert caught[0].filename == __file__
    with pytest.warns(rapidocr.ShownSizeWarning, match="no more than were given"):
        reader.readtext(np.zeros((9, 20, 3), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.readtext(np.zeros((9, 19, 3), np.uint8))
        rapidocr.Reader(Flagged()).readtext(np.zeros((20, 40, 3), np.uint8))
        rapidocr.Reader(Flagged(), enhancer=Bicubic(1)).readtext(np.zeros((9, 19, 3), np.uint8))


# Both


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: easyocr.Reader(FixedText(), gpu=False),
        lambda: mtcnn.MTCNN(FixedFace(), gpu=1),
        lambda: rapidocr.Reader(Flagged(), gpu=1),
    ],
)
def test_options_of_an_engine_that_exists_cannot_be_set(wrap):
    with pytest.raises(PreprocError, match="exists already, so gpu"):
        wrap()


@pytest.mark.parametrize(
    ("engine", "make", "install"),
    [
        ("easyocr", lambda: easyocr.Reader(["en"]), r'".\[easyocr\]" in the checkout'),
        ("facenet_pytorch", mtcnn.MTCNN, r'".\[mtcnn\]" in the checkout'),
        ("rapidocr", rapidocr.Reader, "rapidocr onnxruntime"),
    ],
)
def test_a_missing_engine_is_a_sentence(monkeypatch, engine, make, install):
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(
        PreprocError, match=f"{engine}, which is not installed: pip install {install}"
    ):
        make()


def test_importing_the_adapters_imports_no_engine():
    code = (
        "import sys, integrations.easyocr, integrations.mtcnn;"
        "print(sorted({'easyocr', 'facenet_pytorch', 'cv2', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_enhancer_of_another_scale_than_it_says_is_refused(monkeypatch):
    enhancer = Bicubic(2)
    picture = np.zeros((4, 5, 3), np.uint8)
    view = look(picture, enhancer)
    assert (view.rgb.shape, view.scale) == ((8, 10, 3), 2)
    for answer in (
        lambda _, img: img,
        lambda _, img: img.repeat(2, 0).repeat(2, 1) / 255,
        lambda _, img: img.repeat(2, 0).repeat(2, 1)[..., 0],
        lambda _, img: img.repeat(2, 0).repeat(2, 1)[..., :1],
    ):
        monkeypatch.setattr(Bicubic, "__call__", answer)
        with pytest.raises(ModelError, match="scale 2"):
            look(picture, enhancer)


@pytest.mark.parametrize(
    "given",
    [
        np.arange(60, dtype=np.uint8).reshape(4, 5, 3),
        np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3),
        torch.arange(60, dtype=torch.uint8).view(3, 4, 5),
        torch.arange(60, dtype=torch.uint8).view(4, 5, 3).permute(2, 0, 1),
    ],
    ids=["array", "batch", "tensor", "turned tensor"],
)
def test_engines_get_the_usual_layout_and_may_write_to_it(given):
    before = given.copy() if isinstance(given, np.ndarray) else given.clone()
    rgb = look(given, None).rgb
    assert rgb.flags.c_contiguous
    rgb[:] = 9
    assert (given == before).all()


def test_grey_deep_and_transparent_pictures_become_rgb():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = np.repeat(grey[..., None], 3, axis=2)
    for given in (grey, grey.astype(np.uint16) * 257, grey / np.float32(255)):
        np.testing.assert_array_equal(look(given, None).rgb, expected)
    opaque = np.dstack([expected, np.full_like(grey, 255)])
    np.testing.assert_array_equal(look(opaque, None).rgb, expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("ink", "hidden"), [(0, 255), (255, 0), (0, 0)])
def test_what_is_drawn_on_nothing_stays_visible(mode, ink, hidden):
    """Whatever colour the px around it were left in."""
    drawn = np.zeros((20, 40), bool)
    drawn[8:12, 5:35] = True
    grey = np.where(drawn, ink, hidden).astype(np.uint8)
    alpha = np.where(drawn, 255, 0).astype(np.uint8)
    image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    seen = look(image.convert(mode) if mode != "LA" else image, None).rgb
    assert (seen[drawn] == ink).all()
    assert (seen[~drawn] == 255 - ink).all()


@pytest.mark.parametrize("adapter", [mtcnn.MTCNN, easyocr.Reader, rapidocr.Reader])
def test_bgr_arrays_are_shown_as_the_same_picture(adapter, rng):
    array = rng.integers(0, 256, (40, 50, 3), np.uint8)
    seen = []

    class Seeing(Bicubic):
        def __call__(self, img):
            seen.append(img)
            return super().__call__(img)

    engine = FixedFace() if adapter is mtcnn.MTCNN else FixedText([[1, 9, 1, 9]])
    if adapter is rapidocr.Reader:
        engine = lambda _, **options: SimpleNamespace(boxes=None, txts=None)  # noqa: ARG005, E731
    for order, given in (
        ("rgb", array),
        ("bgr", array[..., ::-1]),
        ("bgr", Image.fromarray(array)),
    ):
        made = adapter(engine, enhancer=Seeing(2), channel_order=order)
        for look_at in ("detect",) if adapter is mtcnn.MTCNN else ("readtext", "readline"):
            getattr(made, look_at)(given)
    assert len(seen) == (3 if adapter is mtcnn.MTCNN else 6)
    for shown in seen:
        np.testing.assert_array_equal(shown, array)


@pytest.mark.parametrize("adapter", [mtcnn.MTCNN, easyocr.Reader, rapidocr.Reader])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"enhancer": "cajnn"}, "preproc.Enhancer\\(\\), but 'cajnn' was given"),
        ({"enhancer": Bicubic}, "but <class .* was given"),
        ({"enhancer": lambda img: img}, "must have an attribute scale, .* is None"),
        ({"enhancer": Bicubic(0.5)}, "must have an attribute scale, .* is 0.5"),
        ({"enhancer": Bicubic(0)}, "must have an attribute scale, .* is 0"),
        ({"channel_order": "BGR"}, "channel_order must be 'rgb' or 'bgr', but is 'BGR'"),
    ],
)
def test_what_an_adapter_cannot_use_is_refused_where_it_is_made(adapter, options, sentence):
    with pytest.raises(PreprocError, match=sentence):
        adapter(FixedFace() if adapter is mtcnn.MTCNN else FixedText(), **options)


def test_faces_are_not_looked_for_in_regions():
    with pytest.raises(PreprocError, match=r"but Regions\(.*was given"):
        mtcnn.MTCNN(FixedFace(), enhancer=Regions(Bicubic(2)))


@pytest.mark.parametrize("given", ["cajnn", None, Regions(Bicubic(2)), Bicubic])
def test_regions_need_an_enhancer(given):
    with pytest.raises(PreprocError, match="An enhancer must be an object"):
        Regions(given)


@pytest.mark.parametrize(
    ("adapter", "given"),
    [
        (easyocr.Reader, None),
        (easyocr.Reader, 7),
        (easyocr.Reader, FixedText),
        (easyocr.Reader, FixedFace()),
        (rapidocr.Reader, ["en"]),
        (rapidocr.Reader, Flagged),
        (mtcnn.MTCNN, 160),
        (mtcnn.MTCNN, FixedFace),
        (mtcnn.MTCNN, FixedText()),
    ],
)
def test_what_is_no_engine_is_refused_where_the_adapter_is_made(adapter, given):
    with pytest.raises(PreprocError, match=r"The engine must be a .* was given; to have one made"):
        adapter(given)


@pytest.mark.parametrize(
    "name",
    [
        lambda **options: easyocr.Reader(["en"], **options),
        lambda **options: easyocr.Reader("en", **options),
        lambda **options: easyocr.Reader({"en"}, **options),
        lambda **options: easyocr.Reader(lang_list=["en"], **options),
    ],
)
def test_languages_are_named_as_for_easyocr(monkeypatch, name):
    made = []

    def make(lang_list, **options):
        made.append((lang_list, options))
        return FixedText()

    monkeypatch.setitem(sys.modules, "easyocr", SimpleNamespace(Reader=make))
    assert isinstance(name(gpu=False, verbose=False).engine, FixedText)
    assert made == [(["en"], {"gpu": False, "verbose": False})]


def test_languages_of_a_reader_that_exists_cannot_be_named():
    with pytest.raises(PreprocError, match="leave lang_list out"):
        easyocr.Reader(FixedText(), lang_list=["en"])


@pytest.mark.parametrize("languages", [[], [7], b"en"], ids=str)
def test_what_is_no_language_is_refused(languages):
    with pytest.raises(PreprocError, match=r'Languages must be a list such as \["en"\], but are'):
        easyocr.Reader(languages)


def test_an_enhancer_of_bgr_arrays_is_refused():
    enhancer = Bicubic(2)
    enhancer.channel_order = "bgr"
    for use in (
        lambda: look(np.zeros((4, 5, 3), np.uint8), enhancer),
        lambda: mtcnn.MTCNN(FixedFace(), enhancer=enhancer),
        lambda: Regions(enhancer),
    ):
        with pytest.raises(ModelError, match="give channel_order to the adapter"):
            use()


@pytest.mark.parametrize(
    ("mode", "ink", "ground"),
    [
        ("LA", (80,), 255),
        ("LA", (120,), 255),
        ("LA", (135,), 0),
        ("LA", (180,), 0),
        ("RGBA", (80, 120, 60), 255),
        ("RGBA", (180, 90, 255), 0),
    ],
)
def test_what_is_drawn_on_nothing_lies_on_what_it_stands_out_from(mode, ink, ground):
    image = Image.new(mode, (6, 4))
    image.paste((*ink, 255), (0, 0, 2, 4))
    seen = look(image, None).rgb
    assert (seen[:, :2] == ink).all()
    assert (seen[:, 2:] == ground).all()


def test_what_shows_through_by_a_part_is_mixed_with_its_ground():
    image = Image.new("LA", (6, 4), (80, 102))
    array = np.array(image.convert("RGBA"))
    for given in (image, array, array.astype(np.uint16) * 257, array / np.float32(255)):
        assert (look(given, None).rgb == 0.4 * 80 + 0.6 * 255).all()


def test_what_hardly_shows_does_not_choose_the_ground():
    image = Image.new("LA", (40, 20), (255, 2))
    image.paste((0, 255), (5, 5, 15, 15))
    seen = look(image, None).rgb
    assert (seen[5:15, 5:15] == 0).all()
    assert (seen[:, 20:] == 255).all()


def test_bytes_of_every_kind_are_a_file():
    with io.BytesIO() as file:
        Image.new("RGB", (5, 4), "red").save(file, "PNG")
        data = file.getvalue()
    for given in (data, bytearray(data), memoryview(data)):
        assert (look(given, None).rgb == (255, 0, 0)).all()


def test_nothing_visible_is_a_blank_picture():
    assert (look(np.zeros((4, 5, 4), np.uint8), None).rgb == 255).all()


ADAPTERS = {
    "easyocr": lambda: easyocr.Reader(FixedText()).readtext,
    "rapidocr": lambda: rapidocr.Reader(Flagged()).readtext,
    "mtcnn": lambda: mtcnn.MTCNN(FixedFace()).detect,
}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    "several",
    [
        np.zeros((2, 40, 50, 3), np.uint8),
        torch.zeros(2, 3, 40, 50),
        torch.zeros(2, 40, 50, 3),
        torch.zeros(2, 4, 40, 50),
        torch.zeros(0, 3, 40, 50),
    ],
    ids=lambda several: f"{type(several).__name__} {tuple(several.shape)}",
)
def test_what_to_do_with_a_batch_is_a_sentence_that_works(adapter, several):
    answer = ADAPTERS[adapter]()
    shape = re.escape(str(tuple(several.shape)))
    with pytest.raises(ImageError, match=rf"batch of .*{shape}; ") as caught:
        answer(several)
    advice = str(caught.value).rpartition("; ")[2]
    if adapter == "mtcnn":
        given = eval(advice.removeprefix("pass ").removesuffix("."), {"batch": several})
        assert [len(faces.boxes) for faces in answer(given)] == [1] * len(several)
    else:
        assert advice == "loop over them."


def test_a_batch_of_one_is_its_picture():
    picture = np.arange(120, dtype=np.uint8).reshape(4, 10, 3)
    for one in (picture[None], torch.from_numpy(picture).permute(2, 0, 1)[None]):
        np.testing.assert_array_equal(look(one, None).rgb, picture)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_nothing_is_offered_that_would_be_refused(adapter):
    answer = ADAPTERS[adapter]()
    with pytest.raises(ImageError, match=r"an array or a tensor\.$"):
        answer(7)
    if adapter != "mtcnn":
        with pytest.raises(ImageError, match="a list of 2; loop over them"):
            answer(["a.png", "b.png"])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_urls_are_not_fetched(adapter):
    with pytest.raises(ImageError, match=r"not fetched, but https://example\.com/a\.jpg is one"):
        ADAPTERS[adapter]()("https://example.com/a.jpg")


def test_files_of_16_bits_are_the_same_picture_everywhere_without_a_word(tmp_path, rng):
    deep = rng.integers(0, 2**16, (9, 11, 3), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    data = png16.write(np.rot90(deep), {"exif": exif})
    path = tmp_path / "deep.png"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (path, str(path), data, deep):
            np.testing.assert_array_equal(look(given, None).rgb, np.rint(deep / 257))


@pytest.mark.parametrize("given", [b"no image", 7, "/nowhere/at/all.png"])
def test_what_is_no_image_is_a_sentence(given):
    with pytest.raises(ImageError):
        mtcnn.MTCNN(FixedFace()).detect(given)
