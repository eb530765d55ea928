"""Small batches on a GPU as CUDA graphs, which launch all their kernels at once.

With small pictures the host takes longer to launch a network's hundreds of kernels than the GPU to
compute them. A graph records all launches for one shape of batch and replays them at once.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

MAX_PIXELS = 2**16
"""LR px of the largest batch that is worth a graph; larger ones keep the GPU busy by themselves."""
MAX_GRAPHS = 8
"""Shapes whose graphs are kept, those used last; each holds the memory of its pass."""
_RUNS_BEFORE = 2  # of a shape: a graph costs as much as two runs, and needs its kernels loaded
_MAX_COUNTED = 1024
_capturing = Lock()  # one at a time: preparing a capture breaks another on the same device
_log = logging.getLogger(__name__)


class Graphs:
    """Runs a function of one batch, as a graph where the same shape comes again and again.

    May be called from several threads and streams; graphs of one object run one after the other,
    since they share their memory.

    Args:
        run: maps a tensor on a CUDA device to another. It must not branch on values, nor read
            memory that may be freed while a graph exists.
    """

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        self._run = run
        self._graphs: OrderedDict[torch.Size, _Graph] = OrderedDict()
        self._seen: Counter[torch.Size] = Counter()
        self._lock = Lock()
        self._shared: _Shared | None = None
        self._works = True

    def __call__(self, batch: Tensor) -> Tensor:
        """The function of (N, C, H, W), in memory of its own."""
        count, _, height, width = batch.shape
        if not self._works or count * height * width > MAX_PIXELS:
            return self._run(batch)
        with self._lock:
            graph = self._graphs.get(batch.shape)
            if graph is None and self._is_wanted(batch.shape):
                graph = self._captured(batch)
            if graph is not None:
                self._graphs.move_to_end(batch.shape)
                return graph(batch)
        return self._run(batch)

    def __reduce__(self) -> tuple[type[Graphs], tuple[Callable[[Tensor], Tensor]]]:
        """A copy is made without graphs, which belong to the memory that they use."""
        return Graphs, (self._run,)

    def _is_wanted(self, shape: torch.Size) -> bool:
        if len(self._seen) >= _MAX_COUNTED:
            self._seen.clear()
        self._seen[shape] += 1
        return self._works and self._seen[shape] > _RUNS_BEFORE

    def _captured(self, batch: Tensor) -> _Graph | None:
        if len(self._graphs) == MAX_GRAPHS:
            self._graphs.popitem(last=False)
        try:
            if self._shared is None:
                self._shared = _Shared(batch.device)
            graph = self._graphs[batch.shape] = _Graph(self._run, batch, self._shared)
        except RuntimeError as error:  # memory is full, or something waits for the device
            _log.info("Small batches run without CUDA graphs from now on: %s", error)
            self._works = False
            self._graphs.clear()
            return None
        return graph


class _Shared:
    """What the graphs of one function share on their device.

    Attributes:
        pool: handle of their memory; torch does not document its type.
        stream: what is captured. Torch's usual one is on whatever device was the first to capture,
            and on another device nothing would be.
        done: happens when the last of them has run and its result has been copied.
    """

    def __init__(self, device: torch.device) -> None:
        with torch.cuda.device(device):
            self.pool: Any = torch.cuda.graph_pool_handle()
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]


class _Graph:
    """The launches of a function for batches like one; its input and output have fixed places."""

    def __init__(self, run: Callable[[Tensor], Tensor], batch: Tensor, shared: _Shared) -> None:
        self._shared = shared
        self._input = batch.clone(memory_format=torch.preserve_format)
        self._graph = torch.cuda.CUDAGraph()
        with (
            _capturing,
            torch.cuda.device(batch.device),
            # Older versions of torch stay on the stream of a capture that failed.
            torch.cuda.stream(torch.cuda.current_stream()),
        ):
            torch.cuda.synchronize()
            # Other threads may go on meanwhile.
            with torch.cuda.graph(
                self._graph, shared.pool, shared.stream, capture_error_mode="thread_local"
            ):
                self._output = run(self._input)

    def __call__(self, batch: Tensor) -> Tensor:
        with torch.cuda.device(batch.device):
            self._shared.done.wait()
            self._input.copy_(batch)
            self._graph.replay()
            output = self._output.clone(memory_format=torch.preserve_format)
            self._shared.done.record()
        return output
