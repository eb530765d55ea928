"""Copies of results from a GPU to their places on the host, while the GPU goes on.

A copy from a GPU into pageable memory is synchronous, and the GPU idles while the host puts rows
where they belong. Here a large result is copied into pinned memory, and a thread puts it in place
while the next is computed. Only one copy is in flight, so that they do not pile up. Small results,
and those on the host or other devices, are put in place at once.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from preproc.execution.memory import is_out_of_memory

_LARGE = 2**20  # values; for fewer, handing them to a thread takes longer than copying them


class AsyncHostCopy:
    """Copies results to their places; a context, at whose end all are there.

    Args:
        at_once: whether large results, too, are put in place at once, for comparison.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self._at_once = at_once
        self._thread = ThreadPoolExecutor(1, "host-copy")  # starts none before it has work
        self._last: Future[None] | None = None

    def __enter__(self) -> AsyncHostCopy:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until all are in place."""
        self._thread.shutdown()
        if error is None:
            self._wait()

    def start(self, result: Tensor, place: Tensor) -> None:
        """Start to copy a result (C, H, W) on any device to its place, of the same dtype."""
        if self._at_once or result.device.type != "cuda" or result.numel() < _LARGE:
            place.copy_(result)
            return
        self._wait()
        # Transpose on the GPU, where it is cheap, into the layout of the place.
        order = (1, 2, 0) if place.stride(0) == 1 else (0, 1, 2)
        try:
            copied, staged = _copied_to_pinned(result.permute(order).contiguous())
        except RuntimeError as error:
            if not is_out_of_memory(error):  # there is less of pinned memory than of other
                raise
            place.copy_(result)
            return
        try:
            self._last = self._thread.submit(_place, copied, staged, place.permute(order))
        except RuntimeError:  # the interpreter is shutting down and starts no further work
            _place(copied, staged, place.permute(order))

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()


def _copied_to_pinned(result: Tensor) -> tuple[torch.cuda.Event, Tensor]:
    """A copy on the host that is there once an event has happened."""
    with torch.cuda.device_of(result):  # type: ignore[no-untyped-call]
        staged = result.to("cpu", non_blocking=True)  # which torch puts into pinned memory
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
    return copied, staged


def _place(copied: torch.cuda.Event, staged: Tensor, place: Tensor) -> None:
    copied.synchronize()
    with torch.inference_mode():  # which is a thread's own, and what the place was made in
        place.copy_(staged)
