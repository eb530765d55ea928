"""Which batches run as CUDA graphs; what graphs give is in test_cuda.py."""

from __future__ import annotations

import copy
import logging

import pytest
import torch

from preproc.execution import graphs
from preproc.execution.graphs import MAX_GRAPHS, MAX_PIXELS, Graphs


@pytest.fixture
def made(monkeypatch):
    """The shapes for which graphs were made; such a graph adds 100."""
    shapes = []

    def capture(_run, example, shared):
        assert shared == example.device
        shapes.append(example.shape)

        def replay(batch):
            assert batch.shape == example.shape
            return batch + 100

        return replay

    monkeypatch.setattr(graphs, "_Graph", capture)
    monkeypatch.setattr(graphs, "_Shared", lambda device: device)
    return shapes


def test_a_shape_that_comes_a_third_time_becomes_a_graph(made):
    run = Graphs(lambda batch: batch + 1)
    for value in range(5):
        batch = torch.full((1, 3, 4, 5), float(value))
        torch.testing.assert_close(run(batch), batch + (1 if value < 2 else 100))
    assert made == [(1, 3, 4, 5)]


def test_large_batches_never_do(made):
    run = Graphs(lambda batch: batch + 1)
    batch = torch.zeros(2, 1, MAX_PIXELS // 2, 1)
    for _ in range(3):
        larger = torch.zeros(2, 1, MAX_PIXELS // 2 + 1, 1)
        torch.testing.assert_close(run(larger), larger + 1)
        run(batch)
    assert made == [batch.shape]


def test_the_shape_used_longest_ago_makes_room(made):
    run = Graphs(lambda batch: batch + 1)
    batches = [torch.zeros(1, 3, 1, width) for width in range(1, MAX_GRAPHS + 2)]
    for batch in batches[:-1] * 3:
        run(batch)
    run(batches[0])
    for _ in range(3):
        run(batches[-1])
    assert len(made) == MAX_GRAPHS + 1
    run(batches[0])  # kept: it was used after the second
    assert len(made) == MAX_GRAPHS + 1
    run(batches[1])
    assert made[-1] == batches[1].shape


def test_a_copy_has_graphs_of_its_own(made):
    run = Graphs(torch.neg)
    batch = torch.ones(1, 3, 2, 2)
    for _ in range(3):
        run(batch)
    assert len(made) == 1
    assert copy.deepcopy(run)(batch).eq(-1).all()


def test_what_cannot_be_captured_runs_as_before(made, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "_Graph", fail)
    run = Graphs(lambda batch: batch + 1)
    with caplog.at_level(logging.INFO, "preproc.execution.graphs"):
        for _ in range(6):
            assert run(torch.zeros(1, 3, 2, 2)).eq(1).all()
    assert len(caplog.records) == 1
    assert "not permitted" in caplog.text
