"""From a finished run to weights worth shipping: half-precision file, figures, card, manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from eval_tasks.evaluators.paper_rows import printed_beside
from eval_tasks.evaluators.restoration import Row
from eval_tasks.evaluators.restored_sets import measure
from eval_tasks.pictures.restoration_sets import CHOOSING_SET, shipping_sets
from eval_tasks.tables.restoration_tables import show
from eval_tasks.tables.weights_card import card_text
from eval_tasks.treatments.restorers import make_methods
from preproc.errors import ImageError, RecipeError, WeightsError
from preproc.files import require_writable
from preproc.manifest import (
    MANIFEST,
    DataSource,
    WeightsEntry,
    add_entry,
    entries,
    entry_for,
    sha256_of,
    shipped_folder,
)
from preproc.metrics import CAJNN_PROTOCOL, CISRNET_PROTOCOL, Protocol
from preproc.networks import ModelDescriptor, find, list_models
from preproc.networks.counts import cost_of
from preproc.training.curve import read_curve, write_curve
from preproc.training.stages.folder import RECORD, WEIGHTS, read_record
from preproc.weights import save_state, skeleton

MARGIN = 0.05  # dB that new weights must gain on the choosing set

# CISRNet's paper measures at one quality, by a protocol of its own.
_QUALITIES = {CAJNN_PROTOCOL: (10, 20, 40), CISRNET_PROTOCOL: (10,)}

Results = dict[str, dict[str, dict[str, float]]]


def export(
    stages: Sequence[Path],
    *,
    data: Path,
    recipe: str,
    licence: str,
    notes: str = "",
    folder: Path | None = None,
    quality: Sequence[int] = (),
    force: bool = False,
) -> Path:
    """Measure a run's weights and add them, with a card, to the shipped ones or to a folder.

    Args:
        stages: folders of the run's stages in order; the last one's weights are exported.
        data: folder that holds ``sr_val/Kodak24`` and ``sr_test``.
        recipe: name or path of the recipe, for the manifest.
        licence: of the weights.
        notes: text (markdown) for the card: what they are and are not good for.
        folder: of the manifest, made if there is none; by default the shipped one.
        quality: JPEG qualities measured; by default those of the network's paper.
        force: replace weights although the new ones are not ``MARGIN`` dB better on Kodak24.

    Returns:
        The safetensors file, half precision.

    Raises:
        RecipeError:
            - the run has not finished
            - its network has no weights of its own, or is not what its model's name builds
            - a set is missing, or holds pictures that come out without any error, so that it has no
              mean PSNR
            - the shipped weights were measured at other qualities, and ``force`` is off
        WeightsError: the folder's weights are as good, and ``force`` is off; or the manifest is
            malformed, or the shipped one missing.
        OutputError: the folder cannot be written to. After this and any other error it holds what
            it held.
    """
    folder = folder or shipped_folder()
    records = [_record(stage) for stage in stages]
    last = records[-1]["stage"]
    descriptor = find(last["model"], last["scale"])
    stem = f"{descriptor.name}-x{descriptor.scale}"
    protocol = _protocol(descriptor)
    quality = quality or _QUALITIES[protocol]
    if descriptor.part_of:
        raise RecipeError(
            f"{descriptor} takes its weights from {descriptor.part_of}; export a run of that."
        )
    state = load_file(stages[-1] / WEIGHTS)
    _require_shape(descriptor, state, last["network"])
    shipped = _shipped(descriptor, folder)
    if shipped and not force:
        _require_common(shipped, quality)
    require_writable(folder)
    # On the same disk, so that drafts need only be renamed.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
        scratch = Path(name)
        draft = scratch / f"{stem}.safetensors"
        save_state(draft, state, dtype=torch.float16)
        rows = _measure(descriptor, draft, data, protocol, quality)
        results = _results(rows, descriptor.name)
        if shipped and not force:
            _require_better(shipped, results)
        curve = read_curve(records)
        picture = scratch / f"{stem}.curve.png"
        if curve:
            write_curve(curve, picture, f"{descriptor}: {last['validation']['path']}")
        entry = WeightsEntry(
            model=descriptor.name,
            scale=descriptor.scale,
            file=draft.name,
            sha256=sha256_of(draft),
            bytes=draft.stat().st_size,
            parameters=cost_of(descriptor).parameters,
            recipe=recipe,
            data=_data(records),
            steps=sum(r["steps"] for r in records),
            train_time=round(60 * sum(r["minutes"] for r in records)),
            results=results,
            perceptual_loss=_perceptual(last["loss"]),
            licence=licence,
            card=f"{stem}.md",
            protocol=protocol.name,
        )
        card = scratch / entry.card
        text = card_text(entry, records, rows, notes, picture if curve else None)
        card.write_text(text, "utf-8")
        # The weights last, for the manifest has to follow them at once.
        _ship([*([picture] if curve else []), card, draft], entry, folder)
    return folder / entry.file


def _ship(files: Sequence[Path], entry: WeightsEntry, folder: Path) -> None:
    """Put drafts in their places in order, then the entry into the manifest; or leave all as is."""
    before = files[0].parent / "before"
    before.mkdir()
    # An earlier run's curve goes, too, where this one has none.
    names = {f"{Path(entry.file).stem}.curve.png", *(file.name for file in files)}
    for name in names:
        if (folder / name).exists():
            shutil.copy2(folder / name, before)
    try:
        for name in names - {file.name for file in files}:
            (folder / name).unlink(missing_ok=True)
        for file in files:
            file.replace(folder / file.name)
        add_entry(entry, folder)
    except BaseException:
        for name in names:
            if (before / name).exists():
                (before / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        raise


def _record(stage: Path) -> dict[str, Any]:
    inside = sorted(found.parent for found in stage.glob(f"*/{RECORD}"))
    if inside:
        raise RecipeError(
            f"{stage} is a run; give the folders of its stages in their order, of which it has "
            f"{', '.join(map(str, inside))}."
        )
    if not (stage / RECORD).is_file():
        raise RecipeError(f"{stage} holds no {RECORD}; train to the end of the stage first.")
    record = read_record(stage)
    if not record["finished"]:
        raise RecipeError(
            f"{stage} stopped before its schedule ended, and a point in mid-schedule is not a "
            "result; resume it first."
        )
    return record


def _require_shape(
    descriptor: ModelDescriptor, state: dict[str, Tensor], network: dict[str, Any]
) -> None:
    """Make sure that the name that weights are exported under builds the network they are of."""
    own = skeleton(descriptor).state_dict()
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in own.items()}:
        raise RecipeError(
            f"The run's network, with {network}, is not a {descriptor}, and could not be loaded by "
            "that name; let the recipe's last stage have no network of its own, or register it "
            "under another name."
        )


def _protocol(descriptor: ModelDescriptor) -> Protocol:
    family = descriptor.name.partition("-")[0]
    return CISRNET_PROTOCOL if family == "cisrnet" else CAJNN_PROTOCOL


def _measure(
    descriptor: ModelDescriptor,
    weights: Path,
    data: Path,
    protocol: Protocol,
    quality: Sequence[int],
) -> list[Row]:
    """Measure bicubic, the network's parts and the network on all sets, and print the tables."""
    scale = descriptor.scale
    parts = [d.name for d in list_models() if (d.part_of, d.scale) == (descriptor.name, scale)]
    # Not in what this machine is fast in: figures stand beside those of other machines.
    methods = make_methods([*parts, descriptor.name], scale, weights=weights, dtype="float32")
    try:
        rows = measure(methods, shipping_sets(data), quality, scale, protocol)
    except ImageError as error:
        raise RecipeError(f"The weights cannot be measured: {error}") from error
    show(rows, printed_beside(rows, protocol), protocol)
    return rows


def _results(rows: Sequence[Row], method: str) -> Results:
    """What the manifest records of a method.

    Raises:
        RecipeError: a set has no mean PSNR, of this or another method.
    """
    results: Results = {}
    for row in rows:
        if row.psnr is None or row.ssim is None:
            raise RecipeError(
                f"{row.method} has no mean PSNR on {row.dataset} at quality {row.quality} "
                f"({row.note}), so that nothing can be recorded; take pictures out of the set "
                "that come out equal to their originals, such as those of one colour."
            )
        if row.method == method:
            by_quality = results.setdefault(row.dataset, {})
            by_quality[str(row.quality)] = {"psnr": round(row.psnr, 4), "ssim": round(row.ssim, 4)}
    return results


def _shipped(descriptor: ModelDescriptor, folder: Path) -> WeightsEntry | None:
    """The entry that would be replaced, if any."""
    if folder != shipped_folder() and not (
        (folder / MANIFEST).exists() or any(folder.glob("*.safetensors"))
    ):
        return None  # a folder to begin with
    return entries(folder=folder).get((descriptor.name, descriptor.scale))


def _require_common(shipped: WeightsEntry, quality: Sequence[int]) -> None:
    measured = shipped.results.get(CHOOSING_SET, {})
    if not measured.keys() & {str(q) for q in quality}:
        raise RecipeError(
            f"The shipped weights of {shipped} were measured on {CHOOSING_SET} at quality "
            f"{', '.join(measured) or 'none'}, and not at {', '.join(map(str, quality))}, so that "
            "nothing can be compared; measure at one of theirs too, or use force."
        )


def _require_better(shipped: WeightsEntry, results: Results) -> None:
    gains = [
        results[CHOOSING_SET][q]["psnr"] - measured["psnr"]
        for q, measured in shipped.results[CHOOSING_SET].items()
        if q in results[CHOOSING_SET]
    ]
    gain = sum(gains) / len(gains)
    if gain < MARGIN:
        raise WeightsError(
            f"The new weights of {shipped} gain {gain:+.3f} dB on {CHOOSING_SET} over the shipped "
            f"ones, and {MARGIN} dB is asked for; train on, or use force."
        )


def _data(records: list[dict[str, Any]]) -> tuple[DataSource, ...]:
    """What the weights have seen, and the shipped ones that they began from."""
    sources: list[DataSource] = []
    for record in records:
        stage = record["stage"]
        sources += _data_of(record["init_from"], stage["scale"])
        sources += [
            DataSource(_name(s), s["licence"]) for s in stage["data"]["source"] if s["weight"]
        ]
    return tuple(dict.fromkeys(sources))


def _data_of(init_from: str, scale: int) -> tuple[DataSource, ...]:
    """What initial weights have seen; nothing is known of those that are not shipped."""
    models = {d.name: d.family for d in list_models() if d.scale == scale}
    return entry_for(models[init_from], scale).data if init_from in models else ()


def _name(source: dict[str, Any]) -> str:
    path = str(source["path"])
    if source["kind"] == "folder":
        return path
    return f"rendered text on {path}" if path else "rendered text"


def _perceptual(loss: dict[str, Any]) -> str | None:
    used = loss["perceptual"] != "none" and loss["perceptual_weight"]
    return loss["perceptual"] if used else None
