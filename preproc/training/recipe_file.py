"""A training recipe's file: a small TOML file, read into `Stage`s and checked whole.

A recipe holds one stage, or shared tables followed by ``[[stage]]`` tables that override them and
run one after the other, each starting from the weights of the one before. Unknown keys are errors,
so that a misspelt option cannot be ignored.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from preproc.errors import RecipeError
from preproc.training.recipe import Stage, Table

_SHIPPED = Path(__file__).parent / "recipes"


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> list[Stage]:
    """Read a recipe.

    Args:
        path: the TOML file, or the name of a recipe that comes with the package.
        overrides: ``table.key=value`` in TOML syntax, applied to every stage.

    Raises:
        RecipeError: the file or a key is missing, the file or an override is not TOML, or a key or
            value does not belong.
    """
    path = Path(path)
    file = path if path.is_file() else _SHIPPED / f"{path}.toml"
    if not file.is_file():
        shipped = ", ".join(sorted(p.stem for p in _SHIPPED.glob("*.toml")))
        raise RecipeError(f"There is no recipe {path}; give a TOML file, or one of {shipped}.")
    try:
        table = tomllib.loads(file.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file.name} is not valid TOML: {error}.") from error
    changes = [_parsed(line) for line in overrides]
    stages = table.pop("stage", [{}])
    if not isinstance(stages, list) or not stages or not all(isinstance(s, dict) for s in stages):
        raise RecipeError(f"{file.name}: every stage begins with [[stage]], in double brackets.")
    made = []
    for number, stage in enumerate(stages, 1):
        merged = table
        for change in (stage, *changes):
            merged = _merged(merged, change)
        where = f"{file.name}, stage {number}" if len(stages) > 1 else file.name
        made.append(_build(Stage, merged, where))
    if len({s.name for s in made}) < len(made):
        raise RecipeError(f"{file.name}: every stage needs a name of its own.")
    return made


def _parsed(override: str) -> dict[str, Any]:
    try:
        return tomllib.loads(override)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(
            f"The override {override} is not valid TOML: {error}. Texts need quotes, and in a "
            "shell others around them: --set 'validation.path=\"\"'."
        ) from error


def _merged(base: Table, change: Table) -> dict[str, Any]:
    both = dict(base)
    for key, value in change.items():
        old = both.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping)
        both[key] = _merged(old, value) if nested else value  # type: ignore[arg-type]
    return both


def _build(kind: Any, table: Any, where: str, path: str = "") -> Any:  # noqa: ANN401 - any dataclass
    """Make a dataclass of a table, recursively, refusing what does not fit its annotations.

    Args:
        kind: the dataclass.
        table: its values.
        where: the file, and the stage where there are several.
        path: the table's key in there; empty for the stage itself.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where}: {path} should be a table, but is {table!r}.")
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    above = f"{path}." if path else ""
    for key in table:
        if key not in known:
            raise RecipeError(
                f"{where}: there is no key {above + key!r}; known are {', '.join(known)}."
            )
    for f in fields(kind):
        if f.default is f.default_factory is MISSING and f.name not in table:
            raise RecipeError(f"{where}: the key {above + f.name!r} is missing; add it.")
    values = {k: _convert(hints[k], value, where, above + k) for k, value in table.items()}
    try:
        return kind(**values)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str, path: str) -> Any:  # noqa: ANN401 - any value
    if is_dataclass(hint):
        return _build(hint, value, where, path)
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list):
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(kinds) == len(value):
            return tuple(_convert(k, v, where, path) for k, v in zip(kinds, value, strict=True))
    elif origin is Literal:
        if value in args:
            return value
        raise RecipeError(
            f"{where}: {path} must be one of {', '.join(map(str, args))}, but is {value!r}."
        )
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint in (int, str) and type(value) is hint:
        return value
    elif origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    raise RecipeError(f"{where}: {path} has the wrong type: {value!r}.")
