from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Tiny
from PIL import Image
from torch.nn import functional as F

from preproc.errors import DeviceMemoryError, OptionError
from preproc.execution import tiles
from preproc.execution.tiles import run_tiles
from preproc.execution.tiling import Span, TilePolicy
from preproc.execution.windows import pad
from preproc.networks import SizeRule
from preproc.progress import advance


def nearest(x, inside=None):
    return x.repeat_interleave(4, -2).repeat_interleave(4, -1)


def canvas_of(picture, dtype=torch.float32):
    channels, height, width = picture.shape
    return torch.empty(channels, 4 * height, 4 * width, dtype=dtype)


@pytest.mark.parametrize("length", [65, 100, 128, 131, 500, 777])
@pytest.mark.parametrize("multiple_of", [1, 4])
@pytest.mark.parametrize("size", [64, 67])
def test_spans_cover_evenly_and_keep_real_neighbours(length, multiple_of, size):
    length = -(-length // multiple_of) * multiple_of
    spans = Span(0, length, 0, length).split(size, 10, SizeRule(multiple_of=multiple_of))

    assert [s.core_start for s in spans] == [0, *(s.core_stop for s in spans[:-1])]
    assert (spans[0].start, spans[-1].stop, spans[-1].core_stop) == (0, length, length)
    assert len({s.length for s in spans}) == 1, "one shape, so that tiles form batches"
    assert spans[0].length <= size
    for span in spans:
        assert span.start % multiple_of == span.length % multiple_of == 0
        assert span.start == 0 or span.core_start - span.start >= 10
        assert span.stop == length or span.stop - span.core_stop >= 10


def test_tiles_are_balanced_rather_than_one_large_and_one_sliver():
    tiles = TilePolicy(size=64, overlap=4).tiles(66, 66)
    assert len(tiles) == 4
    assert {t.shape for t in tiles} == {(37, 37)}


def test_a_tile_split_again_keeps_its_core_covered_once():
    policy = TilePolicy(size=64, overlap=4)
    counts = torch.zeros(150, 130, dtype=torch.int)
    for tile in policy.tiles(150, 130):
        for part in policy.split(tile, 32):
            assert max(part.shape) <= 32
            counts[part.y.core_start : part.y.core_stop, part.x.core_start : part.x.core_stop] += 1
    assert (counts == 1).all()


def test_tiles_too_small_for_their_overlap_are_refused():
    with pytest.raises(OptionError, match="64 px are too small for overlaps of 32 px"):
        TilePolicy(size=64, overlap=32)
    with pytest.raises(OptionError, match="choose a tile of 48 px or more"):
        TilePolicy(size=40, overlap=8, size_rule=SizeRule(48))
    with pytest.raises(OptionError, match="overlap"):
        TilePolicy(size=None, overlap=-1)


def test_no_window_is_smaller_than_a_network_takes():
    policy = TilePolicy(64, 3, size_rule=SizeRule(64))
    assert all(tile.shape >= (64, 64) for tile in policy.tiles(70, 70))
    (whole,) = TilePolicy(None, 8, size_rule=SizeRule(64)).tiles(100, 100)
    assert all(tile.shape >= (64, 64) for tile in policy.split(whole, 70))


def test_a_window_is_as_large_as_a_network_needs_with_its_border_around_the_picture():
    (tile,) = TilePolicy(None, 0, border=3, size_rule=SizeRule(16, 4)).tiles(5, 21)
    assert tile.shape == (16, 28)
    assert (tile.y.start, tile.x.start, tile.x.core_stop) == (-3, -3, 21)


def test_no_tile_is_computed_of_which_nothing_is_kept():
    tiles = TilePolicy(16, 0, border=20).tiles(10, 30)  # some would lie in the border only
    assert min(tile.kept for tile in tiles) > 0
    assert sum(tile.kept for tile in tiles) == 10 * 30


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (5, 8)])
def test_padding_reflects_however_small_the_picture(size):
    x = torch.rand(2, 3, *size)
    padded = pad(x, 9, 11)
    assert padded.shape == (2, 3, 9, 11)
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    assert padded.unique().numel() <= x.numel(), "only px of the picture"


def test_padding_is_torch_reflection_where_torch_can():
    x = torch.rand(1, 3, 8, 9)
    assert torch.equal(pad(x, 13, 12), F.pad(x, (0, 3, 0, 5), mode="reflect"))


def test_what_a_network_tints_of_grey_becomes_pillow_s_grey():
    tint = (255, 100, 30)
    colour = torch.tensor(tint).view(3, 1, 1) / 255
    white = torch.full((1, 5, 6), 255, dtype=torch.uint8)
    canvas = canvas_of(white, torch.uint8)
    run_tiles([white], [canvas], lambda x, _: nearest(x * colour), TilePolicy(None, 0))
    grey = Image.new("RGB", (1, 1), tint).convert("L").getpixel((0, 0))
    assert canvas.unique().tolist() == [grey]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_pass_through_unchanged_in_every_dtype(dtype, channels):
    peak = {torch.uint8: 255, torch.uint16: 65535, torch.float32: 1}[dtype]
    picture = (torch.rand(channels, 53, 71) * peak).to(dtype)
    canvas = canvas_of(picture, dtype)
    run_tiles([picture], [canvas], nearest, TilePolicy(size=32, overlap=3), batch_size=4)
    torch.testing.assert_close(
        canvas.float(), nearest(picture.float()), rtol=0, atol=1e-6 if peak == 1 else 0
    )


def test_integer_canvases_are_rounded_and_clamped():
    picture = torch.zeros(3, 2, 2)
    for value, expected in ((1.2, 255), (0.9999, 255), (254.6 / 255, 255), (-0.3, 0), (0.001, 0)):
        canvas = canvas_of(picture, torch.uint8)
        run_tiles([picture], [canvas], lambda x, _, v=value: nearest(x) + v, TilePolicy(None, 0))
        assert (canvas == expected).all(), value
    canvas = canvas_of(picture, torch.uint16)
    run_tiles([picture], [canvas], lambda x, _: nearest(x) + 1.2, TilePolicy(None, 0))
    assert set(canvas.flatten().tolist()) == {65535}


class Recorder:
    """Remembers the batches it was given; its memory holds ``limit`` px."""

    def __init__(self, limit=None):
        self.shapes, self.limit = [], limit

    def __call__(self, x, _):
        if self.limit and x.shape[0] * x.shape[2] * x.shape[3] > self.limit:
            raise MemoryError("full")
        self.shapes.append(tuple(x.shape))
        return nearest(x)


def test_tiles_of_one_shape_share_batches():
    picture, seen = torch.rand(3, 200, 200), Recorder()
    run_tiles([picture], [canvas_of(picture)], seen, TilePolicy(64, 4), batch_size=8)
    assert [s[0] for s in seen.shapes] == [8, 8]


def test_small_crops_of_near_sizes_share_batches():
    sizes = [(31, 98), (32, 100), (29, 103), (30, 97)]
    pictures, seen = [torch.rand(3, *size) for size in sizes], Recorder()
    canvases = [canvas_of(p) for p in pictures]
    run_tiles(pictures, canvases, seen, TilePolicy(512, 4, bucket=16, mixed_side=128), batch_size=8)
    assert seen.shapes == [(4, 3, 32, 103)]
    for picture, canvas in zip(pictures, canvases, strict=True):
        assert torch.equal(canvas, nearest(picture))


def test_long_pictures_of_near_sizes_share_no_batch():
    pictures, seen = [torch.rand(3, *size) for size in ((31, 130), (32, 131))], Recorder()
    canvases = [canvas_of(p) for p in pictures]
    run_tiles(pictures, canvases, seen, TilePolicy(512, 4, bucket=16, mixed_side=128), batch_size=8)
    assert seen.shapes == [(1, 3, 31, 130), (1, 3, 32, 131)]


def test_large_pictures_go_one_by_one():
    pictures, seen = [torch.rand(3, 512, 512) for _ in range(2)], Recorder()
    run_tiles(pictures, [canvas_of(p) for p in pictures], seen, TilePolicy(512, 4), batch_size=8)
    assert [s[0] for s in seen.shapes] == [1, 1]


def test_with_a_tile_of_0_a_picture_is_never_cut(make, monkeypatch):
    shapes, forward = [], Tiny.forward
    monkeypatch.setattr(Tiny, "forward", lambda self, x: shapes.append(x.shape) or forward(self, x))
    make(tile=0)(np.zeros((600, 9), np.uint8))
    assert shapes == [(1, 3, 600, 9)]


def test_full_memory_halves_the_batch_then_the_tile_and_loses_nothing():
    picture, seen = torch.rand(3, 200, 180), Recorder(limit=40 * 40)
    canvas = torch.full_like(canvas_of(picture), float("nan"))
    run_tiles([picture], [canvas], seen, TilePolicy(128, 4), batch_size=8)
    assert torch.equal(canvas, nearest(picture))
    assert max(max(s[2:]) for s in seen.shapes) <= 64


def test_where_half_a_tile_were_too_small_the_smallest_is_taken():
    picture, seen = torch.rand(3, 100, 100), Recorder(limit=48 * 48)
    canvas = torch.full_like(canvas_of(picture), float("nan"))
    run_tiles([picture], [canvas], seen, TilePolicy(60, 16))
    assert torch.equal(canvas, nearest(picture))


def test_of_a_long_tile_the_length_is_halved_however_narrow_it_is():
    picture, seen = torch.rand(3, 12, 200), Recorder(limit=12 * 60)
    canvas = torch.full_like(canvas_of(picture), float("nan"))
    run_tiles([picture], [canvas], seen, TilePolicy(128, 4))
    assert torch.equal(canvas, nearest(picture))
    assert {shape[2] for shape in seen.shapes} == {12}


def test_tiles_finished_before_memory_was_full_are_not_computed_again():
    picture, calls = torch.rand(3, 100, 400), []

    def full_at_third_call(x, inside):
        calls.append(x.shape)
        if len(calls) == 3:
            raise MemoryError("full")
        return nearest(x)

    canvas = torch.full_like(canvas_of(picture), float("nan"))
    run_tiles([picture], [canvas], full_at_third_call, TilePolicy(100, 5))
    whole, halved = [s for s in calls if s[-1] > 60], [s for s in calls if s[-1] <= 60]
    assert torch.equal(canvas, nearest(picture))
    assert len(whole) == 3
    assert len(halved) >= 4


def test_memory_that_stays_full_ends_in_its_error():
    picture = torch.rand(3, 100, 100)
    for policy in (TilePolicy(64, 4), TilePolicy(None, 4)):
        with pytest.raises(MemoryError, match="full"):
            run_tiles([picture], [canvas_of(picture)], Recorder(limit=10), policy)


# ------------------------------------------------------------------- progress


class Told(list):
    """Keeps what a progress function is told, and checks what is promised of it."""

    def __call__(self, done, total):
        self.append((done, total))

    def check(self, total):
        done = [d for d, _ in self]
        assert {t for _, t in self} == {total}
        assert done == sorted(set(done)), "it rises with each call"
        assert done[-1] == total


def test_progress_counts_px_of_all_pictures_and_ends_at_their_sum():
    pictures, told = [torch.rand(3, 200, 150), torch.rand(1, 40, 90)], Told()
    canvases = [canvas_of(p) for p in pictures]
    policy = TilePolicy(64, 4, size_rule=SizeRule(multiple_of=4))
    run_tiles(pictures, canvases, nearest, policy, batch_size=2, progress=told)
    told.check(200 * 150 + 40 * 90)
    assert len(told) == 7


def test_progress_never_falls_where_memory_runs_out():
    picture, told = torch.rand(3, 200, 180), Told()
    full = Recorder(limit=40 * 40)

    def halfway(x, inside):
        advance(0.5)
        return full(x, inside)

    canvas = canvas_of(picture)
    run_tiles([picture], [canvas], halfway, TilePolicy(128, 4), batch_size=8, progress=told)
    told.check(200 * 180)


def test_progress_tells_of_parts_of_a_pass():
    picture, told = torch.rand(3, 10, 10), Told()

    def slow(x, _):
        for _ in range(6):  # two more than all of it: made twice in part
            advance(0.25)
        return nearest(x)

    run_tiles([picture], [canvas_of(picture)], slow, TilePolicy(None, 0), progress=told)
    assert told == [(25, 100), (50, 100), (75, 100), (100, 100)]
    advance(0.5)  # of nothing that anybody asked for


# ------------------------------------------------------------------- the host's memory


FULL = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize("step", ["stack", "_cut", "_paste"])
def test_a_full_host_memory_halves_as_a_full_device_does(monkeypatch, step):
    made, picture = getattr(tiles, step), torch.rand(3, 200, 180)

    def small(*args):
        windows = [a for a in args if isinstance(a, tiles.Piece)]
        if step == "stack" and len(args[0]) * args[0][0][0].numel() > 40 * 40:
            raise FULL
        if windows and max(windows[0].tile.shape) > 40:
            raise FULL
        return made(*args)

    monkeypatch.setattr(tiles, step, small)
    canvas, told = torch.full_like(canvas_of(picture), float("nan")), Told()
    run_tiles([picture], [canvas], nearest, TilePolicy(128, 4), batch_size=8, progress=told)
    assert torch.equal(canvas, nearest(picture))
    told.check(200 * 180)


def test_a_host_memory_that_stays_full_is_one_sentence(monkeypatch):
    def full(_):
        raise FULL

    monkeypatch.setattr(tiles, "stack", full)
    picture = torch.rand(3, 100, 90)
    with pytest.raises(
        DeviceMemoryError, match=r"no room for 1 tile.* 100x90 px; choose a smaller"
    ):
        run_tiles([picture], [canvas_of(picture)], nearest, TilePolicy(None, 0))


def test_other_errors_while_cutting_pass_through(monkeypatch):
    def broken(_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(tiles, "stack", broken)
    picture = torch.rand(3, 9, 9)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_tiles([picture], [canvas_of(picture)], nearest, TilePolicy(None, 0))


@pytest.mark.parametrize("size", [None, 24])
@pytest.mark.parametrize("extent", [(9, 14), (1, 3), (40, 31)])
def test_a_border_is_mirrored_around_the_picture_and_cut_off_again(size, extent):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def apply(batch, _):
        with torch.inference_mode():
            return conv(batch).repeat_interleave(2, -1).repeat_interleave(2, -2)

    height, width = extent
    picture = torch.rand(3, height, width)
    canvas = torch.empty(3, 2 * height, 2 * width)
    run_tiles([picture], [canvas], apply, TilePolicy(size, 2, border=2))
    rows, columns = (_mirrored(side) for side in extent)
    wanted = apply(picture[:, rows][..., columns][None], None)[0, :, 4:-4, 4:-4]
    torch.testing.assert_close(canvas, wanted)
    assert not torch.equal(canvas, apply(picture[None], None)[0]), "the border has no effect"


def _mirrored(side: int) -> list[int]:
    """Indices of a row that goes on for 2 px to both sides as its mirror image."""
    there_and_back = [*range(side), *range(side - 2, 0, -1)]
    return [there_and_back[i % len(there_and_back)] for i in range(-2, side + 2)]
