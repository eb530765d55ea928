"""What the tests of adapters share: an enhancer, engines and pictures that are easy to foresee."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
from PIL import Image


class Bicubic:
    """Stands for an enhancer: plain interpolation."""

    def __init__(self, scale):
        self.scale = scale
        self.sizes = []

    def __call__(self, img):
        self.sizes.append(img.shape[1::-1])
        height, width, _ = img.shape
        size = (width * self.scale, height * self.scale)
        return np.asarray(Image.fromarray(img).resize(size, Image.Resampling.BICUBIC))


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


class Rapid:
    """Stands for rapidocr.RapidOCR: its settings, and ``answer`` in place of what it does."""

    max_side_len = 2000
    text_score = 0.5
    use_cls = False
    cfg = SimpleNamespace(Global=SimpleNamespace(use_preprocess_img=True))

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, img_content, **options):
        return self.answer(img_content, **options)


class Flagged(Rapid):
    """Stands for rapidocr.RapidOCR: keeps its flags from call to call, and says what they were."""

    def __init__(self, meet=lambda: None, **settings):
        self.use_det, self.use_cls, self.use_rec = True, True, True
        self.max_side_len = 20
        settings = {"use_preprocess_img": True} | settings
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


class TwoReadings(Rapid):
    """Stands for rapidocr.RapidOCR: finds a line; in the first picture read, it reads ``first``.

    As the engine does, it drops what it reads as blank in a picture that it looks for text in.
    """

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
