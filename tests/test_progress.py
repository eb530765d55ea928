"""Parts of a pass count in units of their own, and together make the pass."""

from __future__ import annotations

import pytest

from preproc.progress import Tally, advance, scaled


def test_a_part_tells_of_the_whole_pass():
    told = []
    with Tally(lambda done, _: told.append(done), 80).during(80):
        for _ in range(2):
            with scaled(1 / 2), scaled(1 / 4):  # two calls of four px each
                advance(1)
                advance(3)
    assert told == [10, 40, 50, 80]


def test_a_part_that_fails_leaves_the_scale_around_it():
    told = []
    with Tally(lambda done, _: told.append(done), 80).during(80):
        with pytest.raises(MemoryError), scaled(1 / 8):
            raise MemoryError
        advance(0.5)
    assert told == [40]


def test_what_is_done_outside_a_pass_is_not_counted_in_the_next():
    with scaled(1 / 8):
        advance(1)
    told = []
    with Tally(lambda done, _: told.append(done), 80).during(80):
        advance(0.5)
    assert told == [40]


def test_a_pass_that_is_made_again_is_no_more_than_all_of_it():
    told = []
    with Tally(lambda done, _: told.append(done), 80).during(80):
        advance(0.75)
        advance(0.75)
    assert told == [60, 80]


def test_a_pass_that_fails_hears_no_more_of_what_is_done():
    told = []
    with pytest.raises(MemoryError), Tally(lambda done, _: told.append(done), 80).during(80):
        raise MemoryError
    advance(1)
    assert told == []
