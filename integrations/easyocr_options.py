"""EasyOCR's options, by what they are for, and what each may be.

They are checked before a picture is enhanced, text in it or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeAlias

from preproc.errors import OptionError
from preproc.values import is_whole_number

Options: TypeAlias = dict[str, tuple[str, Callable[[object], bool]]]
"""What each option must be, in words, and whether a value is that."""


def chosen(given: Mapping[str, object], options: Options) -> dict[str, Any]:
    """Those of ``options`` among a method's arguments.

    Raises:
        OptionError: EasyOCR would fail with one of them, or find nothing.
    """
    for name, (what, fits) in options.items():
        if not fits(given[name]):
            raise OptionError(f"{name} must be {what}, but is {given[name]!r}.")
    return {name: given[name] for name in options}


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def _is_above_0(value: object) -> bool:
    return isinstance(value, Real) and float(value) > 0


def _is_whole_from(least: int) -> Callable[[object], bool]:
    return lambda value: is_whole_number(value, least)


def _are_angles(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and all(map(_is_number, value)))


_ANYTHING = ("anything", lambda _: True)
_NUMBER = ("a number", _is_number)
_ABOVE_0 = ("a number above 0", _is_above_0)
_DECODERS = ("greedy", "beamsearch", "wordbeamsearch")

FINDING: Options = {
    "text_threshold": _NUMBER,
    "low_text": _NUMBER,
    "link_threshold": _NUMBER,
    "slope_ths": _NUMBER,
    "ycenter_ths": _NUMBER,
    "height_ths": _NUMBER,
    "width_ths": _NUMBER,
    "add_margin": _NUMBER,
    "threshold": _NUMBER,
    "bbox_min_score": _NUMBER,
    "bbox_min_size": _NUMBER,
    "max_candidates": _NUMBER,
}
SIZES: Options = {
    "min_size": ("a number of px, or None", lambda value: value is None or _is_number(value)),
    "canvas_size": _ABOVE_0,
    "mag_ratio": _ABOVE_0,
    "max_scale": _ABOVE_0,
    "max_pixels": _ABOVE_0,
}
READING: Options = {
    "decoder": (f"one of {', '.join(_DECODERS)}", lambda value: value in _DECODERS),
    "beamWidth": ("a whole number, 1 or more", _is_whole_from(1)),
    "batch_size": ("a whole number, 1 or more", _is_whole_from(1)),
    "workers": ("a whole number, 0 or more", _is_whole_from(0)),
    "allowlist": _ANYTHING,
    "blocklist": _ANYTHING,
    "rotation_info": ("a list of angles in degrees, or None", _are_angles),
    "contrast_ths": _NUMBER,
    "adjust_contrast": _NUMBER,
    "filter_ths": _ANYTHING,
}
GROUPING: Options = {"x_ths": _NUMBER, "y_ths": _NUMBER}
