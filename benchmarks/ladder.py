"""What each step of the form for inference gives, one after the other, on this machine.

    python -m benchmarks.ladder --model cajnn-light --size 512x512

Steps take turns in one process; medians of processor time on a CPU (one thread), of time that
passes on a GPU. The last column is the largest difference from the first row's picture in 1/255.
With --profile, what the last step but compiling spends its time on, by torch's profiler.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from preproc.bench.sizes import parse_size
from preproc.bench.timing import Timing
from preproc.errors import ModelError
from preproc.execution.devices import choose_device, choose_dtype, dtype_name
from preproc.execution.heap import keep_heap
from preproc.execution.sizes import sizes_for
from preproc.execution.strips import Strips
from preproc.manifest import entries
from preproc.networks import find
from preproc.networks.blocks import SubPixel
from preproc.networks.cajnn import CAJNN, DenseBlock
from preproc.networks.convolution import Conv2d, ResidualConv2d
from preproc.weights import load_network

LARGE_STRIP = 2**15
"""LR px of strips that do not fit a CPU's caches, to show what those that do are worth."""


HEAP = "+ heap kept"
"""The one step that changes the process and not the network; listed before the compiled form."""


def steps(device: torch.device, dtype: torch.dtype) -> dict[str, Callable[[CAJNN], nn.Module]]:
    """Each step takes the network of the step before, and may change it.

    A step that does something else on a GPU has another name there.
    """

    def cast(n: CAJNN) -> nn.Module:
        for conv in _convolutions(n):
            if isinstance(conv, ResidualConv2d):
                conv.fold()
            conv.cast(dtype)
        return n

    def fuse(n: CAJNN) -> nn.Module:
        for module in n.modules():
            if isinstance(module, DenseBlock):
                module.prepare(dtype)
        return n

    def share(n: CAJNN) -> nn.Module:
        n._shares_stacks = True
        return n

    def place(n: CAJNN) -> nn.Module:
        for module in n.modules():
            if isinstance(module, SubPixel):
                module.prepare(dtype)
        return n

    def pack(n: CAJNN) -> nn.Module:
        for conv in _convolutions(n):
            conv.pack()
        return n

    def split(n: CAJNN) -> nn.Module:
        n.conv_last.split(dtype)
        return n

    def compile_blocks(n: CAJNN) -> nn.Module:
        n.compile_blocks()
        return Strips(n, pixels=strip)

    strip = sizes_for(device).strip
    trained: dict[str, Callable[[CAJNN], nn.Module]] = {
        "as trained, channels_last, autocast": lambda n: n
    }
    compiled = {"+ blocks compiled instead": compile_blocks}
    if device.type == "cuda":
        return {
            **trained,
            # The kernels take parameters as they were trained.
            "+ dense blocks in kernels of their own": fuse,
            "+ parameters cast once": cast,
            "+ stacks in two buffers": share,
            "+ whole rows placed": place,
            "+ epilogues in one pass": pack,
            f"+ last convolution in {dtype_name(dtype)}": split,
            f"+ tail in strips of {strip} px": partial(Strips, pixels=strip),
            **compiled,
        }
    return {
        **trained,
        "+ parameters cast once, scales among the weights": cast,
        "+ stacks in two buffers": share,
        "+ whole rows placed": place,
        "+ weights packed, activations and sums fused": pack,
        "+ last convolution in two parts": split,
        f"+ tail in strips of {LARGE_STRIP} px": partial(Strips, pixels=LARGE_STRIP),
        f"+ tail in strips of {strip} px": partial(Strips, pixels=strip),
        **compiled,
    }


def main(args: Sequence[str] | None = None) -> None:
    """Print the ladder."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="cajnn-light", help="cajnn, cajnn-light (default)")
    parser.add_argument("--size", default="128x128", help="WxH or a name (default: 128x128)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    parser.add_argument("--weights", type=Path, help="safetensors (default: the shipped ones)")
    parser.add_argument(
        "--runs", type=arguments.count, default=5, help="warm runs of each step (default: 5)"
    )
    parser.add_argument("--profile", action="store_true", help="list kernels and operators, too")
    options = parser.parse_args(args)
    height, width = parse_size(options.size)
    device = choose_device(options.device)
    descriptor = find(options.model)
    dtype = choose_dtype(device, None, descriptor.dtypes)
    network = _network(options.model, options.weights).to(device)
    network = network.requires_grad_(False).to(memory_format=torch.channels_last)
    timing = Timing(device, clock="cpu" if device.type == "cpu" else "wall")
    if device.type == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, -(-height // 8), -(-width // 8), device=device)
    x = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    x = x.to(memory_format=torch.channels_last)

    forms: dict[str, nn.Module] = {}
    current = network
    for name, step in steps(device, dtype).items():
        shared = {id(p): p for p in current.parameters()}
        current = copy.deepcopy(current, shared)
        forms[name] = step(current).eval()
    pictures = {name: _run(form, x, dtype) for name, form in forms.items()}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(options.runs):
        for name, form in forms.items():
            times[name].append(timing.take(lambda form=form: _run(form, x, dtype)))  # type: ignore[misc]
    if device.type == "cpu":
        # For the whole process and for good, so that it comes after all others have been timed.
        keep_heap()
        compiled, fastest = list(forms)[-1], list(forms.values())[-2]
        runs = range(options.runs + 1)
        times[HEAP] = [timing.take(lambda: _run(fastest, x, dtype)) for _ in runs][1:]
        pictures[HEAP] = _run(fastest, x, dtype)
        times[compiled] = times.pop(compiled)  # listed last: the heap is kept without it
    write = sys.stdout.write
    write(f"{options.model}, {width}x{height}, {dtype}, {device}, torch {torch.__version__}\n")
    write(table(times, pictures, height * width))
    if options.profile:
        write(_profiled([*forms.values()][-2], x, dtype))


def table(times: Mapping[str, Sequence[float]], pictures: Mapping[str, Tensor], px: int) -> str:
    """The median of each step's seconds, and how its picture of ``px`` differs from the first's."""
    lines = [f"{'step':50}{'ms':>10}{'LR kpx/s':>10}{'x first':>9}{'diff/255':>10}\n"]
    first = next(iter(times))
    for name, taken in times.items():
        seconds = median(taken)
        gain = median(times[first]) / seconds
        off = float((pictures[name] - pictures[first]).abs().max() * 255)
        speed = px / seconds / 1e3
        lines.append(f"{name:50}{1e3 * seconds:10.1f}{speed:10.2f}{gain:9.2f}{off:10.4f}\n")
    return "".join(lines)


def _convolutions(network: nn.Module) -> list[Conv2d]:
    return [module for module in network.modules() if isinstance(module, Conv2d)]


def _profiled(network: nn.Module, x: Tensor, dtype: torch.dtype) -> str:
    """The kernels, on a CPU operators, that most of a pass' time goes to."""
    device = ProfilerActivity.CPU if x.device.type == "cpu" else ProfilerActivity.CUDA
    with profile(activities=[device]) as passes:
        _run(network, x, dtype)
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
    key = f"self_{device.name.lower()}_time_total"
    table: str = passes.key_averages().table(sort_by=key, row_limit=12, max_name_column_width=60)
    return f"{table}\n"


def _network(model: str, weights: Path | None) -> CAJNN:
    descriptor = find(model)
    shipped = (model, descriptor.scale) in entries()
    torch.manual_seed(0)
    network = load_network(descriptor, weights) if weights or shipped else descriptor.build()
    if not isinstance(network, CAJNN):
        raise ModelError(f"The ladder is that of CAJNN, and {model} is none.")
    return network.eval()


@torch.inference_mode()
def _run(network: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        picture: Tensor = network(x)
    return picture


if __name__ == "__main__":
    sys.exit(exit_code(main))
