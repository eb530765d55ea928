"""The weights that a training starts from: drawn, of another run, or of a smaller network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_training import NO_CHECKPOINTS, SHAPE, SMALL, recipe_file, train

pytest.importorskip("lightning", reason='training needs the extra "train"')

from safetensors.torch import load_file

from preproc.errors import RecipeError, WeightsError
from preproc.networks.cajnn import CAJNN
from preproc.networks.cisrnet import CISRNet
from preproc.training.checks import require_sound
from preproc.training.initial_weights.load import load_into
from preproc.training.initial_weights.nearest import start_nearest
from preproc.training.initial_weights.network import make_network
from preproc.training.recipe import Stage
from preproc.training.recipe_file import load_recipe
from preproc.training.stages.folder import CHECKPOINT
from preproc.weights import save_state


def test_weights_are_drawn_by_the_seed_of_the_recipe():
    one, again, other = (make_network(Stage("cajnn", network=SHAPE, seed=n), "") for n in (1, 1, 2))
    assert torch.equal(one.conv_first.weight, again.conv_first.weight)
    assert not torch.equal(one.conv_first.weight, other.conv_first.weight)


def test_initial_weights_may_be_those_in_a_checkpoint(tmp_path):
    stage = Stage("cajnn-light", network=SHAPE)
    trained = make_network(replace(stage, seed=2), "")
    saved = {f"network.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"state_dict": {**saved, "lr_head.weight": torch.ones(1)}}, tmp_path / CHECKPOINT)
    network = make_network(stage, str(tmp_path / CHECKPOINT))
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])


def test_initial_weights_may_lie_in_the_home_folder(data, tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    start = tmp_path / "start.safetensors"
    network = make_network(Stage("cajnn-light", network=SHAPE), "")
    save_state(start, network.state_dict(), dtype=torch.float32)
    recipe = recipe_file(tmp_path, f'init_from = "~/{start.name}"\n{SMALL}')
    train(recipe, data, tmp_path / "run", "schedule.length = 1")
    train(recipe, data, tmp_path / "run", resume=True, init_from=start)


@pytest.mark.parametrize("content", NO_CHECKPOINTS, ids=str)
@pytest.mark.parametrize("name", ["absent.safetensors", "bad.safetensors", "bad.ckpt"])
def test_unreadable_initial_weights_are_a_sentence(name, content, tmp_path):
    for bad in ("bad.safetensors", "bad.ckpt"):
        (tmp_path / bad).write_bytes(content)
    (stage,) = load_recipe(recipe_file(tmp_path))
    with pytest.raises(WeightsError, match=f"{name} cannot be read .*; give a safetensors file"):
        make_network(stage, str(tmp_path / name))


@pytest.mark.parametrize("content", [{"model": 1}, {"state_dict": [1]}, [1]], ids=str)
def test_what_others_saved_as_a_checkpoint_is_a_sentence(content, tmp_path):
    torch.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(WeightsError, match=r"last\.ckpt cannot be read \(it (has|holds)"):
        make_network(Stage("cajnn-light", network=SHAPE), str(tmp_path / CHECKPOINT))


@pytest.mark.parametrize("context", ["aspp", "none"])
@pytest.mark.parametrize(
    ("blocks", "shape"),
    [
        (1, (8, 4, 1)),
        (1, (8, 4, 3)),  # where every key of the small one fits the large one as it is
        (1, (12, 6, 2)),
        (2, (8, 4, 5)),
        (2, (12, 4, 2)),
        (2, (12, 6, 4)),
    ],
    ids=str,
)
def test_initial_weights_compute_the_same_whatever_they_are_loaded_into(blocks, shape, context):
    torch.manual_seed(0)
    small = CAJNN(4, 8, 4, blocks, context=context)
    for parameter in small.parameters():  # biases and the last layer too
        torch.nn.init.normal_(parameter, std=0.1)
    large = CAJNN(4, *shape, context=context)
    load_into(large, small.state_dict())
    x = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(large(x), small(x), rtol=1e-4, atol=1e-4)


def test_new_blocks_are_spread_among_the_old_ones():
    torch.manual_seed(0)
    large = CAJNN(4, 8, 4, 5)
    load_into(large, CAJNN(4, 8, 4, 2).state_dict())
    x = torch.rand(1, 8, 6, 6)
    is_old = [not torch.allclose(block(x), x, atol=1e-5) for block in large.trunk]
    assert is_old == [False, True, False, False, True]


def test_a_grown_network_trains_everywhere():
    torch.manual_seed(0)
    small, large = CAJNN(4, 8, 4, 1), CAJNN(4, 12, 6, 3)
    load_into(large, small.state_dict())
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    for _ in range(3):  # the zeros between old and new have to move first
        optimizer.zero_grad()
        F.l1_loss(large(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32)).backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in large.parameters())


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("conv_first.weight", (8, 1, 3, 3)),
        ("conv_first.weight", (8, 3, 5, 5)),
        ("conv_hr.weight", (8, 8, 1, 1)),
        ("conv_last.weight", (1, 8, 3, 3)),
        ("trunk.0.dense.0.convs.0.weight", (0, 8, 3, 3)),
    ],
)
def test_weights_of_other_shapes_are_refused(key, shape):
    state = CAJNN(2, 8, 4, 1).state_dict()
    for network in (CAJNN(2, 8, 4, 1), CAJNN(2, 16, 8, 2)):
        with pytest.raises(RecipeError, match=r"do not fit|does not grow"):
            load_into(network, state | {key: torch.zeros(shape)})


def test_weights_of_another_scale_or_upsampling_of_cajnn_are_refused():
    small = CAJNN(2, 8, 4, 1).state_dict()
    others = [CAJNN(3, 12, 4, 1), CAJNN(4, 8, 4, 1), CAJNN(2, 32, 4, 1, upsampling="upconvolution")]
    for network in others:
        with pytest.raises(RecipeError, match="do not fit"):
            load_into(network, small)


def test_weights_of_another_kind_are_refused():
    with pytest.raises(RecipeError, match="do not fit"):
        load_into(CAJNN(4, 8, 4, 1), {"foreign": torch.zeros(1)})
    with pytest.raises(RecipeError, match="grow"):
        load_into(CAJNN(4, 8, 4, 2), CAJNN(4, 8, 4, 3).state_dict())


def test_weights_with_a_hole_are_refused_but_a_coarse_half_is_taken():
    whole = CISRNet(2, 8, 2, 1, coarse_groups=1, fine_groups=1)
    coarse = CISRNet(2, 8, 2, 1, coarse_groups=1, coarse_only=True).state_dict()
    load_into(whole, coarse)
    key = "coarse.groups.0.conv.bias"
    torch.testing.assert_close(whole.state_dict()[key], coarse.pop(key))
    with pytest.raises(RecipeError, match=key):
        load_into(whole, coarse)
    with pytest.raises(RecipeError, match="do not fit"):
        load_into(whole, {})


def test_a_coarse_network_takes_its_half_of_a_whole_one():
    whole = CISRNet(2, 8, 2, 1, coarse_groups=1, fine_groups=1)
    coarse = CISRNet(2, 8, 2, 1, coarse_groups=1, coarse_only=True)
    load_into(coarse, whole.state_dict())
    for key, value in coarse.state_dict().items():
        assert torch.equal(value, whole.state_dict()[key])


@pytest.mark.parametrize("attention", ["pdab", "sdab"])
@pytest.mark.parametrize(
    ("scale", "coarse_only", "features"), [(2, True, 8), (4, False, 8), (2, False, 24)]
)
def test_a_grown_cisrnet_computes_the_same(attention, scale, coarse_only, features):
    torch.manual_seed(0)
    options = {"coarse_attention": attention, "coarse_only": coarse_only}
    small = CISRNet(scale, 8, 2, 1, coarse_groups=1, fine_groups=1, **options)
    for parameter in small.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    deeper = {"coarse_groups": 3, "fine_groups": 2, "coarse_attention": attention}
    large = CISRNet(scale, features, 2, 3, **deeper)
    load_into(large, small.state_dict())
    x = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(large(x), small(x), rtol=1e-4, atol=1e-4)


def test_copies_of_a_channel_part_ways_in_training():
    torch.manual_seed(0)
    small = CISRNet(2, 8, 2, 1, coarse_groups=1, coarse_only=True)
    large = CISRNet(2, 24, 2, 1, coarse_groups=1, coarse_only=True)
    load_into(large, small.state_dict())
    large(torch.rand(1, 3, 9, 9)).square().mean().backward()
    gradient = large.coarse.conv_first.weight.grad
    assert (gradient[:8] - gradient[8:16]).abs().max() > 0.01 * gradient.abs().max()


def test_a_cisrnet_does_not_grow_into_anything_else():
    small = CISRNet(2, 8, 2, 2, coarse_groups=1, coarse_only=True)
    for other in ({"features": 12}, {"blocks": 1}, {"coarse_attention": "sdab"}):
        options = {"features": 8, "reduction": 2, "blocks": 2, "coarse_groups": 1, **other}
        with pytest.raises(RecipeError, match=r"grow|do not fit"):
            load_into(CISRNet(2, **options), small.state_dict())


@pytest.mark.parametrize("scale", [2, 3])
def test_a_cisrnet_of_another_scale_takes_the_trunk_and_shows_the_same_picture(scale):
    torch.manual_seed(0)
    small, large = (CISRNet(s, 16, 2, 1, coarse_groups=1, coarse_only=True) for s in (4, scale))
    start_nearest(small)
    load_into(large, small.state_dict())
    for key, value in large.state_dict().items():
        if "upsampler" not in key:
            torch.testing.assert_close(value, small.state_dict()[key], rtol=0, atol=0)
    x = torch.rand(1, 3, 9, 12)
    nearest = torch.nn.functional.interpolate(x, scale_factor=scale, mode="nearest")
    assert (large(x) - nearest).abs().max() < 0.1


@pytest.mark.parametrize(("scale", "other"), [(2, 3), (3, 2)])
def test_an_upsampler_of_another_scale_shows_the_nearest_px_of_the_old_one(scale, other):
    torch.manual_seed(0)
    small, large = (CISRNet(s, 8, 2, 1, coarse_groups=1, coarse_only=True) for s in (scale, other))
    load_into(large, small.state_dict())
    x = torch.rand(1, 8, 5, 4)
    shown, size = small.coarse.upsampler(x), (other * 5, other * 4)
    nearest = F.interpolate(shown, size=size, mode="nearest-exact")
    torch.testing.assert_close(large.coarse.upsampler(x), nearest)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_cisrnet_can_start_as_nearest_neighbour_enlargement(scale):
    torch.manual_seed(0)
    network = CISRNet(scale, 16, 2, 2, coarse_groups=2, fine_groups=1)
    start_nearest(network)
    x = torch.rand(1, 3, 9, 12)
    nearest = torch.nn.functional.interpolate(x, scale_factor=scale, mode="nearest")
    assert (network(x) - nearest).abs().max() < 0.1
    with pytest.raises(RecipeError, match="is for CISRNet"):
        make_network(Stage("cajnn"), "nearest")


def test_a_cisrnet_that_starts_as_nearest_neighbour_trains_everywhere_from_the_first_step():
    torch.manual_seed(0)
    network = CISRNet(4, 16, 2, 1, coarse_groups=1, coarse_only=True)
    start_nearest(network)
    F.l1_loss(network(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 32, 32)).backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_share_can_be_kept_of_weights_wherever_they_are_from(data, tmp_path):
    def require(recipe, *changes, start=""):
        stages = load_recipe(recipe_file(tmp_path, recipe), changes)
        require_sound(stages, [False] * len(stages), tmp_path, data, start)

    require(SMALL, "keep = 0.5", start="cajnn-light")
    require(SMALL, "keep = 0.5", 'init_from = "cajnn-light"')
    require(SMALL + '[[stage]]\nname = "first"\n[[stage]]\nname = "second"\nkeep = 0.5\n')
    with pytest.raises(RecipeError, match="starts with none; give init_from"):
        require(SMALL, "keep = 0.5")


def test_a_stage_can_keep_a_share_of_the_weights_it_starts_with(data, tmp_path):
    recipe = recipe_file(tmp_path, SMALL)

    def trained(name, *changes, **options):
        return train(recipe, data, tmp_path / name, "schedule.length = 2", *changes, **options)

    start = trained("start")
    alone = load_file(trained("alone", init_from=start))
    quarter = load_file(trained("quarter", "keep = 0.25", init_from=start))
    for key, kept in load_file(start).items():
        assert (alone[key] != kept).any()
        torch.testing.assert_close(quarter[key], 0.75 * alone[key] + 0.25 * kept)
    with pytest.raises(RecipeError, match="starts with none"):
        trained("none", "keep = 0.25")
    trained("on", "keep = 0.25", "schedule.length = 1", init_from=start)
    gone_on = trained("on", "keep = 0.25", resume=True)
    averages = torch.load(gone_on.with_name(CHECKPOINT), weights_only=True)["state_dict"]
    left = load_file(gone_on)
    for key, kept in load_file(start).items():
        torch.testing.assert_close(left[key], 0.75 * averages[f"network.{key}"] + 0.25 * kept)
