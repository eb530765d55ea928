"""What a recogniser made of a word is kept as it comes, and is there when a run goes on."""

from __future__ import annotations

import json
from functools import partial

import pytest

from eval_tasks.engines.readings import Key, Reading, Readings
from preproc.errors import OutputError

KEY = Key("eyes", "none", "input", "", "cpu", "word_1.png")
OTHER = KEY._replace(word="word_2.png")


def keep(path, **words: str) -> list[str]:
    """What is read of words; those not known yet are read as what is given for them."""
    keys = {KEY._replace(word=f"{word}.png"): text for word, text in words.items()}
    with Readings(path) as readings:
        found = readings.read({key: partial(Reading, text, 1, 0, 0) for key, text in keys.items()})
    return [found[key].text for key in keys]


def test_readings_are_there_again(tmp_path):
    path = tmp_path / "new" / "readings.jsonl"
    reading = Reading("caf\u00e9 \n", 0.5, 0.1, 0.2)
    for make in (lambda: reading, None):
        with Readings(path) as readings:
            assert readings.read({KEY: make}) == {KEY: reading}
    with Readings(path) as readings, pytest.raises(ZeroDivisionError):
        readings.read({KEY._replace(weights="0"): lambda: 1 / 0})


def test_a_line_cut_short_is_read_again(tmp_path):
    path = tmp_path / "readings.jsonl"
    assert keep(path, word_1="a", word_2="b") == ["a", "b"]
    path.write_bytes(path.read_bytes()[:-7])
    assert keep(path, word_1="-", word_2="c") == ["a", "c"]
    assert keep(path, word_1="-", word_2="-") == ["a", "c"]


def test_what_another_run_adds_meanwhile_stays(tmp_path, monkeypatch):
    path = tmp_path / "readings.jsonl"
    keep(path, word_1="a")
    first = Readings(path)

    def loads(text):
        first.read({OTHER: lambda: Reading("b", 1, 0, 0)})
        return json.JSONDecoder().decode(text.decode())

    monkeypatch.setattr(json, "loads", loads)
    with first, Readings(path) as second:
        second.read({KEY: None})
    monkeypatch.undo()
    assert keep(path, word_1="-", word_2="-") == ["a", "b"]


def test_what_other_software_read_is_read_anew_and_so_is_what_does_not_say_by_what(tmp_path):
    path = tmp_path / "readings.jsonl"
    old = {field: value for field, value in KEY._asdict().items() if field != "software"}
    reading = {"text": "old", "confidence": 1, "arm_seconds": 0, "read_seconds": 0}
    path.write_text(json.dumps({"key": old, "reading": reading}) + "\n")
    for software, text in (("torch 1", "first"), ("torch 2", "second"), ("torch 1", "first")):
        key = KEY._replace(software=software)
        with Readings(path) as readings:
            assert readings.read({key: partial(Reading, text, 1, 0, 0)})[key].text == text
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("content", ["hello\n", '{"key": 1}\n', "[]\n"])
def test_another_file_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "readings.jsonl"
    path.write_text(content)
    with pytest.raises(OutputError, match="something else"):
        Readings(path)
    assert path.read_text() == content


def test_a_reading_that_cannot_be_kept_is_a_sentence(tmp_path):
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    path = tmp_path / "readings.jsonl"
    keep(path, word_1="a")
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
        with pytest.raises(OutputError, match="Cannot keep a reading"):
            keep(path, word_2="b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size > size
    assert keep(path, word_1="-") == ["a"]
    assert path.stat().st_size == size
