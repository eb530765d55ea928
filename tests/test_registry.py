"""Networks are found by name, can be added from outside, and are what their descriptors say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from preproc.errors import ModelError
from preproc.networks import (
    ModelDescriptor,
    SizeRule,
    Tiling,
    find,
    list_models,
    register,
    registry,
)
from preproc.networks.counts import cost_of, count_macs, count_parameters

# Other tests register networks of their own.
SHIPPED = [d for d in list_models() if d.name.startswith(("cajnn", "cisrnet"))]
OWN = ModelDescriptor("own", 2, nn.Identity)


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))


def names() -> Iterator[str]:
    return map(str, list_models())


@pytest.mark.parametrize("descriptor", SHIPPED, ids=str)
def test_a_network_costs_what_its_descriptor_says(descriptor: ModelDescriptor) -> None:
    with torch.device("meta"):
        network = descriptor.build()
    assert count_parameters(network) == descriptor.parameters
    assert count_macs(network) == descriptor.macs_per_pixel
    assert descriptor.title


@pytest.mark.parametrize("descriptor", SHIPPED, ids=str)
def test_a_network_takes_every_size_that_its_rule_allows(descriptor: ModelDescriptor) -> None:
    with torch.device("meta"):
        network = descriptor.build()
    rule = descriptor.size
    for size in ((1, 1), (1, 40), (37, 2)):
        height, width = map(rule.padded, size)
        out = network(torch.zeros(2, 3, height, width, device="meta"))
        assert out.shape == (2, 3, descriptor.scale * height, descriptor.scale * width)
        assert out.dtype == torch.float32


def test_the_papers_networks_are_known_with_their_policies() -> None:
    known = ["cajnn x4", "cajnn-light x4", "cisrnet x2", "cisrnet x3", "cisrnet x4"]
    known += [f"cisrnet-{kind} x{scale}" for kind in ("coarse", "light") for scale in (2, 3, 4)]
    assert set(known) <= set(map(str, SHIPPED))
    assert find("cajnn").parameters == 14_847_491
    assert find("cajnn").tiling is Tiling.TILES
    assert 15 * find("cajnn-light").macs_per_pixel < 1.1 * find("cajnn").macs_per_pixel
    assert [find("cisrnet", s).parameters for s in (2, 3, 4)] == [9_600_198, 10_015_398, 9_932_358]
    assert all(
        8.5 * find("cisrnet-light", s).macs_per_pixel < find("cisrnet", s).macs_per_pixel
        for s in (2, 3, 4)
    )
    assert find("cisrnet").tiling is Tiling.WHOLE
    # Networks of its family (RCAN) overflow half precision.
    assert find("cisrnet").dtypes == (torch.bfloat16,)
    for name in ("cajnn", "cajnn-light", "cajnn-ocr", "cajnn-faces"):
        assert find(name).dtypes == (torch.float16, torch.bfloat16)


def test_an_unknown_name_or_scale_says_what_is_known() -> None:
    with pytest.raises(
        ModelError,
        match=r"no model 'cajn'; known are cajnn, cajnn-light, cajnn-ocr, cajnn-faces, cisrnet",
    ):
        find("cajn")
    with pytest.raises(ModelError, match=r"cisrnet has no scale 5, only x2, x3, x4\."):
        find("cisrnet", 5)
    with pytest.raises(ModelError, match=r"scale 2, only x4; cisrnet, cisrnet-.* have it\."):
        find("cajnn-light", 2)


def test_a_network_from_outside_is_found_by_its_largest_scale() -> None:
    register(OWN, replace(OWN, scale=3))
    assert find("own", 2) is OWN
    assert find("own").scale == 3
    assert list(names())[-2:] == ["own x2", "own x3"]


def test_own_networks_cannot_be_shadowed_by_accident() -> None:
    with pytest.raises(ModelError, match="cajnn x4 is registered already"):
        register(replace(OWN, name="cajnn", scale=4))


def test_registering_is_all_or_nothing() -> None:
    before = list(names())
    with pytest.raises(ModelError, match="cajnn x4 is registered already"):
        register(OWN, find("cajnn", 4))
    assert list(names()) == before


def test_replacing_is_asked_for_and_keeps_the_place() -> None:
    before = list(names())
    mine = replace(find("cajnn", 4), title="mine")
    register(mine, OWN, replace=True)
    assert find("cajnn", 4) is mine
    assert list(names()) == [*before, "own x2"]


@pytest.mark.parametrize("replacing", [False, True])
def test_one_call_cannot_name_a_network_twice(replacing: bool) -> None:
    before = list_models()
    for descriptor in (OWN, find("cajnn", 4)):
        with pytest.raises(ModelError, match="twice" if replacing else "twice|already"):
            register(descriptor, descriptor, replace=replacing)
    assert list_models() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "Own"},
        {"name": "my own"},
        {"scale": 0},
        {"overlap": -1},
        {"border": -1},
        {"maskable": True, "tiling": Tiling.WHOLE},
        {"parameters": -1},
        {"macs_per_pixel": -1},
    ],
)
def test_a_descriptor_that_cannot_be_true_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        replace(OWN, **wrong)


def test_a_size_rule_pads_up_to_the_next_allowed_size() -> None:
    rule = SizeRule(minimum=5, multiple_of=4)
    assert [rule.padded(n) for n in (1, 5, 8, 9)] == [8, 8, 8, 12]
    assert [SizeRule().padded(n) for n in (1, 7)] == [1, 7]
    with pytest.raises(ModelError, match="at least 1"):
        SizeRule(multiple_of=0)


def test_what_a_descriptor_does_not_say_of_its_cost_is_counted() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))

    assert cost_of(ModelDescriptor("mine", 2, build)) == (336, 324)
    assert cost_of(ModelDescriptor("mine", 2, build, parameters=1)) == (1, 324)
    assert cost_of(ModelDescriptor("mine", 2, nn.Identity, 1, 2)) == (1, 2)


def test_it_is_counted_at_a_size_that_the_network_takes() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.PixelUnshuffle(3), nn.Conv2d(27, 27, 1), nn.PixelShuffle(3))

    assert cost_of(ModelDescriptor("mine", 1, build, size=SizeRule(multiple_of=3))) == (756, 81)


def test_counting_counts_what_runs_and_leaves_the_module_alone() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.PixelUnshuffle(2), nn.Conv2d(32, 4, 1)
    )
    before = {key: value.clone() for key, value in network.state_dict().items()}
    # 3x3 over 3 channels to 8, then at a quarter of the positions 32 to 4.
    assert count_macs(network, size=8) == 27 * 8 + 32 * 4 // 4
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
