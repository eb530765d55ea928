"""EnhancerModule gives what an Enhancer gives, differentiably, in any precision."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sample_pictures import smooth

from preproc import Enhancer, EnhancerModule
from preproc.errors import ImageError


@pytest.mark.parametrize("model", ["tiny", "tiny-even"])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_the_module_is_differentiable_and_keeps_its_size(tiny_weights, model, to_input_size):
    module = EnhancerModule(model, weights=tiny_weights, to_input_size=to_input_size)
    x = torch.rand(2, 3, 5, 9, requires_grad=True)
    y = module(x)
    assert y.shape == (2, 3, 5 * module.scale, 9 * module.scale)
    y.sum().backward()
    assert (x.grad != 0).all()
    assert all(p.grad is not None for p in module.parameters())


def under_autocast(module, x):
    with torch.autocast("cpu", torch.bfloat16):
        return module(x)


@pytest.mark.parametrize("to_input_size", [False, True])
@pytest.mark.parametrize(
    ("use", "difference"),
    [
        (under_autocast, 0.03),
        (lambda module, x: module.bfloat16()(x.bfloat16()), 0.03),
        (lambda module, x: module.half()(x.half()), 0.005),
        (lambda module, x: module.double()(x.double()), 1e-5),
        (lambda module, x: copy.deepcopy(module)(x), 0),
        (lambda module, x: pickle.loads(pickle.dumps(module))(x), 0),
        (lambda module, x: torch.export.export(module, (x,)).module()(x), 1e-5),
    ],
    ids=["autocast", "bfloat16", "half", "double", "copied", "pickled", "exported"],
)
def test_however_the_module_is_run_it_gives_the_same(use, difference, to_input_size):
    module, x = EnhancerModule(to_input_size=to_input_size), torch.rand(1, 3, 7, 9)
    expected = module(x)
    out = use(module, x)
    torch.testing.assert_close(out.float(), expected, atol=difference, rtol=0)


@pytest.mark.parametrize("model", ["cajnn-light", "cisrnet-light"])
@pytest.mark.parametrize("to_input_size", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_next_layer_gets_the_dtype_that_came_in(model, to_input_size, dtype):
    module, x = EnhancerModule(model, to_input_size=to_input_size), torch.rand(1, 3, 4, 5)
    layers = torch.nn.Sequential(module, torch.nn.Conv2d(3, 2, 3)).to(dtype)
    assert layers(x.to(dtype)).isfinite().all()
    assert module(x).dtype == torch.float32, "whatever the parameters are"


@pytest.mark.parametrize("model", ["cajnn-light", "cisrnet-light"])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_gradients_are_exact_in_double_precision(model, to_input_size):
    torch.manual_seed(0)
    module = EnhancerModule(model, scale=4, to_input_size=to_input_size).double()
    x = torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,), fast_mode=True)


@pytest.mark.parametrize("model", ["cajnn-light", "cisrnet-light"])
def test_the_modules_derivatives_are_taken_forwards_too_and_over_batches(model):
    module = EnhancerModule(model).double().requires_grad_(requires_grad=False)
    x = torch.rand(2, 1, 3, 4, 5, dtype=torch.float64)
    out, moved = torch.func.jvp(module, (x[0],), (x[1],))
    ahead, behind = (module(x[0] + side * x[1]) for side in (1e-6, -1e-6))
    torch.testing.assert_close(moved, (ahead - behind) / 2e-6, atol=1e-6, rtol=0)
    each = torch.stack([out, module(x[1])])
    torch.testing.assert_close(torch.func.vmap(module)(x), each)


# The tables by which results are returned to the input's size are made for one height and width.
@pytest.mark.parametrize(("to_input_size", "axes"), [(False, (0, 2, 3)), (True, (0,))])
def test_what_is_exported_may_take_batches_of_any_size(to_input_size, axes):
    module = EnhancerModule(to_input_size=to_input_size).requires_grad_(requires_grad=False)
    free = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    exported = torch.export.export(module, (torch.rand(2, 3, 16, 20),), dynamic_shapes=(free,))
    x = torch.rand(3, 3, 16, 20) if to_input_size else torch.rand(3, 3, 18, 25)
    torch.testing.assert_close(exported.module()(x), module(x), atol=1e-5, rtol=0)


def test_a_frozen_module_lets_gradients_through(tiny_weights):
    module = EnhancerModule("tiny", weights=tiny_weights).requires_grad_(requires_grad=False)
    x = torch.rand(1, 3, 5, 9, requires_grad=True)
    module(x).sum().backward()
    assert (x.grad != 0).all()
    assert all(p.grad is None for p in module.parameters())


def test_the_module_gives_what_the_enhancer_gives(make, tiny_weights, rng):
    x = torch.from_numpy(smooth(rng, 24, 32)).permute(2, 0, 1)
    x = (x - x.min()) / (x.max() - x.min())  # whose result reaches beyond black and white
    with torch.no_grad():
        y = EnhancerModule("tiny", weights=tiny_weights)(x[None])[0]
    assert y.min() < 0
    assert y.max() > 1
    torch.testing.assert_close(make()(x), y.clamp(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("model", ["tiny", "tiny-even"])
@pytest.mark.parametrize("to_input_size", [False, True])
def test_the_module_gives_it_at_any_size_and_returned_too(tiny_weights, rng, model, to_input_size):
    options = {"weights": tiny_weights, "to_input_size": to_input_size}
    x = torch.from_numpy(smooth(rng, 23, 31)).permute(2, 0, 1) * 0.2 + 0.4
    with torch.no_grad():
        y = EnhancerModule(model, **options)(x[None])[0]
    expected = Enhancer(model, device="cpu", dtype="float32", **options)(x)
    torch.testing.assert_close(expected, y, atol=1e-5, rtol=0)


def test_the_module_has_the_scale_that_was_asked_for():
    module = EnhancerModule("cisrnet-light-coarse", scale=3)
    assert module.scale == module.descriptor.scale == 3
    assert module(torch.rand(1, 3, 4, 5)).shape == (1, 3, 12, 15)


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(3, 5, 5),
        torch.zeros(1, 3, 5, 5, dtype=torch.uint8),
        torch.zeros(1, 4, 5, 5),
        torch.zeros(0, 3, 5, 5),
        torch.zeros(1, 3, 0, 5),
        np.zeros((1, 3, 5, 5), np.float32),
        [torch.zeros(3, 5, 5)],
    ],
    ids=lambda bad: f"{type(bad).__name__} {getattr(bad, 'dtype', '')} {np.shape(bad)}",
)
def test_the_module_refuses_what_is_no_batch_of_floats(tiny_weights, bad):
    with pytest.raises(ImageError, match=r"takes a float tensor \(N, 3, H, W\)"):
        EnhancerModule("tiny", weights=tiny_weights)(bad)
