"""What it costs a network that pools over the whole picture to pool over tiles instead.

    python benchmarks/windows.py --model cisrnet-light-coarse --scale 2 --data DIR

``Enhancer(tile=...)`` makes such a network take its means over each tile: an approximation, whose
memory grows with the tile and not with the picture. Each picture of Kodak24 is shrunk, saved as
JPEG and enhanced as a whole, layer by layer, and with several sizes of tiles.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # works in a checkout that is not installed

import numpy as np
import torch

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.restoration_sets import images_in
from preproc import Enhancer
from preproc.degrade import bicubic_down, jpeg
from preproc.metrics import CISRNET_PROTOCOL, psnr


def main() -> None:
    """Print a line for each way to enhance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="holds sr_val/Kodak24")
    parser.add_argument("--number", type=arguments.count, default=24, help="pictures (default: 24)")
    parser.add_argument("--model", default="cisrnet-light-coarse", help="one that pools")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument(
        "--quality", type=arguments.quality, default=10, help="JPEG quality (default: 10)"
    )
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--tile", type=int, nargs="+", default=[256, 192, 128, 96], help="sides in px"
    )
    args = parser.parse_args()
    pictures = images_in(args.data / "sr_val" / "Kodak24")[: args.number]
    torch.set_num_threads(1)

    def enhancer(*, layerwise: bool = False, tile: int = 0) -> Enhancer:
        return Enhancer(
            args.model,
            scale=args.scale,
            dtype=args.dtype,
            device="cpu",
            layerwise=layerwise,
            tile=tile,
        )

    ways = {
        "whole": enhancer(),
        "layer by layer": enhancer(layerwise=True),
        **{f"tiles of {size}": enhancer(tile=size) for size in args.tile},
    }
    seconds, quality = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    off: dict[str, list[float]] = {way: [] for way in ways}
    worst, jump = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0)
    for path in pictures:
        hr = pixels(path, multiple=args.scale)
        lr = jpeg(bicubic_down(hr, args.scale), args.quality)
        whole = np.zeros(0)
        for way, enhance in ways.items():
            began = time.process_time()
            picture = enhance(lr)
            seconds[way] += time.process_time() - began
            quality[way] += psnr(picture, hr, CISRNET_PROTOCOL, args.scale) / len(pictures)
            whole = picture.astype(int) if way == "whole" else whole
            difference = picture - whole
            off[way].append(float(np.abs(difference).mean()))
            worst[way] = max(worst[way], int(np.abs(difference).max()))
            # A seam shows where the difference changes from one px to the next.
            steps = (np.abs(np.diff(difference, axis=axis)).max() for axis in (0, 1))
            jump[way] = max(jump[way], *map(int, steps))
    sys.stdout.write(f"{args.model} x{args.scale}, QF {args.quality}, N = {len(pictures)}\n")
    for way in ways:
        sys.stdout.write(
            f"{way}: {quality[way]:.4f} dB, off by {np.mean(off[way]):.3f} on average and "
            f"{worst[way]} at most, by {jump[way]} more than the px beside; "
            f"{seconds[way] / seconds['whole']:.2f} times the time of whole\n"
        )


if __name__ == "__main__":
    sys.exit(exit_code(main))
