"""What the tests of WIDER FACE's benchmark share: faces, detections, and a small benchmark."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from eval_tasks.pictures.wider_truth import SUBSETS, Truth

FAR = 500.0
"""Where no face is."""


def face(x=0.0, y=0.0, side=20.0):
    return [x, y, side, side]


def truth(boxes, kept=None):
    """An image whose faces all count, or those of ``kept``, in every subset."""
    flags = np.ones(len(boxes), bool)
    if kept is not None:
        flags[:] = False
        flags[list(kept)] = True
    return Truth(np.array(boxes, np.float64).reshape(-1, 4), dict.fromkeys(SUBSETS, flags))


def found(*rows):
    return np.array([[*box, value] for box, value in rows], np.float64).reshape(-1, 5)


def small_benchmark(folder):
    """Two images, one of them with a face, and a ground truth that lists a third, in a folder."""
    astronaut = pytest.importorskip("skimage.data").astronaut()
    savemat = pytest.importorskip("scipy.io").savemat
    events = {"0--Parade": ["p.j.p_1", "p_2"], "1--Handshaking": ["h_absent"]}
    faces = {"p.j.p_1": [[77, 44, 91, 124]], "p_2": [[5, 5, 9, 9]], "h_absent": [[0, 0, 50, 50]]}
    kept = {"easy": {"p.j.p_1"}, "medium": {"p.j.p_1"}, "hard": {"p.j.p_1", "h_absent"}}

    def cells(values):
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        return column

    def lists(choose):
        return cells([cells([choose(n) for n in names]) for names in events.values()])

    truth_folder = folder / "eval_gt"
    truth_folder.mkdir()
    every = {
        "event_list": cells(list(events)),
        "file_list": lists(lambda n: n),
        "face_bbx_list": lists(lambda n: np.array(faces[n])),
    }
    savemat(truth_folder / "wider_face_val.mat", every)
    for subset, names in kept.items():
        numbers = lists(lambda n, names=names: np.array([[1]] if n in names else np.empty((0, 1))))
        savemat(truth_folder / f"wider_{subset}_val.mat", {"gt_list": numbers})
    images = folder / "WIDER_val" / "images" / "0--Parade"
    images.mkdir(parents=True)
    portrait = Image.fromarray(astronaut).crop((100, 20, 340, 240))
    portrait.save(images / "unused.jpg")
    portrait.save(images / "p.j.p_1.jpg", quality=95)
    Image.new("RGB", (70, 50), "gray").save(images / "p_2.jpg")
    return folder
