"""Rebuilds the page about the shipped weights: tables beside the papers' rows, and crops.

The networks' figures are the manifest's, which `preproc export` measured on the very files
(``--measure`` measures them again); bicubic is measured here, and the crops are made here. They
are chosen by a rule: of all squares of the choosing set, those in which a network has the largest,
the median and the smallest gain over bicubic.

    python eval_tasks/report.py --data DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval_tasks.command import arguments
from eval_tasks.command.about import environment
from eval_tasks.command.exit_codes import exit_code
from eval_tasks.evaluators.crops import SIDE, Gains, gains
from eval_tasks.evaluators.paper_rows import printed_beside
from eval_tasks.evaluators.restoration import HERE, Row
from eval_tasks.evaluators.restored_sets import measure
from eval_tasks.pictures.restoration_sets import CHOOSING_SET, pair, shipping_sets
from eval_tasks.tables import crop_sheet, markdown
from eval_tasks.tables.console import facts
from eval_tasks.treatments.arms import device_name
from eval_tasks.treatments.method import Method
from eval_tasks.treatments.restorers import make_methods
from preproc.console import progress_bar
from preproc.execution.devices import choose_device
from preproc.files import require_writable, write_text
from preproc.manifest import WeightsEntry, entries, shipped_folder
from preproc.metrics import PROTOCOLS
from preproc.networks import find, list_models
from preproc.networks.counts import cost_of
from preproc.pictures.saving import save
from preproc.samples import Pixels

_CROPPED_AT = (10, 40)
_INTRODUCTION = """# Weights

The weights that come with preproc, and what they measure. The README says [which to take for
what](../README.md#which-model-to-take); a card (the links below) says how each was trained.

| column | meaning |
|---|---|
| MAC/px | multiply-accumulates for each px of the input: what the network costs |
| training | the last run; the card says what it started from |
| perceptual loss | what the loss compares besides pixels; *reader* is EasyOCR's recogniser |

Figures are means over a set, computed in float32. Kodak24 is for choosing between weights (rendered
words chose `cajnn-ocr`); the other sets were only measured. The two papers measure by different
protocols, so compare figures within one table only.
Rows in bold were measured here, the others are the papers'.
`cisrnet-coarse` and `cisrnet-light-coarse` are the first stages of the same weights; the cards have
their figures, too.

`python eval_tasks/report.py --data DIR` rebuilds this page and its crops, where `DIR` holds
`sr_val/Kodak24` and `sr_test/Set5`, `Set14` and `BSD100`.
"""


@dataclass(frozen=True)
class Group:
    """Shipped weights of one scale that are measured by one protocol."""

    protocol: str
    scale: int
    entries: tuple[WeightsEntry, ...]

    @property
    def qualities(self) -> list[int]:
        """JPEG qualities that all of them were measured at."""
        measured = [
            set(map(int, figures)) for entry in self.entries for figures in entry.results.values()
        ]
        return sorted(set.intersection(*measured))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page for ``argv``, by default the command line; gives the exit code."""
    return exit_code(lambda: _run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="report", description="Rebuild the page about the shipped weights, with its pictures."
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="holds sr_val and sr_test")
    add("--output", type=Path, metavar="DIR", help="for README.md and pictures (default: weights)")
    add("--measure", action="store_true", help="measure the networks again (minutes to an hour)")
    add(
        "--limit",
        type=arguments.count,
        metavar="N",
        help="take squares from the first N pictures of Kodak24",
    )
    add("--device", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)")
    return parser


def _run(options: argparse.Namespace) -> None:
    folder = options.output or shipped_folder()
    require_writable(folder)  # rather now than after the work
    sets = shipping_sets(options.data)
    where = device_name(choose_device(options.device))
    about = {"device": where, **environment(options.device)}
    shipped = tuple(entries().values())
    lines = [_INTRODUCTION, *_files(shipped), ""]
    for group in _groups(shipped):
        lines += [f"## x{group.scale}, {group.protocol} protocol", ""]
        rows = _rows(group, sets, options.measure, options.device)
        for quality in group.qualities:
            its = [row for row in rows if row.quality == quality]
            lines += [*_table(its, group, quality), ""]
        with progress_bar(transient=True) as progress:
            progress.add_task(f"x{group.scale}: crops", total=None)
            paths = sets[CHOOSING_SET][: options.limit]
            lines += [*_crops(group, paths, folder, options.device), ""]
    lines += ["## Training curves", ""]
    for entry in shipped:
        curve = folder / f"{Path(entry.file).stem}.curve.png"
        if curve.is_file():
            lines += [f"![{entry}: PSNR against minutes of training]({curve.name})", ""]
    lines.append(f"Bicubic and crops: {facts(about)}.")
    write_text(folder / "README.md", "\n".join(lines) + "\n")


def _groups(shipped: Sequence[WeightsEntry]) -> list[Group]:
    keys = dict.fromkeys((entry.protocol, entry.scale) for entry in shipped)
    return [
        Group(*key, tuple(e for e in shipped if (e.protocol, e.scale) == key))
        for key in sorted(keys, key=lambda key: (key[0], -key[1]))
    ]


def _files(shipped: Sequence[WeightsEntry]) -> list[str]:
    return markdown.table(
        ("weights", "parameters", "MB", "MAC/px", "training", "perceptual loss", "licence"),
        [
            (
                f"[{entry}]({entry.card})",
                f"{entry.parameters / 1e6:.1f} M",
                f"{entry.bytes / 1e6:.1f}",
                f"{cost_of(find(entry.model, entry.scale)).macs_per_pixel / 1e6:.1f} M",
                f"{entry.steps:,} steps, {entry.train_time / 60:.0f} min",
                entry.perceptual_loss or "none",
                entry.licence,
            )
            for entry in shipped
        ],
    )


def _rows(
    group: Group, sets: dict[str, list[Path]], measure_all: bool, device: str | None
) -> list[Row]:
    """The papers' rows, bicubic's, and the networks'."""
    scale, protocol = group.scale, PROTOCOLS[group.protocol]
    models = [entry.model for entry in group.entries] if measure_all else []
    methods = make_methods(models, scale, device=device, dtype="float32")
    measured = measure(methods, sets, group.qualities, scale, protocol)
    printed = [row for row in printed_beside(measured, protocol) if not row.note]
    shipped = [] if measure_all else [row for e in group.entries for row in _shipped(e, sets)]
    return [*printed, *measured, *shipped]


def _shipped(entry: WeightsEntry, sets: dict[str, list[Path]]) -> Iterator[Row]:
    """What the manifest says of weights."""
    for name, paths in sets.items():
        for quality, known in entry.results.get(name, {}).items():
            yield Row(
                HERE,
                entry.model,
                name,
                entry.scale,
                int(quality),
                images=len(paths),
                psnr=known["psnr"],
                ssim=known["ssim"],
            )


def _table(rows: Sequence[Row], group: Group, quality: int) -> list[str]:
    digits = PROTOCOLS[group.protocol].digits
    sizes = {row.dataset: row.images for row in rows if row.source == HERE}
    lines = []
    for source, method in dict.fromkeys((row.source, row.method) for row in rows):
        its = {r.dataset: r for r in rows if (r.source, r.method) == (source, method)}
        figures = [
            f"{row.psnr:.{digits[0]}f} / {row.ssim:.{digits[1]}f}"
            if (row := its.get(name)) and row.psnr is not None and row.ssim is not None
            else "-"
            for name in sizes
        ]
        shown = f"**{method}**" if source == HERE else f"{method} ({source})"
        lines.append((shown, *figures))
    head = ("method", *(f"{name} (N={n})" for name, n in sizes.items()))
    return [f"JPEG {quality}: PSNR of Y in dB / SSIM.", "", *markdown.table(head, lines)]


def _crops(group: Group, paths: list[Path], folder: Path, device: str | None) -> list[str]:
    """Draw a sheet of squares and tell what it shows."""
    scale = group.scale
    families = {entry.model for entry in group.entries}
    models = sorted(
        (d for d in list_models() if d.family in families and d.scale == scale),
        key=lambda d: cost_of(d).macs_per_pixel,
    )
    methods = make_methods([d.name for d in models], scale, device=device, dtype="float32")
    judge = methods[1]  # the cheapest model, because it goes over the whole set
    rows, told = [], []
    for quality in _CROPPED_AT:
        found = gains(_compared(paths, scale, quality, methods[:2]))
        told += ["", _told(found, judge.name, quality, len(paths))]
        for what, crop in found.shown().items():
            _, degraded, reference = pair(crop.picture, scale, quality)
            versions = {
                "input": degraded.repeat(scale, axis=0).repeat(scale, axis=1),
                **{method.name: method.restore(degraded) for method in methods},
                "original": reference,
            }
            gain = f"{what} gain of {judge.name}: {crop.gain:+.2f} dB"
            caption = f"JPEG {quality}, {gain}, {crop.picture.stem}"
            rows.append((caption, {name: crop.cut(px) for name, px in versions.items()}))
    sheet = crop_sheet.draw(rows, SIDE)
    file = folder / f"crops-{group.protocol}-x{scale}.jpg"
    save(sheet, file, quality=88, overwrite=True)
    return [f"![Input, bicubic, networks and original, side by side]({file.name})", *told]


def _told(found: Gains, judge: str, quality: int, pictures: int) -> str:
    worst = found.crops[-1]
    return (
        f"At JPEG {quality}, {judge} is nearer to the original than bicubic in {found.better} of "
        f"the {len(found.crops)} squares, {SIDE} px a side, of {pictures} pictures of "
        f"{CHOOSING_SET}; the median gain is {found.median:+.2f} dB. The worst square is in "
        f"picture {worst.picture.stem} ({worst.gain:+.2f} dB, shown above)."
    )


def _compared(
    paths: list[Path], scale: int, quality: int, methods: Sequence[Method]
) -> Iterator[tuple[Path, Pixels, Pixels, Pixels]]:
    plain, judge = methods
    for path in paths:
        _, degraded, reference = pair(path, scale, quality)
        yield path, reference, plain.restore(degraded), judge.restore(degraded)


if __name__ == "__main__":
    sys.exit(main())
