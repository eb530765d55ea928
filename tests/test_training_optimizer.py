"""The steps of Adam and Muon, and the average of the weights they lead to."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from small_training import recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

import lightning.pytorch as pl
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

from preproc.training.averaging import Average, warm_average
from preproc.training.optimizer import KernelMuon, make_optimizer
from preproc.training.recipe import Optimizer
from preproc.training.stages.folder import CHECKPOINT


def stepped(network, steps=1):
    """The network after steps down a fixed slope, and its optimizer."""
    optimizer = KernelMuon(network.parameters(), lr=0.5)
    optimizer.param_groups[0]["lr"] = 0.01  # as a schedule sets it
    for step in range(steps):
        torch.manual_seed(step)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape)  # whatever the parameter's format
        optimizer.step()
    return network, optimizer


def small_convolutions():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 6, 3))


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_a_recipes_betas_and_epsilon_reach_adam(kind):
    """Biases are Adam's in either."""
    ours, theirs = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    settings = Optimizer(kind=kind, lr=0.1, betas=(0.5, 0.6), eps=0.1)
    pairs = [
        (make_optimizer(settings, [ours]), ours),
        (torch.optim.Adam([theirs], lr=0.1, betas=(0.5, 0.6), eps=0.1), theirs),
    ]
    for step in range(3):
        for optimizer, parameter in pairs:
            parameter.grad = torch.arange(4.0) - step
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_muon_leaves_kernels_without_a_gradient_as_they_are():
    frozen, trained = (torch.nn.Parameter(torch.randn(8, 8, 3, 3)) for _ in range(2))
    before = [frozen.detach().clone(), trained.detach().clone()]
    trained.grad = torch.randn(trained.shape)
    KernelMuon([frozen, trained], lr=0.01).step()
    assert torch.equal(frozen, before[0])
    assert not torch.equal(trained, before[1])


def test_muon_steps_are_orthogonal_and_of_adams_size():
    network = small_convolutions()
    before = [p.detach().clone() for p in network.parameters()]
    stepped(network)
    pixels, bias, kernel, _ = (
        a.detach() - b for a, b in zip(network.parameters(), before, strict=True)
    )
    # Adam's first step is the rate, whatever the gradient; so kernels at the pixels are Adam's.
    torch.testing.assert_close(pixels.abs(), torch.full_like(pixels, 0.01), rtol=0.01, atol=0)
    torch.testing.assert_close(bias.abs(), torch.full_like(bias, 0.01), rtol=0.01, atol=0)
    # Newton-Schulz leaves singular values between 0.5 and 1.5, times 0.2 * sqrt(max(6, 8 * 9)).
    values = torch.linalg.svdvals(kernel.flatten(1)) / (0.01 * 0.2 * 72**0.5)
    assert ((values > 0.5) & (values < 1.5)).all()


@pytest.mark.parametrize("shape", [(), (8,), (8, 8), (1, 8, 3, 3), (8, 3, 1, 1), (1, 1, 1, 1)])
def test_what_is_no_kernel_between_features_is_adams(shape):
    parameter = torch.nn.Parameter(torch.zeros(shape))
    parameter.grad = torch.randn(shape)
    KernelMuon([parameter], lr=0.01).step()
    torch.testing.assert_close(parameter, -0.01 * parameter.grad.sign(), rtol=0.01, atol=0)


def test_muon_steps_by_the_gradients_of_a_closure():
    parameter = torch.nn.Parameter(torch.ones(8, 8, 1, 1))

    def loss():
        value = parameter.square().sum()
        value.backward()
        return value

    assert KernelMuon([parameter], lr=0.01).step(loss) == 64
    assert parameter.sum() < 64


def test_muon_steps_as_torchs_own_does():
    torch.manual_seed(2)
    shapes = [(6, 8, 3, 3), (6, 8, 3, 3), (8, 6, 1, 1), (6, 8, 3, 3)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().flatten(1).clone()) for p in ours]
    optimizers = [
        KernelMuon(ours, lr=1),
        torch.optim.Muon(theirs, lr=1, weight_decay=0, adjust_lr_fn="match_rms_adamw"),
    ]
    for step in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.flatten(1).clone()
            if step == 1:
                one.grad.zero_()
                other.grad.zero_()
        for optimizer in optimizers:
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.flatten(1), other, rtol=0, atol=0.02)  # of steps of 0.2


def test_muon_takes_kernels_in_either_memory_format():
    plain, _ = stepped(small_convolutions(), 3)
    last, _ = stepped(small_convolutions().to(memory_format=torch.channels_last), 3)
    for a, b in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)  # Newton-Schulz is in bfloat16


def test_muon_goes_on_from_its_state():
    network, optimizer = stepped(small_convolutions(), 2)
    twin = small_convolutions()
    twin.load_state_dict(network.state_dict())
    other = KernelMuon(twin.parameters(), lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.param_groups[0]["lr"] = 0.01
    torch.manual_seed(5)
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        a.grad = torch.randn(a.shape)
        b.grad = a.grad.clone()
    optimizer.step()
    other.step()
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_average_of_a_short_run_forgets_where_it_began():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = AveragedModel(network, multi_avg_fn=warm_average(0.999))
    average.update_parameters(network)  # the first update copies
    torch.nn.init.ones_(network.weight)
    for _ in range(100):
        average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(1, abs=1e-6)  # a plain one: 0.1
    shares = [torch.zeros(1) for _ in range(3)]
    for share, done in zip(shares, (1, 90, 890), strict=True):
        warm_average(0.999)([share], [torch.ones(1)], torch.tensor(done))
    assert torch.cat(shares).tolist() == pytest.approx([9 / 11, 0.09, 0.01])


def test_the_average_of_a_long_run_has_the_decay_it_was_given():
    average, weight = torch.zeros(1), torch.ones(1)
    warm_average(0.75)([average], [weight], torch.tensor(1000))
    assert average.item() == pytest.approx(0.25)
    warm_average(0.75)([average], [weight], 1000)
    assert average.item() == pytest.approx(0.25 + 0.75 * 0.25)


def test_a_measurement_cut_short_or_not_leaves_the_trained_weights_in_their_place():
    trained, trainer = pl.LightningModule(), SimpleNamespace(global_step=1)
    trained.weight = torch.nn.Parameter(torch.zeros(1))
    average = Average(0.5)
    average.setup(trainer, trained, "fit")
    torch.nn.init.ones_(trained.weight)
    average.put_back(trainer, trained)  # before there was a measurement
    assert trained.weight == 1
    average.on_validation_epoch_start(trainer, trained)
    assert trained.weight == 0
    average.on_validation_epoch_end(trainer, trained)
    average.put_back(trainer, trained)
    assert trained.weight == 1
    average.on_validation_epoch_start(trainer, trained)
    for _ in range(2):  # as when Ctrl-C is pressed twice
        average.put_back(trainer, trained)
        assert trained.weight == 1


def test_without_averaging_the_trained_weights_are_what_is_left(data, tmp_path):
    changes = ["ema = 0.0", 'validation.path = ""']
    weights = train(recipe_file(tmp_path), data, tmp_path / "run", *changes)
    saved = torch.load(weights.parent / CHECKPOINT, weights_only=True)
    for name, value in load_file(weights).items():
        torch.testing.assert_close(value, saved["current_model_state"][f"network.{name}"])
