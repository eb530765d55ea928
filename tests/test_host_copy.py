"""Results come to their places while others are computed; what is on a GPU is in test_cuda.py."""

from __future__ import annotations

from threading import Event

import pytest
import torch

from preproc.execution import host_copy
from preproc.execution.host_copy import AsyncHostCopy
from preproc.execution.tiles import run_tiles
from preproc.execution.tiling import TilePolicy


class Arrival:
    """Stands for the event that a copy has come from a GPU; it happens when the test says so."""

    def __init__(self):
        self.happened = Event()

    def synchronize(self):
        if not self.happened.wait(30):
            raise RuntimeError("the copy never came")


class Remote(torch.Tensor):
    """A tensor that says that it lies on a GPU."""

    device = torch.device("cuda", 0)


@pytest.fixture
def arrivals(monkeypatch):
    """Results of any size go by the thread; their copies come when the arrivals here happen."""
    made = []

    def staged(result):
        made.append(Arrival())
        return made[-1], torch.Tensor(result).clone()

    monkeypatch.setattr(host_copy, "_LARGE", 0)
    monkeypatch.setattr(host_copy, "_copied_to_pinned", staged)
    return made


def remote(*shape):
    return torch.rand(shape).as_subclass(Remote)


@pytest.mark.parametrize("layout", ["planes", "px by px"])
def test_nobody_waits_for_the_first_and_the_end_waits_for_all(arrivals, layout):
    size = (3, 4, 5) if layout == "planes" else (4, 5, 3)
    whole = torch.zeros(2, *size)
    places = list(whole if layout == "planes" else whole.permute(0, 3, 1, 2))
    results = [remote(3, 4, 5) for _ in places]
    with AsyncHostCopy() as copies:
        copies.start(results[0], places[0])
        assert not whole.any(), "it has not come yet"
        arrivals[0].happened.set()
        copies.start(results[1], places[1])
        assert torch.equal(places[0], torch.Tensor(results[0])), "one at a time is on its way"
        arrivals[1].happened.set()
    assert torch.equal(places[1], torch.Tensor(results[1]))


def test_a_place_made_for_inference_only_is_filled_all_the_same(arrivals):
    with torch.inference_mode():
        place, result = torch.zeros(1, 2, 2), remote(1, 2, 2)
        with AsyncHostCopy() as copies:
            copies.start(result, place)
            arrivals[0].happened.set()
        assert torch.equal(place, torch.Tensor(result))


def test_what_fails_on_the_way_is_told_at_the_end(arrivals, monkeypatch):
    def fail(_):
        raise RuntimeError("the device was lost")

    monkeypatch.setattr(Arrival, "synchronize", fail)
    with pytest.raises(RuntimeError, match="the device was lost"), AsyncHostCopy() as copies:
        copies.start(remote(1, 2, 2), torch.zeros(1, 2, 2))


def test_what_fails_on_the_way_does_not_hide_what_failed_before_the_end(arrivals, monkeypatch):
    monkeypatch.setattr(Arrival, "synchronize", lambda _: 1 / 0)
    with pytest.raises(KeyError), AsyncHostCopy() as copies:  # noqa: PT012 - its end is tested
        copies.start(remote(1, 2, 2), torch.zeros(1, 2, 2))
        raise KeyError


def test_without_pinned_memory_a_result_comes_down_as_any_other(monkeypatch):
    def full(_):
        raise torch.OutOfMemoryError("CUDA error: out of memory")

    monkeypatch.setattr(host_copy, "_LARGE", 0)
    monkeypatch.setattr(host_copy, "_copied_to_pinned", full)
    place, result = torch.zeros(3, 8, 8), remote(3, 8, 8)
    with AsyncHostCopy() as copies:
        copies.start(result, place)
        assert torch.equal(place, torch.Tensor(result))


class AtEnd:
    """An executor of an interpreter that is about to end."""

    def __init__(self, *_):
        pass

    def submit(self, *_):
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def shutdown(self):
        pass


def test_a_call_that_outlives_the_main_thread_does_without_another_thread(arrivals, monkeypatch):
    monkeypatch.setattr(host_copy, "ThreadPoolExecutor", AtEnd)
    monkeypatch.setattr(Arrival, "synchronize", lambda _: None)
    place, result = torch.zeros(3, 8, 8), remote(3, 8, 8)
    with AsyncHostCopy() as copies:
        copies.start(result, place)
    assert torch.equal(place, torch.Tensor(result))


def test_large_results_are_put_in_place_at_once_where_asked_for(arrivals):
    place, result = torch.zeros(3, 8, 8), remote(3, 8, 8)
    with AsyncHostCopy(at_once=True) as copies:
        copies.start(result, place)
        assert torch.equal(place, torch.Tensor(result))
    assert not arrivals


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_only_gpus_have_pinned_memory(arrivals, monkeypatch, kind):
    monkeypatch.setattr(Remote, "device", torch.device(kind))
    place, result = torch.zeros(3, 8, 8), remote(3, 8, 8)
    with AsyncHostCopy() as copies:
        copies.start(result, place)
    assert torch.equal(place, torch.Tensor(result))
    assert not arrivals


def test_small_results_are_put_in_place_at_once(monkeypatch):
    def never(_):
        raise AssertionError

    monkeypatch.setattr(host_copy, "_copied_to_pinned", never)
    place, result = torch.zeros(3, 8, 8), remote(3, 8, 8)
    with AsyncHostCopy() as copies:
        copies.start(result, place)
        assert torch.equal(place, torch.Tensor(result))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_tiles_are_all_there_when_the_call_ends(arrivals, monkeypatch, dtype):
    monkeypatch.setattr(Arrival, "synchronize", lambda _: None)
    picture = (torch.rand(3, 70, 90) * 255).to(dtype)
    canvas = torch.zeros(3, 70, 90, dtype=dtype)
    run_tiles([picture], [canvas], lambda x, _: x.as_subclass(Remote), TilePolicy(32, 2))
    assert torch.equal(canvas, picture)
    assert len(arrivals) == len(TilePolicy(32, 2).tiles(70, 90)) > 4
