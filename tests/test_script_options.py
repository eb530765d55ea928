"""The options of the evaluation's scripts are what their help says."""

from __future__ import annotations

import re

import pytest

from eval_tasks import icdar2013, own_faces, own_text, rendered_pages, restoration, wider


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (icdar2013, ["--output", "--reduce", "--kernel", "--jpeg", "--recogniser", "--strength"]),
        (own_faces, ["--reduce", "--kernel", "--output", "--min-face-size", "--sure"]),
        (own_text, ["--reduce", "--kernel", "--output", "--engine", "--sure", "--strength"]),
        (rendered_pages, ["--pages"]),
        (restoration, ["--jpeg", "--scale", "--protocol"]),
        (wider, ["--output", "--kernel", "--min-face-size", "--strength"]),
    ],
)
def test_help_tells_what_an_option_is_where_it_is_not_given(script, told):
    options = {action.option_strings[-1]: action for action in script._parser()._actions}
    for name in told:
        usual = options[name].default
        values = usual if isinstance(usual, list) else [usual]
        shown = [f"{v:g}" if isinstance(v, float) else f"{v}".lower() for v in values]
        assert re.search(r"\(default: (.*?)\)", options[name].help)[1].split() == shown
