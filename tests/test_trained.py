"""What the shipped weights promise, on a photograph that comes with scikit-image."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from conftest import tiled_difference

from preproc import Enhancer
from preproc.degrade import bicubic_down, bicubic_up, jpeg
from preproc.manifest import entries, read_card
from preproc.metrics import psnr
from preproc.networks import Tiling, find
from preproc.weights import load_state

data = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")

SHIPPED = [pytest.param(entry, id=str(entry)) for entry in entries().values()]
LOCAL, POOLING = (
    [
        pytest.param(entry, id=str(entry))
        for entry in entries().values()
        if find(entry.model, entry.scale).tiling is tiling
    ]
    for tiling in (Tiling.TILES, Tiling.WHOLE)
)
MEASURED = [
    pytest.param(entry, int(quality), id=f"{entry}-{quality}")
    for entry in entries().values()
    for quality in entry.results["Set5"]
]


def photograph(entry):
    """Uint8 (S, S, 3): of NASA's portrait of Eileen Collins, the face alone where px are dear."""
    costly = find(entry.model, entry.scale).macs_per_pixel > 16e6
    area = np.s_[48:144, 176:272] if costly else np.s_[:252, 96:348]
    return np.ascontiguousarray(data.astronaut()[area])


def of(entry, **options):
    return Enhancer(entry.model, scale=entry.scale, device="cpu", **options)


@pytest.mark.parametrize("entry", SHIPPED)
def test_weights_fit_and_have_a_card_with_their_results(entry):
    state = load_state(find(entry.model, entry.scale))
    assert sum(value.numel() for value in state.values()) == entry.parameters
    card = read_card(entry)
    assert entry.licence in card
    printed = {float(number) for number in re.findall(r"\d+\.\d\d\b", card)}
    for qualities in entry.results.values():
        for measured in qualities.values():
            assert min(abs(measured["psnr"] - number) for number in printed) < 0.0056


@pytest.mark.parametrize(("entry", "quality"), MEASURED)
def test_a_compressed_photograph_comes_out_better_than_bicubic(entry, quality):
    reference = photograph(entry)
    low = jpeg(bicubic_down(reference, entry.scale), quality)
    plain = psnr(bicubic_up(low, entry.scale), reference)
    gain = 0.1 if entry.model == "cajnn-ocr" else 0.2  # that one is for words, and this is a face
    assert psnr(of(entry)(low), reference) > plain + gain


@pytest.mark.parametrize("entry", LOCAL)
def test_tiles_do_not_show(entry):
    low = jpeg(bicubic_down(data.astronaut()[:256], 4), 20).astype(np.float32) / 255

    def make(**options):
        return of(entry, dtype="float32", **options)

    assert tiled_difference(make, low, tile=96) < 0.05


@pytest.mark.parametrize("entry", POOLING)
def test_layer_by_layer_gives_the_picture_that_the_whole_gives(entry):
    low = jpeg(bicubic_down(photograph(entry), entry.scale), 20)
    layers, whole = (
        of(entry, layerwise=w, dtype="float32")(low).astype(int) for w in (True, False)
    )
    assert np.abs(layers - whole).max() <= 1
    assert (layers != whole).mean() < 0.001


@pytest.mark.parametrize("entry", SHIPPED)
def test_the_form_for_inference_is_within_a_level_of_the_network_as_it_was_trained(entry):
    low = jpeg(bicubic_down(photograph(entry), entry.scale), 20)
    both = (of(entry, dtype="float32", fast=fast, strips=fast) for fast in (True, False))
    fast, plain = (enhance(low).astype(int) for enhance in both)
    assert np.abs(fast - plain).max() <= 1
    assert (fast != plain).mean() < 0.001


@pytest.mark.parametrize("entry", SHIPPED)
@pytest.mark.parametrize("level", [0, 255])
def test_black_stays_black_and_white_white(entry, level):
    """Exactly, but for a level at the border, and in bfloat16 one without a skip around it all."""
    flat = np.full((32, 32, 3), level, np.uint8)
    residual = find(entry.model, entry.scale).tiling is Tiling.TILES
    for dtype in (torch.float32, torch.bfloat16):
        off = np.abs(of(entry, dtype=dtype)(flat).astype(int) - level)
        assert off.max() <= 1
        if residual or dtype is torch.float32:
            assert off[16:-16, 16:-16].max() == 0
        assert off.mean() < 0.25


@pytest.mark.parametrize("entry", SHIPPED)
def test_white_beside_colours_stays_white(entry, rng):
    """But for a level, and for three without a skip around it all, as the README says."""
    half_white = np.full((32, 48, 3), 255, np.uint8)
    half_white[:, 32:] = rng.integers(0, 256, (8, 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    residual = find(entry.model, entry.scale).tiling is Tiling.TILES
    for dtype in (torch.float32, torch.bfloat16):
        white = of(entry, dtype=dtype)(half_white)[:, : 16 * entry.scale]
        assert white.min() >= (254 if residual else 252)


@pytest.mark.parametrize("entry", SHIPPED)
def test_colours_do_not_shift(entry):
    """By three levels at most, in the mean of a channel over a photograph."""
    low = jpeg(bicubic_down(photograph(entry), entry.scale), 20)
    shift = of(entry)(low).mean((0, 1)) - low.mean((0, 1))
    assert np.abs(shift).max() < 3


@pytest.mark.parametrize("entry", SHIPPED)
def test_bfloat16_is_near_to_float32(entry):
    low = jpeg(bicubic_down(photograph(entry), entry.scale), 20)
    exact, short = (
        of(entry, dtype=dtype)(low).astype(int) for dtype in (torch.float32, torch.bfloat16)
    )
    # CISRNet has no skip around it: what is rounded to 8 bits in its trunk is the picture itself.
    residual = find(entry.model, entry.scale).tiling is Tiling.TILES
    most, mean = (2, 0.15) if residual else (3, 0.5)
    assert np.abs(exact - short).max() <= most
    assert np.abs(exact - short).mean() < mean
