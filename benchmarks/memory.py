"""Host memory that a large picture needs above the arrays that go in and come out.

    python -m benchmarks.memory --model cajnn-light --size 11547x8660 --every 60

On a CPU, returned to input size. Memory of one tile is used again by the next, so only every n-th
tile goes through the network, besides the last, and the others are passed on as they are: the peak
is that of the whole, the picture is not. Linux only.
"""

from __future__ import annotations

import argparse
import sys
from itertools import count

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from preproc import Enhancer
from preproc.bench.peak_memory import resident_memory
from preproc.bench.sizes import parse_size
from preproc.errors import PreprocError


def sampled(enhancer: Enhancer, every: int, last: int) -> None:
    """Let the network see every n-th tile and the last one only."""
    apply, numbers = enhancer._apply, count()

    def some(batch: Tensor, mask: Tensor | None = None) -> Tensor:
        number = next(numbers)
        if number % every == 0 or number == last:
            return apply(batch, mask)
        return batch.clone()

    enhancer._apply = some


def coloured(height: int, width: int, kind: str) -> object:
    """A picture of a kind, in colour, since grey that is stored as RGB is computed as grey."""
    rows = np.arange(height, dtype=np.uint32)[:, None, None] * 7 % 251
    img = np.empty((height, width, 3), np.uint8)
    img[:] = rows + np.arange(3, dtype=np.uint32)
    if kind == "uint16":
        return img.astype(np.uint16) * 257
    if kind == "float32":
        floats = img.astype(np.float32)
        floats /= 255
        return floats
    return Image.fromarray(img) if kind == "pil" else img


def main() -> None:
    """Measure once; the peak of a process only ever rises."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="cajnn-light")
    parser.add_argument("--weights")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--size", default="11547x8660", help="width x height in px")
    parser.add_argument(
        "--kind",
        choices=["uint8", "uint16", "float32", "pil"],
        default="uint8",
        help="what goes in and comes out (default: uint8)",
    )
    parser.add_argument(
        "--every",
        type=arguments.count,
        default=60,
        help="one tile of so many goes through the network (default: 60)",
    )
    args = parser.parse_args()

    torch.set_num_threads(1)
    height, width = parse_size(args.size)
    enhancer = Enhancer(
        args.model, weights=args.weights, dtype=args.dtype, device="cpu", to_input_size=True
    )
    tiles = len(enhancer._policy.tiles(height, width))
    sampled(enhancer, args.every, tiles - 1)
    picture = coloured(height, width, args.kind)
    # Pillow keeps RGB in four bytes a px.
    size = picture.nbytes if isinstance(picture, np.ndarray) else 4 * height * width
    before = resident_memory()
    if before is None:
        raise PreprocError("Resident memory is known on Linux only.")
    result = enhancer(picture)
    peak = resident_memory("VmHWM")
    assert type(result) is type(picture)
    assert peak is not None
    above = peak - before - size
    sys.stdout.write(
        f"{args.model} {args.dtype} {args.kind} {height * width / 1e6:.0f} Mpx, {tiles} tiles: "
        f"input {size / 1e9:.2f} GB, output the same, {above / 1e9:.2f} GB above them\n"
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
