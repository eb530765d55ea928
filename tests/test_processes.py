"""Enhancers go to other processes, and do not hang in those that are forked."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Tiny
from sample_pictures import smooth

from preproc import Enhancer, EnhancerModule
from preproc.networks import ModelDescriptor, register, registry
from preproc.weights import save_state


@pytest.mark.parametrize("name", ["cajnn-light", "cisrnet-light", "cisrnet-light-coarse"])
def test_an_enhancer_goes_to_other_processes(name, rng):
    scale = 4 if name.startswith("cajnn") else 2
    enhancer = Enhancer(name, scale=scale, device="cpu", self_ensemble=True)
    array = smooth(rng, 12, 17)
    travelled = pickle.loads(pickle.dumps(enhancer))
    np.testing.assert_array_equal(travelled(array), enhancer(array))


def test_an_enhancer_that_came_from_another_process_is_safe_to_fork_with(make, monkeypatch):
    sent, calls = pickle.dumps(make()), []
    home = sys.modules[Enhancer.__module__]
    monkeypatch.setattr(home, "compute_on_one_thread_after_forks", lambda: calls.append("safe"))
    pickle.loads(sent)
    assert calls == ["safe"]


def test_an_enhancer_of_a_network_that_is_not_picklable_can_be_copied(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    register(ModelDescriptor(name="own", scale=4, build=lambda: Tiny()))  # noqa: PLW0108
    save_state(tmp_path / "own.safetensors", Tiny().state_dict(), torch.float32)
    enhance = Enhancer("own", weights=tmp_path / "own.safetensors", device="cpu")
    picture = smooth(rng, 9, 7)
    for other in (copy.copy(enhance), copy.deepcopy(enhance)):
        np.testing.assert_array_equal(other(picture), enhance(picture))


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted as Linux tells them")
def test_an_enhancer_goes_to_other_processes_without_a_descriptor_for_each_tensor(make):
    before = len([*Path("/proc/self/fd").iterdir()])
    sent = ForkingPickler.dumps(make())
    assert len([*Path("/proc/self/fd").iterdir()]) <= before
    assert len(sent) > 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_forked_once_an_enhancer_was_made_does_not_wait_for_ever(tmp_path):
    (tmp_path / "module").write_bytes(pickle.dumps(EnhancerModule()))
    code = """
import os, pathlib, pickle, sys, torch
from preproc import Enhancer, EnhancerModule

def in_a_fork(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]

def forked_once_made(make, called):  # in a fork itself, as no threads have been started there
    torch.set_num_threads(2)
    enhance, picture = make(), torch.zeros(1, 3, 40, 40)
    if called:
        enhance(picture)
    failed = in_a_fork(lambda: enhance(picture).shape[-1] != 160)
    return failed or torch.get_num_threads() != 2

read = pathlib.Path(sys.argv[1]).read_bytes
for make, called in [
    (lambda: Enhancer(device="cpu"), False),
    (lambda: Enhancer(device="cpu"), True),
    (EnhancerModule, True),
    (lambda: pickle.loads(read()), True),
]:
    print(in_a_fork(lambda: forked_once_made(make, called)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "module"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["0"] * 4
