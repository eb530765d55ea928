"""Training and evaluation degrade pictures as the papers did, and reproducibly."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
from PIL import Image

from preproc import degrade
from preproc.degrade import MCU
from preproc.errors import ImageError, OptionError, RecipeError
from preproc.training.data import degradation
from preproc.training.data.degradation import Degradation


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Smooth colour with edges, 96x64: compresses like a photograph, unlike noise."""
    y, x = np.mgrid[:64, :96]
    planes = [128 + 90 * np.sin(x / 9), 128 + 90 * np.cos(y / 7), np.where(x > y, 40, 210)]
    return np.stack(planes, -1).astype(np.uint8)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_mod_crop_cuts_bottom_and_right():
    img = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    assert np.array_equal(degrade.mod_crop(img, 4), img[:4, :8])
    with pytest.raises(ImageError, match="9x7 px is too small"):
        degrade.mod_crop(img, 8)


def test_bicubic_rounds_to_uint8_after_each_axis_rows_first():
    # Four px become one with a weight of a quarter each: edges are mirrored.
    dot = np.zeros((4, 4, 3), np.uint8)
    dot[1, 2] = 6
    assert degrade.bicubic_down(dot, 4).item(0) == 1  # 6 -> 1.5 -> 2 -> 0.5 -> 1; 6/16 gives 0
    pair = np.zeros((4, 4, 3), np.uint8)
    pair[:2, 0] = 2
    assert degrade.bicubic_down(pair, 4).item(0) == 0  # 4/4 = 1 -> 0.25 -> 0
    assert degrade.bicubic_down(pair.swapaxes(0, 1), 4).item(0) == 1  # 0.5 -> 1 twice -> 0.5 -> 1


def test_a_flipped_px_is_taken():
    px = np.full((1, 1, 3), 7, np.uint8)
    assert (degrade.bicubic_up(px[::-1], 2) == 7).all()


def test_bicubic_clips_overshoot_and_keeps_constants():
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 255
    up = degrade.bicubic_up(edge, 4)
    assert up.shape == (32, 32, 3)
    assert (up[:, :8] == 0).all()
    assert (up[:, -8:] == 255).all()
    assert (np.diff(up[0, :, 0].astype(int)) >= 0).all()  # none is taken round to the other end
    white = np.full((8, 8, 3), 255, np.uint8)
    assert (degrade.bicubic_down(white, 4) == 255).all()
    assert (degrade.bicubic_up(white, 3) == 255).all()


def test_kernels_of_a_reduction(photo):
    assert np.array_equal(degrade.reduce(photo, 2), degrade.bicubic_down(photo, 2))
    by_box = degrade.reduce(photo, 2, "box")
    assert by_box.shape == degrade.bicubic_down(photo, 2).shape
    means = photo[:32, :32].reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(by_box[:16, :16] - means).max() <= 1  # each of two passes is rounded
    odd = photo[:63, :94]
    assert degrade.reduce(odd, 4).shape == (16, 24, 3)
    for kernel in ("lanczos", "bilinear", "box"):
        expected = Image.fromarray(odd).resize((24, 16), Image.Resampling[kernel.upper()])
        assert np.array_equal(degrade.reduce(odd, 4, kernel), expected)
    with pytest.raises(OptionError, match="kernel is one of bicubic, lanczos"):
        degrade.reduce(photo, 2, "sinc")


def test_lower_quality_is_further_from_the_picture(photo):
    for code in (degrade.jpeg, degrade.webp):
        far = [distance(code(photo, quality), photo) for quality in (10, 40, 95)]
        assert far[0] > far[1] > far[2] > 0


def test_jpeg_is_4_2_0_unless_asked(photo):
    assert np.array_equal(degrade.jpeg(photo, 40), degrade.jpeg(photo, 40, "4:2:0"))
    far = [distance(degrade.jpeg(photo, 90, chroma), photo) for chroma in degrade.SUBSAMPLINGS]
    assert far[0] > far[1] > far[2]
    with pytest.raises(OptionError, match="4:1:1"):
        degrade.jpeg(photo, 40, "4:1:1")


def test_a_crop_with_an_aligned_margin_is_coded_as_in_its_picture(photo):
    whole = degrade.jpeg(photo, 20)
    top, left = MCU, 2 * MCU
    crop = degrade.jpeg(photo[top : top + 48, left : left + 48], 20)
    inside = slice(MCU, 2 * MCU)
    assert np.array_equal(crop[inside, inside], whole[2 * MCU : 3 * MCU, 3 * MCU : 4 * MCU])
    # The margin matters: at another phase the same picture comes out differently.
    shifted = degrade.jpeg(photo[top + 5 : top + 53, left : left + 48], 20)
    assert not np.array_equal(shifted[11:27, inside], whole[2 * MCU : 3 * MCU, 3 * MCU : 4 * MCU])


def test_two_passes_leave_more_traces_than_one(photo):
    once = degrade.jpeg(photo, 80)
    assert distance(degrade.double_jpeg(photo, 20, 80), photo) > distance(once, photo)
    aligned = degrade.double_jpeg(photo, 20, 80)
    shifted = degrade.double_jpeg(photo, 20, 80, shift=(3, 5))
    assert aligned.shape == shifted.shape == photo.shape
    assert not np.array_equal(aligned, shifted)
    resaved = degrade.resave(photo, 1.3, 20, 80)
    assert resaved.shape == photo.shape
    assert distance(resaved, photo) > distance(once, photo)


@pytest.mark.parametrize("chroma", degrade.SUBSAMPLINGS)
def test_two_passes_are_one_after_the_other_with_the_same_chroma(photo, chroma):
    twice = degrade.jpeg(degrade.jpeg(photo, 20, chroma), 80, chroma)
    assert np.array_equal(degrade.double_jpeg(photo, 20, 80, chroma), twice)
    assert np.array_equal(degrade.resave(photo, 1, 20, 80, chroma), twice)


def test_a_shift_is_a_crop_between_the_passes(photo):
    posted_again = degrade.jpeg(degrade.jpeg(photo, 20)[3:, 5:], 80)
    shifted = degrade.double_jpeg(photo[3:, 5:], 20, 80, shift=(3, 5))
    inside = slice(2 * MCU, None)  # the first MCU lack what the crop took off
    assert np.array_equal(shifted[inside, inside], posted_again[inside, inside])
    # What is put before the picture leaves no trace in it.
    white = np.full((32, 32, 3), 255, np.uint8)
    assert np.ptp(degrade.double_jpeg(white, 20, 80, shift=(3, 5))) == 0


def test_a_long_strip_saved_at_another_size_comes_back_in_its_own(photo):
    strip = np.tile(photo[:10], (1, 3, 1))
    assert degrade.resave(strip, 1.05, 20, 80).shape == strip.shape


def test_blur_keeps_the_mean_and_lowers_the_contrast(photo):
    blurred = degrade.blur(photo, 1.0)
    assert blurred.mean() == pytest.approx(photo.mean(), abs=1)
    steps = [np.abs(np.diff(img[..., 2].astype(int), axis=1)).max() for img in (photo, blurred)]
    assert steps[0] == 170
    assert steps[1] < 80


def test_sigma_is_the_standard_deviation_of_the_blur():
    line = np.zeros((9, 41, 3), np.uint8)
    line[:, 20] = 255
    weights = degrade.blur(line, 2.0)[4, :, 0].astype(float)
    variance = (weights * (np.arange(41) - 20) ** 2).sum() / weights.sum()
    assert variance == pytest.approx(4, rel=0.1)


def test_inputs_are_left_alone(photo):
    before = photo.copy()
    every = Degradation(double_jpeg=0.3, resave=0.2, webp=0.2, chroma=0.5, blur=0.5)
    rng = np.random.default_rng(0)
    for _ in range(20):
        every.apply(photo, rng)
    assert np.array_equal(photo, before)


def test_the_default_is_cajnn_s_single_jpeg_of_quality_10_to_100(photo):
    rng, twin = np.random.default_rng(5), np.random.default_rng(5)
    qualities = set()
    for _ in range(40):
        result = Degradation().apply(photo, rng)
        match = [q for q in range(10, 101) if np.array_equal(result, degrade.jpeg(photo, q))]
        assert match
        qualities.update(match)
        assert np.array_equal(result, Degradation().apply(photo, twin))
    assert min(qualities) < 30
    assert max(qualities) > 80


def test_each_fate_comes_as_often_as_said(photo, monkeypatch):
    seen: dict[str, int] = {}

    def count(name: str) -> None:
        def coder(img, *args):
            key = name + (" chroma" if name == "jpeg" and args[1:] != ("4:2:0",) else "")
            seen[key] = seen.get(key, 0) + 1
            return img

        monkeypatch.setattr(degradation, name, coder)

    for name in ("jpeg", "double_jpeg", "resave", "webp", "blur"):
        count(name)
    mixed = Degradation(
        uncompressed=0.1, double_jpeg=0.2, resave=0.15, webp=0.25, chroma=0.5, blur=0.4
    )
    rng = np.random.default_rng(0)
    n = 4000
    for _ in range(n):
        mixed.apply(photo, rng)
    share = {name: times / n for name, times in seen.items()}
    expected = {
        "double_jpeg": 0.2,
        "resave": 0.15,
        "webp": 0.25,
        "blur": 0.4,
        "jpeg": 0.15,
        "jpeg chroma": 0.15,
    }
    assert share == pytest.approx(expected, abs=0.03)


def test_what_is_coded_is_the_blurred_picture(photo):
    blurred, rng = degrade.blur(photo, 0.7), np.random.default_rng(0)
    for fate, wanted in (
        ({}, degrade.jpeg(blurred, 30)),
        ({"webp": 1}, degrade.webp(blurred, 30)),
        ({"uncompressed": 1}, blurred),
    ):
        soft = Degradation(quality=(30, 30), blur=1, blur_sigma=(0.7, 0.7), **fate)
        assert np.array_equal(soft.apply(photo, rng), wanted)


def test_what_is_drawn_has_all_the_range_that_was_asked_for(photo, monkeypatch):
    passes: list[tuple] = []
    for name in ("blur", "webp", "jpeg", "double_jpeg", "resave"):
        monkeypatch.setattr(
            degradation, name, lambda img, *args, name=name: passes.append((name, *args)) or img
        )
    asked = Degradation(
        quality=(30, 32),
        double_jpeg=0.4,
        resave=0.4,
        webp=0.1,
        chroma=0.5,
        blur=0.5,
        blur_sigma=(0.3, 0.9),
        resave_factor=(0.5, 2.0),
    )
    rng = np.random.default_rng(0)
    for _ in range(2000):
        asked.apply(photo, rng)
    once, twice, again, modern, blurred = (
        [p[1:] for p in passes if p[0] == n]
        for n in ("jpeg", "double_jpeg", "resave", "webp", "blur")
    )
    assert {quality for quality, _ in once} == {quality for (quality,) in modern} == {30, 31, 32}
    chromas = [[p[1] for p in once], [p[2] for p in twice], [p[3] for p in again]]
    assert [set(chroma) for chroma in chromas] == [set(degrade.SUBSAMPLINGS)] * 3
    assert {q[:2] for q in twice} == {q[1:3] for q in again} == set(product((30, 31, 32), repeat=2))
    for axis in (0, 1):
        assert {shift[axis] for *_, shift in twice} == set(range(MCU))
    factors = [factor for factor, *_ in again]
    assert (min(factors), max(factors)) == pytest.approx((0.5, 2.0), abs=0.02)
    sigmas = [sigma for (sigma,) in blurred]
    assert (min(sigmas), max(sigmas)) == pytest.approx((0.3, 0.9), abs=0.02)


def test_a_skew_of_two_puts_a_third_of_the_qualities_below_20(photo, monkeypatch):
    drawn: list[int] = []
    monkeypatch.setattr(degradation, "jpeg", lambda img, quality, _: drawn.append(quality) or img)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        Degradation(quality_skew=2).apply(photo, rng)
    assert np.mean(np.array(drawn) < 20) == pytest.approx(1 / 3, abs=0.03)
    assert max(drawn) > 95


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"quality_skew": 0}, "quality_skew must be above 0"),
        ({"quality": (0, 50)}, "quality runs from low to high above 0"),
        ({"quality": (60, 50)}, "quality runs from low to high"),
        ({"quality": (10, 101)}, "up to 100"),
        ({"webp": -0.1}, r"^degrade\.webp .*between 0 and 1, but is -0\.1\.$"),
        ({"blur": 1.1}, r"^degrade\.blur .*between 0 and 1, but is 1\.1\.$"),
        ({"chroma": 1.1}, r"^degrade\.chroma .*between 0 and 1, but is 1\.1\.$"),
        ({"webp": 0.6, "double_jpeg": 0.6}, "come to 1.2"),
    ],
)
def test_contradictions_are_named(field, words):
    with pytest.raises(RecipeError, match=words):
        Degradation(**field)


def test_probabilities_may_come_to_1_but_for_their_rounding():
    shares = {"uncompressed": 0.2, "double_jpeg": 0.4, "resave": 0.3, "webp": 0.1}
    assert sum(shares.values()) > 1
    Degradation(**shares)


@pytest.mark.parametrize(
    "img",
    [
        None,
        np.zeros(4, np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_only_uint8_rgb_is_taken(img):
    for change in (
        lambda: degrade.mod_crop(img, 2),
        lambda: degrade.jpeg(img, 40),
        lambda: degrade.double_jpeg(img, 40, 40),
        lambda: degrade.resave(img, 0.5, 40, 40),
        lambda: degrade.webp(img, 40),
        lambda: degrade.bicubic_down(img, 4),
        lambda: degrade.blur(img, 1.0),
    ):
        with pytest.raises(ImageError, match="uint8 RGB"):
            change()


@pytest.mark.parametrize("quality", [-1, 0, 101, 500, 39.5, None, "40"])
def test_only_the_qualities_of_jpeg_are_taken(photo, quality):
    with pytest.raises(OptionError, match=f"from 1 to 100, but got {quality!r}"):
        degrade.jpeg(photo, quality)


@pytest.mark.parametrize("quality", [1, 100, np.int64(40)])
def test_all_qualities_of_jpeg_are_taken(photo, quality):
    assert degrade.jpeg(photo, quality).shape == photo.shape


@pytest.mark.parametrize("quality", [-1, 101, 39.5, None])
def test_only_the_qualities_of_webp_are_taken(photo, quality):
    with pytest.raises(OptionError, match=f"from 0 to 100, but got {quality!r}"):
        degrade.webp(photo, quality)


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf")])
def test_a_blur_that_there_cannot_be_is_named(photo, sigma):
    with pytest.raises(OptionError, match=f"by 0 px or more, but got {sigma!r}"):
        degrade.blur(photo, sigma)


@pytest.mark.parametrize("scale", [0, -2, float("nan")])
def test_a_scale_that_reduces_to_nothing_is_named(photo, scale):
    for change in (degrade.bicubic_down, degrade.reduce, partial(degrade.reduce, kernel="box")):
        with pytest.raises(OptionError, match="scale above 0"):
            change(photo, scale)


@pytest.mark.parametrize("multiple", [0, -4])
def test_a_multiple_that_no_side_has_is_named(photo, multiple):
    with pytest.raises(OptionError, match="multiples of 1 or more"):
        degrade.mod_crop(photo, multiple)


@pytest.mark.parametrize("shift", [(-1, 0), (0, -1)])
def test_a_shift_the_other_way_is_named(photo, shift):
    with pytest.raises(OptionError, match="0 px or more"):
        degrade.double_jpeg(photo, 20, 80, shift=shift)
