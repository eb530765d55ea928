"""With both=True a text is read enhanced and as it was, and the surer reading counts."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engines import Bicubic, FixedText, Flagged, TwoReadings, rectangle

from integrations import easyocr, rapidocr
from integrations.protocols import Word, surer
from integrations.view import Regions


def test_the_first_of_two_equal_readings_counts_and_its_place_in_any_case():
    here, there = ([[x, 0.0]] for x in (1.0, 2.0))
    first = Word(here, "first", 0.5)
    assert surer(first, Word(there, "second", 0.5)) == first
    assert surer(first, Word(there, "second", 0.6)) == Word(here, "second", 0.6)


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


def test_both_readings_are_made_with_the_options_given():
    asked = []

    class Asked(FixedText):
        def recognize(self, *given, **options):
            asked.append(options)
            return super().recognize(*given, **options)

    picture = np.zeros((12, 40, 3), np.uint8)
    reader = easyocr.Reader(Asked([[0, 9, 0, 9]]), enhancer=Bicubic(2), both=True)
    reader.readtext(picture, allowlist="0123")
    reader.readline(picture, allowlist="0123")
    assert [options["allowlist"] for options in asked] == ["0123"] * 4


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
