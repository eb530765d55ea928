"""CISRNet is the paper's network: its counts, costs, two stages and ablations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preproc.errors import ModelError
from preproc.networks.cisrnet import PDAB, SDAB, ChannelAttention, CISRNet
from preproc.networks.counts import count_macs, count_parameters

PDAB_VALUES, SDAB_VALUES, CONV_VALUES = 186_930, 168_402, 83_040
PDAB_GROUP = 8 * PDAB_VALUES + CONV_VALUES
SDAB_GROUP = 8 * SDAB_VALUES + CONV_VALUES
COARSE_X2, FINE = 6_734_403, 2_865_795


def on_meta(*args: int, **options: object) -> CISRNet:
    with torch.device("meta"):
        return CISRNet(*args, **options)


def small(scale: int = 4, **options: object) -> CISRNet:
    """A net of every part, small enough to run."""
    torch.manual_seed(0)
    return CISRNet(scale, 16, 4, 1, coarse_groups=1, fine_groups=1, **options)


@pytest.mark.parametrize(
    ("scale", "coarse", "coarse_mmac", "total_mmac"),
    [(2, 6_734_403, 6.658, 17.961), (3, 7_149_603, 7.086, 32.516), (4, 7_066_563, 8.017, 53.226)],
)
def test_parameters_and_cost_are_the_papers(
    scale: int, coarse: int, coarse_mmac: float, total_mmac: float
) -> None:
    network = on_meta(scale)
    assert count_parameters(network.coarse) == coarse
    assert count_parameters(network.fine) == FINE
    assert count_parameters(network) == coarse + FINE
    assert count_macs(network.coarse) / 1e6 == pytest.approx(coarse_mmac, abs=6e-4)
    assert count_macs(network) / 1e6 == pytest.approx(total_mmac, abs=6e-4)


def test_blocks_have_the_papers_parameters() -> None:
    assert count_parameters(PDAB(96, 8)) == PDAB_VALUES
    assert count_parameters(SDAB(96, 8)) == SDAB_VALUES


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        # Table 2: residual groups of the coarse stage alone, then of the fine stage.
        ({"coarse_only": True, "coarse_groups": 3}, COARSE_X2 - PDAB_GROUP),
        ({"coarse_only": True}, COARSE_X2),
        ({"coarse_only": True, "coarse_groups": 5}, COARSE_X2 + PDAB_GROUP),
        ({"coarse_only": True, "coarse_groups": 6}, COARSE_X2 + 2 * PDAB_GROUP),
        ({"fine_groups": 1}, COARSE_X2 + FINE - SDAB_GROUP),
        ({"fine_groups": 3}, COARSE_X2 + FINE + SDAB_GROUP),
        # Table 3: which attention block where.
        (
            {"coarse_only": True, "coarse_attention": "sdab"},
            COARSE_X2 - 4 * (PDAB_GROUP - SDAB_GROUP),
        ),
        ({"fine_attention": "pdab"}, COARSE_X2 + FINE + 2 * (PDAB_GROUP - SDAB_GROUP)),
    ],
)
def test_the_ablations_of_the_paper_are_options(
    options: dict[str, object], parameters: int
) -> None:
    assert count_parameters(on_meta(2, **options)) == parameters


@pytest.mark.parametrize(
    "options",
    [
        {"coarse_groups": 0},
        {"fine_groups": 0},
        {"blocks": 0},
        {"reduction": 97},
        {"coarse_attention": "cbam"},
        {"fine_attention": "none"},
        {"scale": 5},
    ],
)
def test_what_is_not_defined_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=f"got .*{next(iter(options.values()))}"):
        on_meta(**options)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_odd_sizes_are_scaled_exactly(scale: int) -> None:
    network = small(scale)
    for height, width in ((1, 1), (7, 10)):
        out = network(torch.rand(2, 3, height, width))
        assert out.shape == (2, 3, scale * height, scale * width)


def test_the_fine_stage_adds_to_the_coarse_picture() -> None:
    network, x = small(), torch.rand(1, 3, 6, 5)
    coarse = network.coarse(x)
    assert not torch.equal(network(x), coarse)
    torch.testing.assert_close(network(x), network.fine(coarse), rtol=0, atol=0)
    nn.init.zeros_(network.fine.conv_last.weight)
    nn.init.zeros_(network.fine.conv_last.bias)
    torch.testing.assert_close(network(x), coarse, rtol=0, atol=0)


def test_weights_of_the_first_training_stage_fit_the_whole_network() -> None:
    alone, whole = small(coarse_only=True), small()
    missing, unexpected = whole.load_state_dict(alone.state_dict(), strict=False)
    assert all(key.startswith("fine.") for key in missing)
    assert not unexpected
    x = torch.rand(1, 3, 6, 5)
    torch.testing.assert_close(whole.coarse(x), alone(x), rtol=0, atol=0)


def reference(state: dict[str, Tensor], x: Tensor, scale: int) -> Tensor:
    """The small net by its definition: functions of a state dict, written from the paper."""

    def conv(key: str, x: Tensor) -> Tensor:
        weight = state[f"{key}.weight"]
        return F.conv2d(x, weight, state.get(f"{key}.bias"), padding=weight.shape[2] // 2)

    def channel(key: str, h: Tensor) -> Tensor:
        mean = F.adaptive_avg_pool2d(h, 1)
        return h * conv(f"{key}.excite", conv(f"{key}.squeeze", mean).relu()).sigmoid()

    def spatial(key: str, h: Tensor) -> Tensor:
        statistics = torch.cat((h.max(1, keepdim=True).values, h.mean(1, keepdim=True)), 1)
        return h * conv(f"{key}.conv", statistics).sigmoid()

    def group(key: str, x: Tensor) -> Tensor:
        block = f"{key}.blocks.0"
        h = conv(f"{block}.conv2", conv(f"{block}.conv1", x).relu())
        if f"{block}.fuse.weight" in state:
            both = (spatial(f"{block}.spatial", h), channel(f"{block}.channel", h))
            h = conv(f"{block}.fuse", torch.cat(both, 1))
        else:
            h = spatial(f"{block}.spatial", channel(f"{block}.channel", h))
        return x + conv(f"{key}.conv", x + h)

    first = conv("coarse.conv_first", x)
    up = first + conv("coarse.conv_groups", group("coarse.groups.0", first))
    for step, factor in enumerate([2, 2] if scale == 4 else [scale]):
        up = F.pixel_shuffle(conv(f"coarse.upsampler.{step}.conv", up), factor)
    coarse = conv("coarse.conv_last", up)
    first = conv("fine.conv_first", coarse)
    return coarse + conv("fine.conv_last", group("fine.groups.0", first))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("attention", [("pdab", "sdab"), ("sdab", "pdab")])
def test_the_network_computes_what_the_paper_defines(
    scale: int, attention: tuple[str, str]
) -> None:
    network = small(scale, coarse_attention=attention[0], fine_attention=attention[1]).double()
    x = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    with torch.inference_mode():
        wanted = reference(network.state_dict(), x, scale)
        torch.testing.assert_close(network(x).double(), wanted, rtol=0, atol=1e-6)


def test_the_default_network_learns_down_to_its_first_layer() -> None:
    torch.manual_seed(0)
    network = CISRNet(2)
    network(torch.rand(1, 3, 8, 8)).abs().mean().backward()
    for stage in (network.coarse, network.fine):
        assert stage.conv_first.weight.grad.abs().max() > 1e-6
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def far_and_near(network: CISRNet, reach: int) -> tuple[float, float]:
    """Largest gradient of an output px with respect to inputs beyond ``reach`` and at it."""
    x = torch.rand(1, 3, 1, 4 * reach + 9, dtype=torch.float64, requires_grad=True)
    middle = x.shape[3] // 2
    network.double()(x)[..., middle * network.scale : (middle + 1) * network.scale].sum().backward()
    gradient = x.grad.abs().amax((0, 1, 2))
    near = gradient[[middle - reach, middle + reach]].max().item()
    outside = torch.cat((gradient[: middle - reach], gradient[middle + reach + 1 :]))
    return outside.max().item(), near


def test_every_output_depends_on_the_whole_image() -> None:
    far, _ = far_and_near(small(), 10)
    assert far > 0


@pytest.mark.parametrize(("scale", "reach"), [(2, 11), (3, 10), (4, 10)])
def test_but_for_the_pooled_means_it_sees_no_further_than_its_convolutions(
    scale: int, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChannelAttention, "forward", lambda _, mean: torch.ones_like(mean))
    far, near = far_and_near(small(scale), reach)
    assert far == 0
    assert near > 0


def test_a_block_can_be_swept_in_tiles_when_the_mean_is_shared() -> None:
    torch.manual_seed(0)
    block, x = PDAB(8, 2), torch.randn(1, 8, 6, 20)
    tiles = [(0, 10), (10, 20)]

    def cut(start: int, stop: int, halo: int) -> tuple[slice, slice]:
        outer = slice(max(start - halo, 0), min(stop + halo, 20))
        return outer, slice(start - outer.start, stop - outer.start)

    sweep = []
    for tile in tiles:
        outer, inner = cut(*tile, halo=2)
        sweep.append(block.extract(x[..., outer])[..., inner])
    h = torch.cat(sweep, -1)
    gates = block.channel(h.mean((2, 3), keepdim=True))
    sweep = []
    for tile in tiles:
        outer, inner = cut(*tile, halo=1)
        sweep.append(block.merge(x[..., outer], h[..., outer], gates)[..., inner])
    torch.testing.assert_close(torch.cat(sweep, -1), block(x))


def test_bfloat16_keeps_the_picture_in_float32() -> None:
    network, x = small(), torch.rand(1, 3, 12, 9)
    with torch.inference_mode():
        exact = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = [network(x), network.coarse(x)]
        network.bfloat16()
        cast = [network(x), network.coarse(x)]
    for out, coarse in (mixed, cast):
        torch.testing.assert_close(out, exact, rtol=0, atol=0.01)
        # More than bfloat16 can say: the layer that makes the picture was not rounded to it.
        assert not torch.equal(coarse, coarse.bfloat16().float())
        assert out.dtype == coarse.dtype == torch.float32
