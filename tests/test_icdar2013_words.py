"""The words of ICDAR2013: their labels, as published, and their pictures."""

from __future__ import annotations

import pytest
from PIL import Image

from eval_tasks.evaluators.icdar2013 import SUBSETS
from eval_tasks.pictures.word_crops import CROPS, GROUND_TRUTH, find_crops, read_ground_truth
from preproc.errors import ImageError


def labels_of(tmp_path, text: str) -> dict[str, str]:
    path = tmp_path / "gt.txt"
    path.write_bytes(text.encode())
    return read_ground_truth(path)


def test_commas_quotes_and_a_byte_order_mark(tmp_path):
    text = (
        '\ufeffword_1.png, "Tiredness"\r\n'
        'word_2.png, "4,000"\r\n\r\n'
        'word_3.png, "say \\"hi\\", \\\\"\n'
        'word_4.png,""'
    )
    assert labels_of(tmp_path, text) == {
        "word_1.png": "Tiredness",
        "word_2.png": "4,000",
        "word_3.png": 'say "hi", \\',
        "word_4.png": "",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("word_1.png, Tiredness", "line 1, is not of the form"),
        ('a.png, "x"\na.png, "y"', r"line 2, names a\.png a second time"),
        ("\n", "holds no words"),
    ],
)
def test_what_is_no_ground_truth_is_a_sentence(tmp_path, text, sentence):
    with pytest.raises(ImageError, match=sentence):
        labels_of(tmp_path, text)


def test_a_missing_file_or_one_of_another_encoding_is_a_sentence(tmp_path):
    with pytest.raises(ImageError, match="Cannot read the ground truth"):
        read_ground_truth(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes('word_1.png, "café"'.encode("latin-1"))
    with pytest.raises(ImageError, match=r"Cannot read the ground truth .*utf-8"):
        read_ground_truth(tmp_path / "latin.txt")


def test_a_crop_is_as_high_as_its_picture(tmp_path):
    (tmp_path / CROPS).mkdir()
    Image.new("RGB", (50, 9)).save(tmp_path / CROPS / "word_1.png")
    (tmp_path / GROUND_TRUTH).write_text('word_1.png, "Tiredness"')
    (crop,) = find_crops(tmp_path)
    assert (crop.file, crop.label, crop.height) == ("word_1.png", "Tiredness", 9)


def test_the_published_counts(shared):
    labels = read_ground_truth(shared / "data" / "icdar2013" / GROUND_TRUTH).values()
    counts = [sum(map(counts, labels)) for counts in SUBSETS.values()]
    assert counts == [1095, 1015, 857]
