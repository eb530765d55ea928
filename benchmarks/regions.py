"""What regions save against the whole picture, and how near their answer is to the whole's.

    python -m benchmarks.regions saved --data WIDERFACE
    python -m benchmarks.regions error --model cajnn-light --pictures FOLDER
    python -m benchmarks.regions speed --device cuda

``saved`` plans the faces of WIDER FACE val, without a network. ``error`` enhances ten random boxes
of the size of words in each picture (halved, JPEG 40) for several margins. ``speed`` times 80 words
in lines, 20 boxes of words anywhere, and the whole picture of 800x600 px.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.pictures.restoration_sets import images_in as pictures_in
from eval_tasks.pictures.wider_images import ground_truth_in, images_in
from eval_tasks.pictures.wider_truth import read_truth
from preproc import Enhancer
from preproc.degrade import jpeg
from preproc.errors import ImageError

Boxes = list[tuple[int, int, int, int]]


def faces(data: Path) -> Iterator[tuple[tuple[int, int], Boxes]]:
    """Sizes (height, width) and faces of the pictures of WIDER FACE val that are there."""
    truth = read_truth(ground_truth_in(data))
    for name, path in images_in(data, truth).items():
        with Image.open(path) as image:
            width, height = image.size
        rows = truth[name].boxes.astype(int).tolist()
        boxes = [(x, y, x + w, y + h) for x, y, w, h in rows if min(w, h) > 0]
        yield (height, width), [b for b in boxes if b[0] < width and b[1] < height]


def saved(enhancer: Enhancer, data: Path) -> Iterator[str]:
    """A line for each margin."""
    pictures = [(size, boxes) for size, boxes in faces(data) if boxes]
    if not pictures:
        raise ImageError(f"There is no picture of WIDER FACE val with a face in {data}/WIDER_val.")
    number = sum(len(boxes) for _, boxes in pictures)
    for margin in (32, 16, 8):
        plans = [enhancer.plan_regions(size, boxes, margin=margin) for size, boxes in pictures]
        pixels, whole = (sum(getattr(p, k) for p in plans) for k in ("pixels", "whole_pixels"))
        windows = sum(len(p.windows) for p in plans)
        median = np.median([p.saved for p in plans])
        yield (
            f"margin {margin}: {len(plans)} pictures, {number} boxes: {pixels / 1e6:.1f} of "
            f"{whole / 1e6:.1f} Mpx computed, {1 - pixels / whole:.1%} saved (median picture "
            f"{median:.1%}), {windows} windows"
        )


def error(enhancer: Enhancer, folder: Path, number: int) -> Iterator[str]:
    """A line for each picture and margin."""
    rng = np.random.default_rng(0)
    for path in pictures_in(folder)[:number]:
        img = jpeg(np.asarray(Image.fromarray(pixels(path)).reduce(2)), 40)
        height, width = img.shape[:2]
        boxes = []
        for w, h in zip(rng.integers(20, 70, 10), rng.integers(10, 24, 10), strict=True):
            left, top = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            boxes.append((left, top, left + int(w), top + int(h)))
        whole, scale = enhancer(img).astype(int), enhancer.scale
        for margin in (32, 16, 8, 4, 0):
            crops = enhancer.regions(img, boxes, margin=margin)
            off = np.concatenate(
                [
                    np.abs(crop - whole[scale * t : scale * b, scale * x : scale * r]).ravel()
                    for crop, (x, t, r, b) in zip(crops, boxes, strict=True)
                ]
            )
            share = enhancer.plan_regions((height, width), boxes, margin=margin).saved
            yield (
                f"{path.name} margin {margin}: worst {off.max()}, {(off > 0).mean():.3%} of values "
                f"differ, {share:.0%} of px saved"
            )


def speed(enhancer: Enhancer) -> Iterator[str]:
    """A line for each list of boxes and margin: the median of five warm runs."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (150, 200, 3), np.uint8))
    img = np.array(coarse.resize((800, 600), Image.Resampling.BICUBIC))
    words = [
        (
            20 + 150 * (k % 5),
            10 + 36 * (k // 5),
            50 + 150 * (k % 5) + 13 * k % 70,
            24 + 36 * (k // 5),
        )
        for k in range(80)
    ]
    corners = rng.integers(0, (710, 570), (20, 2))
    scattered = [(x, y, x + w, y + 20) for (x, y), w in zip(corners, range(20, 80, 3), strict=True)]
    for name, boxes in {"80 words": words, "20 scattered": scattered}.items():
        for margin in (8, 32):
            seconds = _median(partial(enhancer.regions, img, boxes, margin=margin))
            yield f"{name}, margin {margin}: {1000 * seconds:.1f} ms"
    yield f"whole: {1000 * _median(partial(enhancer, img)):.1f} ms"


def _median(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(6):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:]))


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "what",
        choices=["saved", "error", "speed"],
        help="px not computed for faces, difference from the whole picture, or time",
    )
    parser.add_argument("--data", type=Path, help="for saved: holds WIDER_val and the ground truth")
    parser.add_argument("--pictures", type=Path, help="for error: a folder of photographs")
    parser.add_argument("--number", type=arguments.count, default=2, help="of these (default: 2)")
    parser.add_argument("--model", default="cajnn-light")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    needed = {"saved": "data", "error": "pictures"}.get(args.what)
    if needed and getattr(args, needed) is None:
        parser.error(f"{args.what} needs --{needed}")
    torch.set_num_threads(1)
    enhancer = Enhancer(args.model, dtype=args.dtype, device=args.device)
    match args.what:
        case "saved":
            lines = saved(enhancer, args.data)
        case "error":
            lines = error(enhancer, args.pictures, args.number)
        case _:
            lines = speed(enhancer)
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(exit_code(main))
