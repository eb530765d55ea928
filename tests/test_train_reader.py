"""The example that tunes a reader: every arm sees the same words, and what is tuned can be used."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

pytest.importorskip("easyocr", reason="EasyOCR is not installed")
pytest.importorskip("easyocr_en_models", reason="EasyOCR's offline models are not installed")
pytest.importorskip("justmytype_western_core", reason="the fonts for rendered text are missing")

from eval_tasks.engines.recognisers import EasyOcrLines, easyocr_engine
from eval_tasks.pictures.word_crops import CROPS, GROUND_TRUTH
from eval_tasks.treatments.arms import Arm
from examples.train_reader import __main__ as command
from examples.train_reader.recogniser import line_of, tune
from examples.train_reader.rendered import photograph, rendered, vocabulary
from preproc.errors import OutputError
from preproc.training.data.text import word_picture


@pytest.fixture
def engine():
    return easyocr_engine(cuda=False, detector=False)


@pytest.mark.parametrize("height", [32, 77, 128])
@pytest.mark.parametrize("text", ["I", "exit", "Qqjg8%", "international"])
def test_a_word_fills_its_picture(text, height):
    for seed in range(4):
        rng, same = np.random.default_rng(seed), np.random.default_rng(seed)
        picture = word_picture(rng, text, height)
        assert picture.dtype == np.uint8
        assert (picture.shape[0], picture.shape[2]) == (height, 3)
        assert len(text) * height / 20 < picture.shape[1] < (len(text) + 1) * 1.6 * height
        assert np.ptp(picture[height // 4 : -height // 4]) > 20  # there is ink
        np.testing.assert_array_equal(picture, word_picture(same, text, height))


@pytest.mark.parametrize("word", ["I", "exit", "Qqjg8%"])
def test_a_word_is_as_high_as_said_and_all_of_it_is_in_its_picture(word, monkeypatch):
    for name, plain in (
        ("_ground", lambda _, side, __: np.full((side, side, 3), 255, np.uint8)),
        ("contrasting_colour", lambda *_: (0, 0, 0)),
        ("_noisy", lambda _, picture: picture),
    ):
        monkeypatch.setattr(f"preproc.training.data.text.{name}", plain)
    for seed in range(20):
        ink = word_picture(np.random.default_rng(seed), word, 64).min(2) < 160
        rows = np.flatnonzero(ink.any(1))
        assert 0.58 < (rows[-1] - rows[0] + 1) / 64 < 0.97  # blurred, or turned a little


def test_words_are_those_of_their_seed_and_small():
    words = vocabulary()
    assert len(words) > 1000
    assert {"the", "file", "return"} <= set(words)
    one = [rendered(0, number, words, None) for number in range(12)]
    again = [rendered(0, number, words, None) for number in range(12)]
    assert [text for text, _ in one] == [text for text, _ in again]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(one, again, strict=True))
    assert len({text for text, _ in one}) > 6
    assert all(8 <= len(picture) < 32 for _, picture in one)
    assert [text for text, _ in one] != [
        rendered(1, number, words, None)[0] for number in range(12)
    ]


def test_photographs_are_cut_and_small_ones_enlarged(tmp_path, rng):
    array = rng.integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    cut = photograph([tmp_path / "a.png"], np.random.default_rng(0), 32)
    assert any(
        np.array_equal(cut, array[top : top + 32, left : left + 32])
        for top in range(9)
        for left in range(29)
    )
    assert photograph([tmp_path / "a.png"], rng, 90).shape == (90, 90, 3)


def lines(count=8):
    words = vocabulary()
    drawn = (rendered(3, number, words, None) for number in range(count))
    return [line_of(text, picture) for text, picture in drawn]


def test_a_recogniser_learns_what_it_is_shown_and_its_norms_stay(engine):
    stored = {key: value.clone() for key, value in engine.recognizer.state_dict().items()}
    losses = list(tune(engine, lines(), steps=10, batch=8, seed=0))
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    for key, value in engine.recognizer.state_dict().items():
        kept = "running" in key or "num_batches" in key
        assert torch.equal(value, stored[key]) == kept, key


def test_the_command_tunes_and_its_weights_can_be_used(tmp_path, engine, capsys):
    (tmp_path / CROPS).mkdir()
    texts = ["exit", "way"]
    for number, text in enumerate(texts):
        picture = word_picture(np.random.default_rng(number), text, 64)
        Image.fromarray(picture).save(tmp_path / CROPS / f"word_{number}.png")
    labels = "".join(f'word_{number}.png, "{text}"\n' for number, text in enumerate(texts))
    (tmp_path / GROUND_TRUTH).write_text(labels)
    report = tmp_path / "report.json"
    command.main(
        tmp_path, words=6, steps=2, batch=3, only=["input"], keep=tmp_path / "kept", json=report
    )
    (arm,) = json.loads(report.read_text())["arms"]
    assert arm["arm"] == "input"
    assert all(0 <= count <= 2 for count in arm["before"] + arm["after"])
    assert len(arm["before"]) == len(arm["after"]) == len(command.TESTS)
    assert "rendered words, 2 steps of 3" in capsys.readouterr().out

    tuned = load_file(tmp_path / "kept" / "input.safetensors")
    before = engine.recognizer.state_dict()["Prediction.weight"].clone()
    engine.recognizer.load_state_dict(tuned)
    assert not torch.equal(engine.recognizer.state_dict()["Prediction.weight"], before)
    assert EasyOcrLines(engine).readline(np.full((20, 60, 3), 255, np.uint8)).text == ""


def test_words_are_tuned_on_and_read_as_the_arm_shows_them(tmp_path, monkeypatch):
    (tmp_path / CROPS).mkdir()
    Image.new("RGB", (96, 32), "white").save(tmp_path / CROPS / "word_1.png")
    (tmp_path / GROUND_TRUTH).write_text('word_1.png, "exit"\n')
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (200, 200), "red").save(tmp_path / "photos" / "a.png")
    given, tuned, counted, grounds, seeds = [], [], [], [], []

    def rendering(seed, number, words, ground):
        grounds.append(ground(np.random.default_rng(0), 9))
        seeds.append(seed)
        return rendered(seed, number, words, ground)

    def blank(img):
        given.append(img.shape)
        return np.full_like(img, 255)

    def tuning(engine, lines, steps, batch, seed):
        tuned.extend(lines)
        seeds.append(seed)
        yield from tune(engine, lines, steps, batch, seed)

    monkeypatch.setattr(command, "make_arms", lambda *_, **__: [Arm("blank", 1, blank)])
    monkeypatch.setattr(command, "tune", tuning)
    monkeypatch.setattr(command, "rendered", rendering)
    monkeypatch.setattr(command, "read_right", lambda *_: counted.append(1) or {"a": len(counted)})
    report, photographs = tmp_path / "report.json", tmp_path / "photos"
    options = {"photographs": photographs, "words": 5, "steps": 2, "batch": 3, "seed": 7}
    command.main(tmp_path, **options, json=report)
    assert seeds == [7] * 6
    assert len(tuned) == len(grounds) == 5
    assert all((ground == (255, 0, 0)).all() for ground in grounds)
    assert all((line.grey == 255).all() for line in tuned)
    tests = [(16, 48, 3), (8, 24, 3), (32, 96, 3)]
    assert given[:3] == given[-3:] == tests
    assert len(given) == 3 + 5 + 3
    (arm,) = json.loads(report.read_text())["arms"]
    assert (arm["before"], arm["after"]) == ([1, 2, 3], [4, 5, 6])


def test_every_kth_word_is_read_and_the_report_says_how_many(tmp_path, monkeypatch, capsys):
    (tmp_path / CROPS).mkdir()
    for number in range(4):
        Image.new("RGB", (60, 20)).save(tmp_path / CROPS / f"word_{number}.png")
    labels = [f'word_{number}.png, "exit"' for number in range(4)]
    (tmp_path / GROUND_TRUTH).write_text("\n".join(labels))
    read = []

    def trial(arm, crops, *_):
        read.append([crop.file for crop in crops])
        return command.Result(arm.name, [0] * 3, [0] * 3, 1.0, 1.0)

    monkeypatch.setattr(command, "_trial", trial)
    report = tmp_path / "report.json"
    command.main(tmp_path, every=3, only=["input"], json=report)
    assert read == [["word_0.png", "word_3.png"]]
    assert json.loads(report.read_text())["words of ICDAR2013"] == 2

    def full(*_):
        raise OutputError("There is no room left.")

    monkeypatch.setattr(command, "write_json", full)
    capsys.readouterr()
    with pytest.raises(command.typer.Exit):
        command.main(tmp_path, only=["input"], json=report)
    out, err = capsys.readouterr()
    assert "words of ICDAR2013: 4" in out, "what was found out is told although it cannot be kept"
    assert "Error: There is no room left." in err


def test_arms_that_are_not_there_and_missing_words_are_sentences(tmp_path, capsys):
    with pytest.raises(command.typer.Exit):
        command.main(tmp_path)
    assert "Cannot read the ground truth" in capsys.readouterr().err
    (tmp_path / CROPS).mkdir()
    (tmp_path / GROUND_TRUTH).write_text('word_1.png, "exit"\n')
    Image.new("RGB", (60, 20)).save(tmp_path / CROPS / "word_1.png")
    named = {"model": "cajnn-light", "strength": 0.75}
    for options, arm in (({}, "cajnn-ocr x4 at 0.5"), (named, "cajnn-light x4 at 0.75")):
        with pytest.raises(command.typer.Exit):
            command.main(tmp_path, only=["enhanced"], **options)
        sentence = f"begins with enhanced; they are input, bicubic x4, {arm}."
        assert sentence in capsys.readouterr().err
