"""Makes pages whose text is known, for `own_text.py`: documents and signs, rendered, by a seed.

Every other page is a document, lines of many sizes on paper or on a dark screen; the others are
photographs with a few signs in them. The words are not those that training renders, the fonts are
the same.

    python eval_tasks/rendered_pages.py --photographs kodak/ --output pages/
    python eval_tasks/own_text.py --images pages/ --reduce 2 --jpeg 40 --model cajnn-ocr
"""

from __future__ import annotations

import argparse
import string
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.pictures.own_pictures import find_pictures
from eval_tasks.pictures.picture_files import pixels
from eval_tasks.tables import console
from preproc.drawing import any_colour, contrasting_colour, random_font
from preproc.errors import OutputError
from preproc.files import require_writable, write_text
from preproc.pictures.saving import save
from preproc.samples import Pixels

SIZE = 768
"""Side of a page in px."""

_WORDS = (  # noqa: SIM905 - a list of 200 strings reads worse
    "about above account action address advice airport animal answer apple arrive autumn balance "
    "bakery beach bicycle birthday black blue board bottle bread breakfast brown build butter "
    "camera candle captain castle change cheese chicken children chocolate cinema circle clean "
    "clock cloud company computer concert control corner cotton country cream crossing dance "
    "december delivery dinner doctor dragon during early eagle electric emergency energy england "
    "express family farmer fashion festival field final finance flower forest fresh friday fruit "
    "furniture gallery garage general glass global gold green grill guide happy harbour heart "
    "heavy history holiday honey horse hungry insurance island italian jacket january jewel juice "
    "jungle kitchen knight ladies lager language laundry leather lemon letter light little london "
    "lunch machine magazine manager maple marine master meadow medical member metal minute mobile "
    "monday money morning mountain music national nature network night october orange organic "
    "original paint paper partner pepper phone photo pilot plant platform player pocket power "
    "press prince print project quick rabbit radio railway record rental repair rescue restaurant "
    "review rocket salad salon saturday science season second secret senior shelter shirt silver "
    "society solution spring square storage studio summer sunday supply system taste teacher "
    "theatre thursday ticket tiger tobacco traffic travel treasure turkey uniform value vegetable "
    "video village vision visitor volume wedding western window winter wonder yellow zebra"
).split()


def main(argv: Sequence[str] | None = None) -> int:
    """Make the pages for ``argv``, by default the command line; gives the exit code."""
    return exit_code(lambda: _run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rendered_pages", description="Make pages of rendered text, with their words beside."
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="pages go here; a new folder")
    add(
        "--photographs",
        type=Path,
        required=True,
        metavar="DIR",
        help="pictures to put the text in, without text of their own",
    )
    add("--pages", type=arguments.count, default=24, metavar="N", help="how many (default: 24)")
    add(
        "--seed", type=arguments.seed, default=0, metavar="S", help="another seed gives other pages"
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    photographs = list(find_pictures(options.photographs).values())
    if options.output.exists():
        raise OutputError(f"{options.output} is there already; name a new folder for the pages.")
    require_writable(options.output)
    total = 0
    for number in range(options.pages):
        rng = np.random.default_rng((options.seed, number))
        photograph = pixels(photographs[int(rng.integers(len(photographs)))])
        picture, words = document(rng, photograph) if number % 2 else signs(rng, photograph)
        save(Image.fromarray(picture), options.output / f"page_{number:03d}.png")
        write_text(options.output / f"page_{number:03d}.txt", " ".join(words) + "\n")
        total += len(words)
    console.show(f"{options.pages} pages with {total} words: {options.output}")


def document(rng: Generator, photograph: Pixels) -> tuple[Pixels, list[str]]:
    """A sheet full of lines of 20 to 56 px, lying on a photograph.

    Args:
        rng: the source of all randomness.
        photograph: uint8 RGB (H, W, 3), of any size.

    Returns:
        uint8 RGB (`SIZE`, `SIZE`, 3), and the words on it.
    """
    page = _fill(photograph)
    draw = ImageDraw.Draw(page)
    left, top = (int(part) for part in rng.uniform(0, SIZE / 10, 2))
    light = bool(rng.random() < 0.8)
    paper = rng.integers(225, 256, 3) if light else rng.integers(0, 40, 3)
    draw.rectangle((left, top, SIZE - left, SIZE - top), fill=_rgb(paper))
    words: list[str] = []
    y = top + 15.0
    while y + 40 < SIZE - top:
        height = _log_uniform(rng, 20, 56)
        font = random_font(rng, height)
        for _ in range(int(rng.integers(1, 4))):
            if y + 1.35 * height > SIZE - top:
                break
            ink = rng.integers(0, 90, 3) if light else rng.integers(190, 256, 3)
            line = _line(rng, font, SIZE - 2 * left - 27, shouting=0.0)
            draw.text((left + 15, y), " ".join(line), font=font, fill=_rgb(ink))
            words += line
            y += 1.35 * height
        y += 1
    return _taken(rng, page), words


def signs(rng: Generator, photograph: Pixels) -> tuple[Pixels, list[str]]:
    """A photograph with signs of one to three words of 28 to 96 px; otherwise as `document`."""
    page = _fill(photograph)
    draw = ImageDraw.Draw(page)
    words: list[str] = []
    y = rng.uniform(10, 60)
    while y < SIZE - 60:
        height = _log_uniform(rng, 28, 96)
        font = random_font(rng, height)
        left = int(rng.uniform(10, 0.35 * SIZE))
        line = _line(rng, font, SIZE - left - 30, shouting=0.5)[: int(rng.integers(1, 4))]
        if line and y + 1.4 * height < SIZE:
            x1, y1, x2, y2 = font.getbbox(" ".join(line))
            margin = height // 4
            board = any_colour(rng)
            draw.rectangle(
                (left + x1 - margin, y + y1 - margin, left + x2 + margin, y + y2 + margin),
                fill=board,
            )
            ink = contrasting_colour(rng, np.array(board, float))
            draw.text((left, y), " ".join(line), font=font, fill=ink)
            words += line
            y += y2 + 2 * margin
        y += rng.uniform(0.2, 0.8) * height
    return _taken(rng, page), words


def _fill(photograph: Pixels) -> Image.Image:
    """A photograph's top left part, as large as a page."""
    height, width, _ = photograph.shape
    scale = SIZE / min(height, width)
    size = (max(SIZE, round(width * scale)), max(SIZE, round(height * scale)))
    return Image.fromarray(photograph).resize(size).crop((0, 0, SIZE, SIZE))


def _taken(rng: Generator, page: Image.Image) -> Pixels:
    """The page as a camera sees it, a little out of focus."""
    return np.asarray(page.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2))))


def _line(rng: Generator, font: ImageFont.FreeTypeFont, width: float, shouting: float) -> list[str]:
    """As many random words as fit the width; some are numbers, some in capitals."""
    words: list[str] = []
    while True:
        if rng.random() < 0.2:
            word = "".join(rng.choice(list(string.digits), int(rng.integers(2, 6))))
        else:
            word = str(rng.choice(_WORDS))
        case = rng.random()
        word = word.upper() if case < shouting else word.title() if case < 0.65 else word
        if font.getlength(" ".join([*words, word])) > width:
            return words
        words.append(word)


def _log_uniform(rng: Generator, low: float, high: float) -> int:
    return int(np.exp(rng.uniform(np.log(low), np.log(high))))


def _rgb(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = values.tolist()
    return red, green, blue


if __name__ == "__main__":
    sys.exit(main())
