"""PSNR and SSIM mean what the papers mean by them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from preproc.errors import ImageError
from preproc.metrics import CAJNN_PROTOCOL, CISRNET_PROTOCOL, PROTOCOLS, psnr, ssim, y_channel


def grey(value: int, height: int = 16, width: int = 20) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def noise(seed: int = 0, height: int = 24, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_y_of_white_black_and_the_primaries():
    colours = np.array([[[255] * 3, [0] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    expected = [235, 16, 81.481, 144.553, 40.966]  # BT.601 studio range, as MATLAB's rgb2ycbcr
    assert y_channel(colours)[0].tolist() == pytest.approx(expected, abs=1e-10)
    cisrnet = y_channel(colours, CISRNET_PROTOCOL)[0]
    assert cisrnet.tolist() == pytest.approx(
        [219.000234375, 0, 65.4812109375, 128.5528710938, 24.96609375]
    )


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_identical_images_are_infinitely_and_wholly_alike(protocol):
    assert psnr(noise(), noise(), protocol) == math.inf
    assert ssim(noise(), noise(), protocol) == pytest.approx(1, abs=1e-12)


def test_psnr_of_a_known_offset():
    # Ten levels of grey are 10 * 219/255 levels of Y: 20 log10(255 / 8.588235...).
    assert psnr(grey(110), grey(100)) == pytest.approx(29.4527, abs=1e-4)
    weights = (65.738 + 129.057 + 25.064) / 256
    expected = 20 * math.log10(255 / (10 * weights))
    assert psnr(grey(110), grey(100), CISRNET_PROTOCOL) == pytest.approx(expected, abs=1e-9)


def test_y_is_not_rounded():
    assert psnr(grey(101), grey(100)) == pytest.approx(49.4527, abs=1e-4)


def test_ssim_of_flat_images_is_the_luminance_term():
    x, y = 16 + 100 * 219 / 255, 16 + 150 * 219 / 255
    c1 = (0.01 * 255) ** 2
    expected = (2 * x * y + c1) / (x * x + y * y + c1)
    assert ssim(grey(100), grey(150)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_ssim_agrees_with_the_definition_window_by_window(protocol):
    a, b = noise(1), noise(2)
    a[6:, :] = b[6:, :] // 2 + 60  # related, but not alike
    border, half = protocol.border * 2, 5
    x, y = (y_channel(img, protocol)[border:][: 24 - 2 * border] for img in (a, b))
    x, y = (plane[:, border : 30 - border] for plane in (x, y))
    if protocol.window == "symmetric":
        x, y = (np.pad(plane, half, mode="symmetric") for plane in (x, y))
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = 2.55**2, 7.65**2
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append(
                (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    assert 0.3 < np.mean(values) < 0.9
    assert ssim(a, b, protocol, scale=2) == pytest.approx(np.mean(values), abs=1e-12)


def test_ssim_of_an_image_as_large_as_its_window_is_that_window_s():
    assert ssim(noise(1)[:11, :11], noise(1)[:11, :11]) == pytest.approx(1, abs=1e-12)


def test_only_cisrnet_s_protocol_leaves_out_a_border_of_scale_px():
    framed = grey(100)
    framed[:3] = framed[:, :3] = 0
    assert psnr(framed, grey(100), CISRNET_PROTOCOL, scale=3) == math.inf
    assert psnr(framed, grey(100), CISRNET_PROTOCOL, scale=2) < 40
    assert psnr(framed, grey(100), CAJNN_PROTOCOL, scale=3) < 40


@pytest.mark.parametrize(
    ("a", "b", "protocol", "words"),
    [
        (grey(0), grey(0)[:-1], CAJNN_PROTOCOL, "shape"),
        (grey(0), grey(0)[:, :-1], CAJNN_PROTOCOL, "shape"),
        (grey(0) / 255, grey(0) / 255, CAJNN_PROTOCOL, "uint8 RGB"),
        (grey(0)[..., 0], grey(0)[..., 0], CAJNN_PROTOCOL, "uint8 RGB"),
        (grey(0)[:, 0, 0], grey(0)[:, 0, 0], CAJNN_PROTOCOL, "uint8 RGB"),
        (grey(0), Image.fromarray(grey(0)), CAJNN_PROTOCOL, "uint8 RGB .* but got a Image"),
        (grey(0, 10, 30), grey(1, 10, 30), CAJNN_PROTOCOL, "at least 11 px"),
        (grey(0, 8, 30), grey(1, 8, 30), CISRNET_PROTOCOL, "border of 4 px"),
    ],
)
def test_what_cannot_be_compared_is_named(a, b, protocol, words):
    with pytest.raises(ImageError, match=words):
        ssim(a, b, protocol)
    if "11 px" not in words:
        with pytest.raises(ImageError, match=words):
            psnr(a, b, protocol)
