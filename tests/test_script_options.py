"""The options of the evaluation's scripts: what their help says, and when they are refused."""

from __future__ import annotations

import re
from pathlib import Path

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


@pytest.mark.parametrize(
    ("script", "needed", "given"),
    [
        (
            icdar2013,
            ["--data", "d"],
            {"reduce": [2, 4], "jpeg": [None, 40], "strength": [1.0, 0.5]},
        ),
        (own_faces, ["--images", "d"], {"model": ["a", "b"], "peers": ["a", "b"]}),
        (own_text, ["--images", "d"], {"model": ["a", "b"], "strength": [1.0, 0.5]}),
        (restoration, ["--data", "d"], {"sets": ["a", "b"], "jpeg": [10, 40], "model": ["a", "b"]}),
        (wider, ["--data", "d"], {"detections": [Path("a"), Path("b")], "strength": [1.0, 0.5]}),
    ],
)
def test_values_given_one_by_one_are_those_given_together(script, needed, given):
    parser = script._parser()
    options = {action.dest: action.option_strings[-1] for action in parser._actions}
    one_by_one = [
        text
        for name, values in given.items()
        for value in values
        for text in (options[name], str(value).lower())
    ]
    parsed = parser.parse_args([*needed, *one_by_one])
    assert {name: getattr(parsed, name) for name in given} == given


@pytest.mark.parametrize("script", [own_faces, own_text])
@pytest.mark.parametrize("wrong", [["--model", "none"], ["--strength", "0.5"]])
def test_what_cannot_be_measured_is_said_before_the_pictures_are_looked_at(
    script, wrong, tmp_path, capsys
):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert script.main(["--images", str(tmp_path), *wrong]) == 1
    assert "broken.png" not in capsys.readouterr().err
