from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from preproc.errors import ModelError
from preproc.networks import find
from preproc.networks.cajnn import CAJNN, UpConv
from preproc.networks.context import NonLocal, SequentialAtrous
from preproc.networks.counts import count_macs, count_parameters


def tiny(**options):
    torch.manual_seed(0)
    return CAJNN(**{"features": 8, "growth": 4, "blocks": 1, **options})


def built(**options):
    with torch.device("meta"):
        return CAJNN(**options)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 14_847_491),
        ({"tail": "literal"}, 14_541_272),
        ({"upsampling": "upconvolution"}, 14_625_923),
        # Table IV's base: neither pyramid (123,136) nor sub-pixel convolutions.
        ({"upsampling": "upconvolution", "context": "none", "long_skip": False}, 14_502_787),
        ({"context": "sequential"}, 14_847_491 - 12_352),
        ({"context": "nonlocal"}, 14_847_491 - 123_136 + 3 * (64 * 32 + 32) + 32 * 64 + 64),
    ],
)
def test_parameters_are_the_papers(options, parameters):
    assert count_parameters(built(**options)) == parameters


def test_cost_per_pixel_is_the_papers():
    assert count_macs(built()) == pytest.approx(15.856e6, rel=1e-4)
    light = find("cajnn-light")
    assert light.macs_per_pixel < find("cajnn").macs_per_pixel / 14


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tail", ["msr", "literal"])
@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_output_is_scale_times_the_input(scale, tail, size):
    with torch.no_grad():
        out = tiny(scale=scale, tail=tail)(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, scale * size[0], scale * size[1])
    assert out.dtype == torch.float32


def reference(state, x, scale, tail):
    """The small net by its definition: functions of a state dict, written from the paper."""

    def conv(key, x, dilation=1):
        weight = state[f"{key}.weight"]
        padding = dilation * (weight.shape[2] // 2)
        return F.conv2d(x, weight, state[f"{key}.bias"], padding=padding, dilation=dilation)

    def dense(key, x):
        stack = x
        for layer in range(4):
            stack = torch.cat((stack, F.leaky_relu(conv(f"{key}.convs.{layer}", stack), 0.2)), 1)
        return x + 0.2 * conv(f"{key}.convs.4", stack)

    first = F.leaky_relu(conv("conv_first", x), 0.1)
    branches = [conv(f"context.branches.{i}", first, d) for i, d in enumerate((1, 3, 4))]
    h = conv("context.fuse", torch.cat(branches, 1))
    for block in range(2):
        inside = h
        for number in range(3):
            inside = dense(f"trunk.{block}.dense.{number}", inside)
        h = h + 0.2 * inside
    for step, factor in enumerate([2, 2] if scale == 4 and tail == "msr" else [scale]):
        h = F.leaky_relu(F.pixel_shuffle(conv(f"upsampler.{step}.conv", h), factor), 0.1)
    residual = conv("conv_last", F.leaky_relu(conv("conv_hr", h), 0.1))
    return residual + F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tail", ["msr", "literal"])
def test_the_network_computes_what_the_paper_defines(scale, tail):
    network = tiny(blocks=2, scale=scale, tail=tail).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.rand(2, 3, 11, 10, dtype=torch.float64)
    with torch.inference_mode():
        wanted = reference(network.state_dict(), x, scale, tail)
        torch.testing.assert_close(network(x).double(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("context", ["aspp", "nonlocal", "sequential", "none"])
@pytest.mark.parametrize("upsampling", ["pixelshuffle", "upconvolution"])
def test_without_residual_it_is_bilinear(context, upsampling):
    network = tiny(context=context, upsampling=upsampling)
    torch.nn.init.zeros_(network.conv_last.weight)
    x = torch.rand(1, 3, 6, 7)
    expected = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(x), expected)


def test_without_long_skip_only_the_residual_is_left():
    network = tiny(long_skip=False)
    torch.nn.init.zeros_(network.conv_last.weight)
    assert network(torch.rand(1, 3, 6, 7)).abs().max() == 0


def test_gradients_reach_as_far_as_the_papers_layers_do():
    network = tiny().double()
    # The first convolution 1, the widest atrous branch 4, 15 in a block, the tail 2.
    reach = 22
    side = 2 * reach + 9
    x = torch.rand(1, 3, side, side, dtype=torch.double, requires_grad=True)
    centre = side // 2
    for row in range(4):  # whichever of the four HR rows of the px reaches farthest
        network(x)[0, :, 4 * centre + row, 4 * centre].sum().backward()
    touched = x.grad.abs().amax((0, 1, 3)).nonzero().flatten()
    # The network's last layer rounds to float32, but a gradient of zero stays zero.
    assert centre - touched.min() == reach or touched.max() - centre == reach
    assert centre - touched.min() <= reach
    assert touched.max() - centre <= reach


def conv(layer, x, dilation=1):
    padding = dilation * (layer.weight.shape[2] // 2)
    return F.conv2d(x, layer.weight, layer.bias, padding=padding, dilation=dilation)


def test_the_layers_of_the_ablations_compute_what_table_iv_calls_them():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 7, 6)
    sequential, upconv, non_local = SequentialAtrous(4), UpConv(4, 2, slope=0.1), NonLocal(4)
    wanted = x
    for layer, dilation in zip(sequential, (1, 3, 4), strict=True):
        wanted = conv(layer, wanted, dilation)
    torch.testing.assert_close(sequential(x), wanted)
    larger = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(upconv(x), F.leaky_relu(conv(upconv.conv, larger), 0.1))
    query, key, value = (
        conv(layer, x).flatten(2) for layer in (non_local.query, non_local.key, non_local.value)
    )
    alike = (query.mT @ key).softmax(2)  # of each px with all, without a temperature
    mixed = (value @ alike.mT).unflatten(2, (7, 6))
    torch.testing.assert_close(non_local(x), x + conv(non_local.fuse, mixed))


def test_training_starts_with_small_residuals_and_every_other_layer_at_full_size():
    torch.manual_seed(0)
    network = CAJNN(blocks=1)
    spreads = {
        "conv_first": 2**0.5,
        "context.branches.2": 1,
        "context.fuse": 1,
        "trunk.0.dense.2.convs.0": 0.1 * 2**0.5,
        "trunk.0.dense.2.convs.4": 0.1 * 2**0.5,
        "upsampler.1.conv": 2**0.5,
        "conv_hr": 2**0.5,
        "conv_last": 0.1,
    }
    for name, spread in spreads.items():
        layer = network.get_submodule(name)
        relative = layer.weight.std() * layer.weight[0].numel() ** 0.5
        assert relative.item() == pytest.approx(spread, rel=0.1), name
        assert not layer.bias.any()


def test_gradient_of_the_first_layer_is_alive_at_the_start():
    torch.manual_seed(0)
    network = CAJNN(blocks=20)
    x = torch.rand(1, 3, 16, 16)
    F.l1_loss(network(x), torch.rand(1, 3, 64, 64)).backward()
    assert network.conv_first.weight.grad.abs().mean() > 1e-5


@pytest.mark.parametrize("cast", [True, False], ids=["cast", "autocast"])
def test_bfloat16_keeps_skip_and_last_layer_exact(cast):
    network = tiny().eval()
    torch.nn.init.zeros_(network.conv_last.weight)
    torch.nn.init.constant_(network.conv_last.bias, 1 / 512)  # half a grey level
    x = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        exact = network(x)
        if cast:
            network.bfloat16()
            network.conv_last.float()
        with torch.autocast("cpu", torch.bfloat16, enabled=not cast):
            mixed = network(x)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"scale": 5}, "scales"),
        ({"scale": 5, "tail": "literal"}, "scales"),
        ({"context": "attention"}, "context"),
        ({"upsampling": "bicubic"}, "upsampling"),
        ({"tail": "long"}, "tail"),
        ({"tail": "literal", "upsampling": "upconvolution"}, "PixelShuffle"),
        ({"features": 0}, "feature"),
    ],
)
def test_wrong_options_are_named(options, word):
    with pytest.raises(ModelError, match=word):
        CAJNN(**{"features": 8, "growth": 4, "blocks": 1, **options})
