"""MTCNN's adapter: faces and landmarks in source px, and sizes of faces too."""

from __future__ import annotations

import inspect
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_engines import Bicubic, FixedFace, kinds
from PIL import Image

from integrations import mtcnn
from integrations.mtcnn import FaceSizeWarning
from preproc.errors import ImageError, PreprocError


@pytest.fixture(scope="module")
def portrait():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def face_engine():
    return pytest.importorskip("facenet_pytorch").MTCNN()


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


def test_several_threads_search_with_one_detector(face_engine, portrait):
    smaller = Image.fromarray(portrait).crop((128, 0, 384, 256))
    detector = mtcnn.MTCNN(face_engine, enhancer=Bicubic(2))
    pictures = [smaller.resize((128, 128)), smaller, np.zeros((90, 70, 3), np.uint8)]
    expected = [detector.detect(picture).boxes for picture in pictures]
    assert [len(boxes) for boxes in expected] == [1, 1, 0]
    with ThreadPoolExecutor(3) as threads:
        for found, boxes in zip(threads.map(detector.detect, pictures), expected, strict=True):
            np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)


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


def test_faces_may_reach_past_the_border_as_the_engines_do():
    class Reaching(FixedFace):
        def detect(self, img, landmarks):
            _, *others = super().detect(img, landmarks)
            return np.array([[-7.0, -3.0, 176.0, 164.0]]), *others

    image = np.zeros((40, 40, 3), np.uint8)
    faces = mtcnn.MTCNN(Reaching(), enhancer=Bicubic(4)).detect(image)
    np.testing.assert_array_equal(faces.boxes, [[-1, 0, 44, 41]])


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


@pytest.mark.parametrize("scale", [None, 2])
def test_a_picture_as_high_as_the_smallest_face_is_searched(scale):
    detector = mtcnn.MTCNN(FixedFace(), enhancer=scale and Bicubic(scale))
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
    assert len(detector.detect(tuple(pictures))) == 3
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
    small = FixedFace()
    small.min_face_size = 6
    with pytest.warns(FaceSizeWarning, match="min_face_size 6 cannot"):
        mtcnn.MTCNN(small, enhancer=Bicubic(1))
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


@pytest.mark.parametrize("given", [b"no image", 7, "/nowhere/at/all.png", "a\0b.png"])
def test_what_is_no_image_is_a_sentence(given):
    with pytest.raises(ImageError):
        mtcnn.MTCNN(FixedFace()).detect(given)
