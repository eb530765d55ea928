from __future__ import annotations

import ctypes
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from live_memory import LiveMemory
from torch import nn

from preproc.errors import (
    DeviceMemoryError,
    DeviceWarning,
    ModelError,
    OptionError,
    PrecisionWarning,
)
from preproc.execution import devices
from preproc.execution.devices import choose_device, choose_dtype
from preproc.execution.ensemble import geometric_self_ensemble
from preproc.execution.heap import keep_heap
from preproc.execution.memory import explain_out_of_memory
from preproc.execution.runtime import Precision, Runtime
from preproc.networks.inference import Preparable

CPU = torch.device("cpu")


class Fails(nn.Module):
    """Does what a function does, and remembers whether autocast was on."""

    def __init__(self, function):
        super().__init__()
        self.function, self.autocast = function, []

    def forward(self, x):
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return self.function(x)


class Shortened(nn.Module, Preparable):
    """Infinite in a short form for inference, and nowhere else."""

    prepared = None

    def prepare(self, dtype):
        self.prepared = dtype

    def forward(self, x):
        return x / 0 if self.prepared == torch.bfloat16 else x


def test_infinite_output_in_a_short_dtype_is_computed_again_in_float32():
    network = Fails(lambda x: x / 0 if torch.is_autocast_enabled("cpu") else x)
    x = torch.rand(1, 3, 4, 4)
    with pytest.warns(PrecisionWarning, match="net gave NaN .* bfloat16 on cpu"):
        y = Runtime(network, CPU, Precision(torch.bfloat16), "net")(x)
    assert torch.equal(y, x)
    assert network.autocast == [True, False]


def test_after_one_failure_of_a_short_dtype_all_is_float32_with_one_warning():
    network = Fails(lambda x: x / 0 if torch.is_autocast_enabled("cpu") else x)
    runtime, x = Runtime(network, CPU, Precision(torch.bfloat16), "net"), torch.rand(1, 3, 4, 4)
    with pytest.warns(PrecisionWarning, match="again in float32, and all that follows") as caught:
        answers = [runtime(x) for _ in range(3)]
    assert all(torch.equal(answer, x) for answer in answers)
    assert len(caught) == 1
    assert network.autocast == [True, False, False, False]
    assert runtime.dtype == torch.float32


def test_the_form_for_inference_is_made_anew_for_float32():
    network = Shortened()
    runtime, x = Runtime(network, CPU, Precision(torch.bfloat16), "net"), torch.rand(1, 3, 4, 4)
    with pytest.warns(PrecisionWarning):
        runtime(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(runtime(x), x)
    assert runtime._run.args[0].prepared == torch.float32


def test_all_ways_in_which_a_network_runs_leave_a_short_dtype_together():
    precision, x = Precision(torch.bfloat16), torch.rand(1, 3, 4, 4)
    networks = Shortened(), Fails(lambda x: x)
    failing, other = (Runtime(network, CPU, precision, "net") for network in networks)
    other(x)
    with pytest.warns(PrecisionWarning):
        failing(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other(x)
    assert networks[1].autocast == [True, False]
    assert failing.dtype == other.dtype == torch.float32


def test_finite_output_is_computed_once_without_a_warning():
    network = Fails(lambda x: x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Runtime(network, CPU, Precision(torch.bfloat16))(torch.rand(1, 3, 4, 4))
    assert network.autocast == [True]


def test_what_is_to_be_float32_stays_it_whatever_the_caller_s_autocast():
    network = Fails(lambda x: x)
    runtime = Runtime(network, CPU, Precision(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        runtime(torch.rand(1, 3, 4, 4))
    assert network.autocast == [False]


def test_output_that_stays_infinite_is_an_error():
    runtime = Runtime(Fails(lambda x: x * float("nan")), CPU, Precision(torch.bfloat16), "net")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it would say that all that follows is in float32
        with pytest.raises(ModelError, match="net gives NaN or infinite values even in float32"):
            runtime(torch.rand(1, 3, 4, 4))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 110.72 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError(
            "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB, max allowed: 9 GB)"),
        RuntimeError("Storage size calculation overflowed with sizes=[1, 3, 9, 9]"),
        MemoryError(),
    ],
)
def test_full_memory_of_every_kind_is_one_error_that_says_what_to_do(error):
    def fail(_):
        raise error

    with pytest.raises(DeviceMemoryError, match=r"net ran out of memory on cpu with 2 .*4x5 px"):
        Runtime(Fails(fail), CPU, Precision(torch.float32), "net")(torch.rand(2, 3, 4, 5))
    assert issubclass(DeviceMemoryError, MemoryError), "what run_tiles waits for"


@pytest.mark.parametrize(
    ("in_pieces", "advice"), [(False, "a smaller tile="), (True, "a map_folder= on a disk")]
)
def test_what_to_do_about_full_memory_depends_on_what_filled_it(in_pieces, advice):
    def fail(_):
        raise MemoryError

    with pytest.raises(DeviceMemoryError, match=f"at once; choose {advice}"):
        Runtime(Fails(fail), CPU, Precision(torch.float32), in_pieces=in_pieces)(
            torch.rand(1, 3, 4, 5)
        )


def test_the_allocators_own_words_are_known():
    with pytest.raises(DeviceMemoryError):
        Runtime(Fails(lambda _: torch.empty(2**60)), CPU, Precision(torch.float32))(
            torch.rand(1, 3, 4, 4)
        )


def test_other_errors_of_a_network_pass_through():
    def fail(_):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        Runtime(Fails(fail), CPU, Precision(torch.float32))(torch.rand(1, 3, 4, 4))


def test_output_is_float32_and_input_is_channels_last():
    formats = []

    def watch(x):
        formats.append(x.is_contiguous(memory_format=torch.channels_last))
        return x.bfloat16()

    assert (
        Runtime(Fails(watch), CPU, Precision(torch.bfloat16))(torch.rand(2, 3, 8, 8)).dtype
        == torch.float32
    )
    assert formats == [True]


def test_no_such_device_is_one_sentence():
    absent = [] if torch.backends.mps.is_available() else ["mps"]
    for name in ("abacus", "cuda:99", "hpu", *absent):
        with pytest.raises(OptionError, match=f"Device '{name}' cannot be used") as caught:
            choose_device(name)
        assert len(str(caught.value)) < 300, "torch lists all kinds there are"


def test_device_is_cuda_where_there_is_one():
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_has_its_index(monkeypatch):
    assert choose_device("cpu") == CPU
    tried = SimpleNamespace(item=lambda: 1.0, device=torch.device("cuda", 1))
    asked = []

    def zeros(_, device):
        asked.append(device)
        return SimpleNamespace(add_=lambda _: tried)

    with monkeypatch.context() as context:
        context.setattr(torch.cuda, "is_available", lambda: True)
        context.setattr(torch, "zeros", zeros)
        assert choose_device() == choose_device("cuda") == torch.device("cuda", 1)
        choose_device(0)  # the first, whichever is the current one
    assert asked == ["cuda", "cuda", 0]


def test_a_gpu_without_kernels_is_left_for_the_cpu_and_said_to_be(monkeypatch):
    def old(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available for execution\nmore")

    with monkeypatch.context() as context:
        context.setattr(torch.cuda, "is_available", lambda: True)
        context.setattr(torch, "zeros", old)
        with pytest.warns(
            DeviceWarning, match=r"cannot be used \(CUDA error: no kernel.*execution\)"
        ):
            assert choose_device() == CPU
        with pytest.raises(OptionError, match="Device 'cuda' cannot be used"):
            choose_device("cuda")


def test_a_device_that_is_full_where_results_lie_is_not_the_main_memory():
    full = pytest.raises(DeviceMemoryError, match="The device's memory is full")
    with full, explain_out_of_memory("The main memory is full."):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_the_first_sentence_about_full_memory_is_the_one_that_is_told():
    with (
        pytest.raises(DeviceMemoryError, match="of the part"),
        explain_out_of_memory("of the whole"),
        explain_out_of_memory("of the part"),
    ):
        raise MemoryError


@pytest.mark.parametrize(
    ("features", "safe", "expected"),
    [
        ({"avx512_bf16"}, [torch.bfloat16], torch.bfloat16),
        ({"amx_bf16", "avx2"}, [torch.float16, torch.bfloat16], torch.bfloat16),
        ({"avx2", "avx512f"}, [torch.bfloat16], torch.float32),
        ({"amx_bf16"}, [], torch.float32),
        ({"amx_bf16"}, [torch.float16], torch.float32),
    ],
)
def test_a_cpu_gets_bfloat16_only_with_units_for_it(monkeypatch, features, safe, expected):
    monkeypatch.setattr(devices, "_cpu_features", lambda: features)
    assert choose_dtype(CPU, None, safe) == expected


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5), torch.float32),
        ("GeForce GTX 1650", (7, 5), torch.float32),
        ("NVIDIA GeForce RTX 2060", (7, 5), torch.float16),
        ("Tesla T4", (7, 5), torch.float16),
        ("NVIDIA GeForce GTX 1080", (6, 1), torch.float32),
        ("Tesla V100-SXM2-16GB", (7, 0), torch.float16),
        ("NVIDIA A100-SXM4-40GB", (8, 0), torch.bfloat16),
        ("NVIDIA H100 80GB HBM3", (9, 0), torch.bfloat16),
    ],
)
def test_a_gpu_gets_half_precision_only_with_units_for_it(monkeypatch, name, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    safe = [torch.bfloat16, torch.float16]
    assert choose_dtype(torch.device("cuda"), None, safe) == expected


def test_cpu_features_are_those_the_system_names():
    assert not devices._cpu_features() or devices._cpu_features() & {"sse2", "neon", "asimd", "fp"}


def test_cpu_features_that_torch_says_are_absent_are_not_there(monkeypatch):
    told = {"architecture": "x86_64", "avx2": True, "amx_bf16": False, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert devices._cpu_features() == {"avx2"}


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="asks Linux")
def test_where_torch_does_not_tell_a_cpu_s_features_the_system_does(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert devices._cpu_features() & {"sse2", "neon", "asimd", "fp"}


@pytest.mark.parametrize("name", ["bfloat16", "torch.bfloat16", torch.bfloat16])
def test_the_user_may_force_a_dtype(name):
    assert choose_dtype(CPU, name, ()) == torch.bfloat16


@pytest.mark.parametrize("name", ["int8", torch.int8, torch.float64, "double"])
def test_other_dtypes_are_refused(name):
    with pytest.raises(OptionError, match="dtype must be 'float32', 'bfloat16' or 'float16'"):
        choose_dtype(CPU, name, ())


def symmetries(x):
    for variant in (x, x.mT):
        for axes in ((), (-1,), (-2,), (-1, -2)):
            yield variant.flip(axes)


def test_self_ensemble_runs_all_eight_symmetries_once():
    x, seen = torch.arange(12.0).reshape(1, 1, 3, 4), []
    geometric_self_ensemble(lambda v, _: seen.append(v.clone()) or v, x)
    assert len(seen) == 8
    for wanted in symmetries(x):
        assert sum(torch.equal(wanted, v) for v in seen) == 1


def test_self_ensemble_keeps_one_result_while_the_next_is_computed():
    held = []

    def enlarge(x, _):
        held.append(memory.live)
        return x.repeat_interleave(4, -2).repeat_interleave(4, -1)

    with LiveMemory() as memory:
        geometric_self_ensemble(enlarge, torch.rand(1, 3, 64, 64))
    one_result = 3 * 256 * 256 * 4
    assert max(held) < 1.2 * one_result


def test_self_ensemble_turns_results_back():
    x = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(geometric_self_ensemble(lambda v, _: v, x), x)


def test_self_ensemble_commutes_with_every_symmetry():
    kernel = torch.rand(1, 1, 3, 3)

    def ensemble(x):
        return geometric_self_ensemble(lambda v, _: torch.conv2d(v, kernel, padding=1).tanh(), x)

    x = torch.rand(1, 1, 6, 9)
    for turned, wanted in zip(symmetries(x), symmetries(ensemble(x)), strict=True):
        torch.testing.assert_close(ensemble(turned), wanted)


class HeapFacts(ctypes.Structure):
    """What glibc's mallinfo2 tells."""

    _fields_ = [("values", ctypes.c_size_t * 10)]

    @property
    def mapped(self):
        """Bytes in blocks that were mapped by themselves."""
        return self.values[4]


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_memory_that_tensors_free_is_kept_for_the_next_ones():
    facts = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if facts is None:
        pytest.skip("no glibc that tells what its heap is like")
    facts.restype = HeapFacts
    keep_heap()
    before = facts().mapped
    large = torch.empty(2**25 - 2**17, dtype=torch.uint8)
    assert facts().mapped == before, "it is mapped by itself, and then unmapped"
    del large
