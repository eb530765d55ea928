"""What EasyOCR's options may be: checked before a picture is enhanced, text in it or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real

from preproc.errors import PreprocError

DECODERS = ("greedy", "beamsearch", "wordbeamsearch")


def require_options(options: Mapping[str, object]) -> None:
    """Refuse what EasyOCR would fail with, or find nothing with.

    Args:
        options: of `integrations.easyocr.Reader.readtext`, by name; those that may be anything are
            passed over.

    Raises:
        PreprocError: one of them is not what it may be.
    """
    for name, (what, fits) in _CHECKS.items():
        if name in options and not fits(options[name]):
            raise PreprocError(f"{name} must be {what}, but is {options[name]!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def _is_above_0(value: object) -> bool:
    return isinstance(value, Real) and float(value) > 0


def _is_whole_from(least: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Integral) and int(value) >= least


def _are_angles(value: object) -> bool:
    return value is None or (isinstance(value, list | tuple) and all(map(_is_number, value)))


_CHECKS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "decoder": (f"one of {', '.join(DECODERS)}", lambda value: value in DECODERS),
    "rotation_info": ("a list of angles in degrees, or None", _are_angles),
    "beamWidth": ("a whole number, 1 or more", _is_whole_from(1)),
    "batch_size": ("a whole number, 1 or more", _is_whole_from(1)),
    "workers": ("a whole number, 0 or more", _is_whole_from(0)),
    "min_size": ("a number of px, or None", lambda value: value is None or _is_number(value)),
    **dict.fromkeys(
        ("canvas_size", "mag_ratio", "max_scale", "max_pixels"), ("a number above 0", _is_above_0)
    ),
    **dict.fromkeys(
        (
            "contrast_ths",
            "adjust_contrast",
            "text_threshold",
            "low_text",
            "link_threshold",
            "slope_ths",
            "ycenter_ths",
            "height_ths",
            "width_ths",
            "y_ths",
            "x_ths",
            "add_margin",
            "threshold",
            "bbox_min_score",
            "bbox_min_size",
            "max_candidates",
        ),
        ("a number", _is_number),
    ),
}
