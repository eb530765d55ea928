"""Forked processes: a child of one that has computed would otherwise wait in torch for ever.

OpenMP's threads are not forked along with the process, and its pool does not notice. This concerns
servers that load an application and then fork their workers, as gunicorn does with ``--preload``. A
process that is forked while another thread computes may wait for a lock that this thread held; only
spawning helps there.
"""

from __future__ import annotations

import os
from functools import cache, partial

import torch


@cache
def compute_on_one_thread_after_forks() -> None:
    """Let processes that are forked from this one compute on one thread, which needs no pool."""
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))
