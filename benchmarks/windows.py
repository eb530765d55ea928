"""What it costs a network that pools over the whole picture to pool over tiles instead.

    python -m benchmarks.windows --model cisrnet-light-coarse --scale 2 --data DIR

``Enhancer(tile=...)`` makes such a network take its means over each tile: an approximation, whose
memory grows with the tile and not with the picture. Each picture of Kodak24 is shrunk, saved as
JPEG and enhanced as a whole, layer by layer, and with several sizes of tiles.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.restoration_sets import images_in
from preproc import Enhancer
from preproc.degrade import bicubic_down, jpeg
from preproc.metrics import CISRNET_PROTOCOL, psnr
from preproc.samples import Pixels


def main() -> None:
    """Print a line for each way to enhance."""
    args = _arguments()
    pictures = images_in(args.data / "sr_val" / "Kodak24")[: args.number]
    torch.set_num_threads(1)
    enhancer = partial(
        Enhancer,
        args.model,
        scale=args.scale,
        dtype=args.dtype,
        device="cpu",
        layerwise=False,
        tile=0,
    )
    ways = {
        "whole": enhancer(),
        "layer by layer": enhancer(layerwise=True),
        **{f"tiles of {size}": enhancer(tile=size) for size in args.tile},
    }
    taken: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    for path in pictures:
        hr = pixels(path, multiple=args.scale)
        lr = jpeg(bicubic_down(hr, args.scale), args.jpeg)
        shown: dict[str, Pixels] = {}
        for way, enhance in ways.items():
            began = time.process_time()
            shown[way] = enhance(lr)
            seconds = time.process_time() - began
            quality = psnr(shown[way], hr, CISRNET_PROTOCOL, args.scale)
            taken[way].append((seconds, quality, *_off(shown[way], shown["whole"])))
    sys.stdout.write(f"{args.model} x{args.scale}, QF {args.jpeg}, N = {len(pictures)}\n")
    for way, figures in taken.items():
        seconds, quality, mean, *_ = np.mean(figures, axis=0)
        *_, worst, jump = np.max(figures, axis=0)
        sys.stdout.write(
            f"{way}: {quality:.4f} dB, off by {mean:.3f} on average and "
            f"{worst:.0f} at most, by {jump:.0f} more than the px beside; "
            f"{seconds / np.mean(taken['whole'], axis=0)[0]:.2f} times the time of whole\n"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="holds sr_val/Kodak24")
    parser.add_argument("--number", type=arguments.count, default=24, help="pictures (default: 24)")
    parser.add_argument("--model", default="cisrnet-light-coarse", help="one that pools")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument(
        "--jpeg", type=arguments.quality, default=10, help="JPEG quality (default: 10)"
    )
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--tile", type=int, nargs="+", default=[256, 192, 128, 96], help="sides in px"
    )
    return parser.parse_args()


def _off(picture: Pixels, whole: Pixels) -> tuple[float, int, int]:
    """How far a picture is off, on average and at most, and how much that changes from px to px.

    A seam shows in the last.
    """
    difference = picture.astype(int) - whole
    jump = max(int(np.abs(np.diff(difference, axis=axis)).max()) for axis in (0, 1))
    return float(np.abs(difference).mean()), int(np.abs(difference).max()), jump


if __name__ == "__main__":
    sys.exit(exit_code(main))
