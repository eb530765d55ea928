"""Before and after, in one picture: what EasyOCR reads and MTCNN finds in a poor photograph.

``make demo``, or ``python -m examples.demo --image yours.jpg`` from the repository root. The
photograph is described in ``examples/scene.py``: its sign is rendered. Every arm is given to the
same engines with the same settings in source pixels, those of the input:

- input: the degraded picture as it is;
- bicubic: the input enlarged by plain bicubic interpolation, to tell size from restoration;
- enhanced: the input enlarged by the model;
- original: the scene before it was degraded, as the limit of what these engines can do.

A picture of yours is taken as it is, so it has no original, and no known words to count.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from eval_tasks.engines.recognisers import easyocr_with_detector
from eval_tasks.evaluators.words import words
from examples import scene, sheet
from integrations import easyocr, mtcnn
from integrations.protocols import Faces, RgbArray, Word
from integrations.view import look
from preproc import Enhancer
from preproc.console import tell_failure
from preproc.degrade import bicubic_up
from preproc.errors import ImageError, OutputError, PreprocError
from preproc.files import require_writable, write_text
from preproc.pictures.formats import format_named
from preproc.pictures.saving import save

MAX_PIXELS = 1_000_000
"""Largest picture that the demo takes, in px; the engines need some 4 GB for it at x4."""

OUT = Path("out/demo.png")
"""Where the result goes if nothing else is said, and replaces that of the demo before."""


@dataclass(frozen=True)
class Enlarged:
    """An enhancer whose work is done already, so that both engines and the sheet share it."""

    picture: RgbArray
    scale: int

    def __call__(self, img: RgbArray, /) -> RgbArray:
        """The enlarged picture, whatever is given."""
        del img
        return self.picture


@dataclass(frozen=True)
class Arm:
    """One way to show the input to the engines, and what they made of it, in source px."""

    name: str
    picture: RgbArray
    words: Sequence[Word]
    faces: Faces


def arms_of(
    source: RgbArray, enhanced: RgbArray, scale: int, original: RgbArray | None = None
) -> dict[str, Enlarged]:
    """The pictures to compare.

    Args:
        source: (H, W, 3) uint8 RGB, the input.
        enhanced: (scale*H, scale*W, 3), what the model made of it.
        scale: px of ``enhanced`` per px of ``source``.
        original: what the source was before it was reduced, where that is known.
    """
    arms = {
        "input": Enlarged(source, 1),
        "bicubic": Enlarged(bicubic_up(source, scale), scale),
        "enhanced": Enlarged(enhanced, scale),
    }
    if original is not None:
        arms["original"] = Enlarged(original, original.shape[0] // source.shape[0])
    return arms


def examine(source: RgbArray, pictures: Mapping[str, Enlarged]) -> list[Arm]:
    """Run both engines on every arm, on the CPU, with their usual settings."""
    _, reader = easyocr_with_detector()
    detector = mtcnn.MTCNN().engine
    return [
        Arm(
            name,
            enlarged.picture,
            easyocr.Reader(reader, enhancer=enlarged).readtext(source),
            mtcnn.MTCNN(detector, enhancer=enlarged).detect(source),
        )
        for name, enlarged in pictures.items()
    ]


def words_right(read: Iterable[Word], known: Iterable[str]) -> int:
    """How many known words were read, each as often as it is there."""
    return (words(known) & words(word.text for word in read)).total()


def summary(arm: Arm, known: Sequence[str]) -> str:
    """One line on an arm, such as ``7 of 19 words right, 1 face (0.998)``."""
    if known:
        text = f"{words_right(arm.words, known)} of {len(known)} words right"
    else:
        count = len(arm.words)
        text = f"{count} piece{'s' * (count != 1)} of text"
    count = len(arm.faces.boxes)
    faces = f"{count or 'no'} face{'s' * (count != 1)}"
    if count:
        faces += f" ({', '.join(f'{p:.3f}' for p in arm.faces.probabilities)})"
    return f"{text}, {faces}"


def report(arms: Iterable[Arm], known: Sequence[str], name: str) -> str:
    """What was read and found, one line each, under a title with the name of its picture."""
    lines = [f"{name} shows what was read and found, with boxes x1 y1 x2 y2 in px of the input:"]
    for arm in arms:
        lines.append(f"{arm.name}: {summary(arm, known)}")
        lines += [f"  text {_span(w)}  {w.confidence:.2f}  {w.text}" for w in arm.words]
        lines += [
            f"  face {_box(box)}  {probability:.4f}"
            for box, probability in zip(
                arm.faces.boxes.tolist(), arm.faces.probabilities.tolist(), strict=True
            )
        ]
    return "\n".join(lines) + "\n"


def run(
    source: RgbArray,
    pictures: Mapping[str, Enlarged],
    known: Sequence[str],
    caption: str,
    out: Path,
) -> str:
    """Examine every arm, and leave the sheet at ``out`` and the report beside it as ``.txt``.

    Returns:
        The report.

    Raises:
        OutputError: a result could not be written.
    """
    arms = examine(source, pictures)
    panels = [
        sheet.Panel(
            f"{arm.name}, {arm.picture.shape[1]}x{arm.picture.shape[0]} px: {summary(arm, known)}",
            arm.picture,
            arm.words,
            arm.faces,
        )
        for arm in arms
    ]
    drawn = sheet.draw(
        panels,
        source.shape[1::-1],
        caption,
        lambda text: _is_right(text, known) if known else None,
    )
    text = report(arms, known, out.name)
    save(drawn, out, overwrite=True)
    write_text(out.with_suffix(".txt"), text)
    return text


def _is_right(text: str, known: Sequence[str]) -> bool:
    """Whether words were read, and all of them are known; lone signs are not words."""
    read = words([text])
    return bool(read) and read.keys() <= words(known).keys()


def require_free(out: Path) -> None:
    """Make sure that results may be left at ``out`` and beside it, before any work is done.

    Raises:
        OutputError: no picture can be written there, or there is one or a ``.txt`` already, which
            may be the user's.
        OSError: the system does not let it be looked at.
    """
    format_named(out.suffix)
    for result in (out, out.with_suffix(".txt")):
        if out != OUT and result.exists():
            raise OutputError(f"{result} is there already; name another --out.")
    require_writable(out.parent)


def main(
    image: Annotated[
        Path | None,
        typer.Option(help=f"Your own picture, of up to {MAX_PIXELS:,} px, taken as it is."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Name of the model, see `preproc models`.")
    ] = "cajnn-ocr",
    weights: Annotated[Path | None, typer.Option(help="Your own weights, safetensors.")] = None,
    strength: Annotated[
        float, typer.Option(help="The network's share in the result, above 0 and up to 1.")
    ] = 0.5,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = OUT,
) -> None:
    """Show what OCR and face detection make of a poor picture before and after enhancement."""
    try:
        require_free(out)
        original = None if image else scene.original()
        source = _small(image) if original is None else scene.degraded(original)
        enhancer = Enhancer(model, weights=weights, strength=strength)
        enhanced = enhancer(source)
        caption = (
            f"Model: {model} x{enhancer.scale} at strength {strength:g}. Every arm has the same "
            "settings and boxes in px of the input."
        )
        if original is not None:
            caption += (
                " Green: every word right. Photograph: NASA, public domain. The sign is rendered"
                " into it at full resolution; then the whole is reduced by bicubic to"
                f" 1/{scene.REDUCTION} and saved as JPEG {scene.QUALITY}."
            )
        pictures = arms_of(source, enhanced, enhancer.scale, original)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*pin_memory")  # EasyOCR, without a GPU
            text = run(source, pictures, [] if image else scene.words(), caption, out)
    except (PreprocError, OSError) as error:
        raise typer.Exit(tell_failure(error)) from None
    typer.echo(f"{text}-> {out}")


def _small(image: object) -> RgbArray:
    """A picture of the user's, which must not be so large that the engines need many GB for it."""
    rgb = look(image, None).rgb
    height, width, _ = rgb.shape
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{image} has {width}x{height} px, and the demo takes {MAX_PIXELS:,} at most, because "
            "it looks at all of them enlarged; cut out a part, or use `preproc enhance`."
        )
    return rgb


def _span(word: Word) -> str:
    corners = np.asarray(word.box)
    return _box([*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()])


def _box(box: Iterable[float]) -> str:
    return " ".join(f"{value:6.1f}" for value in box)


if __name__ == "__main__":
    typer.run(main)
