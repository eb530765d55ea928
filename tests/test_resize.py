"""The bicubic everything is reduced, returned and compared with is MATLAB's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from preproc import resize
from preproc.errors import ImageError, OptionError
from preproc.resize import imresize


def ramp(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)


def keys(d: float) -> float:
    """The cubic of Keys (1981) with a = -1/2, written out."""
    d = abs(d)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def by_the_book(line: list[float], scale: float) -> list[float]:
    """One axis, tap by tap, 1-based coordinates and mirrored edges as in MATLAB's documentation."""
    n, out = len(line), -(-len(line) * scale // 1)
    shrink = min(scale, 1.0)
    result = []
    for x in range(1, int(out) + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        total = norm = 0.0
        for i in range(-40, n + 41):
            mirrored = (i - 1) % (2 * n)
            value = line[mirrored if mirrored < n else 2 * n - 1 - mirrored]
            total += keys((u - i) * shrink) * value
            norm += keys((u - i) * shrink)
        result.append(total / norm)
    return result


def test_doubling_an_impulse_gives_the_cubic_s_own_values():
    line = torch.tensor([[0.0, 0, 0, 1, 0, 0, 0]])
    doubled = imresize(line, scale=(1.0, 2.0))[0]
    # Half-px centres lie 1/4, 3/4, 5/4 and 7/4 px away from the impulse.
    expected = [-0.0234375, -0.0703125, 0.2265625, 0.8671875]
    assert doubled[3:7].tolist() == expected
    assert doubled[7:11].tolist() == expected[::-1]


def test_quartering_uses_the_kernel_widened_four_times():
    line = torch.zeros(1, 32, dtype=torch.float64)
    line[0, 16] = 1
    quarter = imresize(line, scale=(1.0, 0.25))[0]
    # Output px i looks from 4i + 1.5; weights are cubic(distance / 4) / 4.
    expected = [keys((16 - (4 * i + 1.5)) / 4) / 4 for i in range(8)]
    assert quarter.tolist() == pytest.approx(expected, abs=1e-15)
    assert quarter[4] == pytest.approx(0.181884765625, abs=1e-15)


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 0.7, 0.95, 1.5, 2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 5, 13])
def test_every_scale_agrees_with_the_definition(scale, length):
    line = (ramp(length) * 37 % 11 + 1).tolist()
    ours = imresize(torch.tensor([line], dtype=torch.float64), (1.0, scale))
    assert ours[0].tolist() == pytest.approx(by_the_book(line, scale), abs=1e-12)


@pytest.mark.parametrize("scale", [0.25, 0.3, 0.999, 3.0])
def test_long_axes_agree_with_the_definition_too(scale):
    # Long axes are computed in blocks, of which this one has several.
    line = (ramp(300) * 37 % 101).tolist()
    ours = imresize(torch.tensor([line], dtype=torch.float64).T, (scale, 1.0))[:, 0]
    assert ours.tolist() == pytest.approx(by_the_book(line, scale), abs=1e-11)


@pytest.mark.parametrize("scale", [0.1, 0.25, 4.0])
def test_a_constant_image_stays_constant(scale):
    assert imresize(torch.full((2, 9, 7), 0.3), scale) == pytest.approx(0.3, abs=1e-6)


def test_both_axes_are_resized_and_leading_axes_kept():
    x = torch.rand(2, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    whole = imresize(x, 0.5)
    assert whole.shape == (2, 3, 6, 4)
    one_by_one = imresize(imresize(x[1, 2], (1.0, 0.5)), (0.5, 1.0))
    assert torch.allclose(whole[1, 2], one_by_one)
    assert torch.allclose(imresize(x.mT, 0.5).mT, whole)


def test_output_sizes_round_up_unless_a_size_is_given():
    x = torch.zeros(100, 9)
    assert imresize(x, 0.25).shape == (25, 3)
    assert imresize(x, 1.1).shape == (110, 10)  # 100 * 1.1 is above 110 in binary
    assert imresize(x, size=(7, 20)).shape == (7, 20)
    assert torch.allclose(imresize(ramp(8, 8), size=(2, 2)), imresize(ramp(8, 8), 0.25))


def test_the_same_size_is_the_same_image():
    x = ramp(5, 4)
    assert imresize(x, size=(5, 4)) is x


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_half_precision_computed_in_float32(dtype):
    x = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    y = imresize(x, 0.25)
    assert y.dtype == dtype
    assert torch.equal(y, imresize(x.double(), 0.25).to(dtype)) or dtype == torch.float32


def test_autocast_does_not_lower_the_precision():
    x = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = imresize(x, 0.25)
    assert torch.equal(inside, imresize(x, 0.25))


def test_the_meta_device_tells_the_size_of_the_result():
    result = imresize(torch.empty(3, 10, 8, device="meta"), 0.25)
    assert (result.device.type, result.shape) == ("meta", (3, 3, 2))


@pytest.mark.parametrize(("extent", "out"), [(6000, 24000), (24000, 6000)])
def test_what_is_kept_for_a_large_picture_is_a_few_tables(extent, out):
    axis = resize._Axis(extent, out, out / extent)
    blocks = resize._made_blocks(axis, torch.float32, torch.device("cpu"))
    assert len({matrix.data_ptr() for _, matrix in blocks}) == 3, "at both ends and between them"


def test_gradients_flow_even_after_use_in_inference_mode():
    x = torch.rand(1, 6, 11, dtype=torch.float64)
    with torch.inference_mode():
        imresize(x, 0.5)  # makes the tables of these sizes
    leaf = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: imresize(t, 0.5), leaf)


class Halved(torch.nn.Module):
    def forward(self, x):
        return imresize(x, size=(x.shape[-2] // 2, x.shape[-1] // 2))


def test_it_is_exported_before_its_first_run_and_runs_afterwards():
    resize._kept_blocks.cache_clear()
    x = torch.rand(1, 20, 150)
    exported = torch.export.export(Halved(), (x,)).module()
    assert torch.equal(exported(x), Halved()(x))


def test_it_is_compiled_without_breaks_for_one_size_after_another():
    compiled = torch.compile(Halved(), backend="eager", fullgraph=True)
    for side in (23, 25, 27):
        x = torch.rand(1, side, 150)
        assert torch.equal(compiled(x), Halved()(x))


@pytest.mark.parametrize(
    ("x", "kwargs", "error", "words"),
    [
        (torch.zeros(3, 3, dtype=torch.uint8), {"scale": 2}, ImageError, "uint8"),
        (torch.zeros(3, 0), {"scale": 2}, ImageError, "at least one px"),
        (torch.zeros(3), {"scale": 2}, ImageError, "shape"),
        (torch.zeros(3, 3), {}, OptionError, "exactly one"),
        (torch.zeros(3, 3), {"scale": 2, "size": (6, 6)}, OptionError, "exactly one"),
        (torch.zeros(3, 3), {"scale": 0}, OptionError, "positive scale"),
        (torch.zeros(3, 3), {"scale": float("nan")}, OptionError, "positive scale"),
        (torch.zeros(3, 3), {"scale": float("inf")}, OptionError, "positive scale"),
        (torch.zeros(3, 3), {"scale": 1e-10}, OptionError, "positive scale"),
        (torch.zeros(3, 3), {"scale": 1e10}, OptionError, "positive scale"),
        (torch.zeros(3, 3), {"scale": "2"}, OptionError, "positive scale"),
        (torch.zeros(3, 3), {"scale": (2.0,)}, OptionError, "positive scale"),
        (torch.zeros(3, 3), {"size": (0, 3)}, OptionError, "0x3 px"),
        (torch.zeros(3, 3), {"size": 3}, OptionError, "whole px"),
        (torch.zeros(3, 3), {"size": (3.5, 2)}, OptionError, "whole px"),
        (torch.zeros(3, 3), {"size": (3, 2, 1)}, OptionError, "whole px"),
        (np.zeros((3, 3)), {"scale": 2}, ImageError, "ndarray"),
    ],
)
def test_what_cannot_be_resized_is_named(x, kwargs, error, words):
    with pytest.raises(error, match=words):
        imresize(x, **kwargs)
