"""From a finished run to shipped weights: measured and better, or all stays as it was."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import photograph
from PIL import Image

pytest.importorskip("lightning", reason='training needs the extra "train"')

from safetensors.torch import load_file, save_file

from eval_tasks import export
from eval_tasks.evaluators.restoration import Row
from eval_tasks.pictures.restoration_sets import SET_SIZES, pair
from eval_tasks.tables.weights_card import card_text
from preproc import Enhancer
from preproc.errors import OutputError, RecipeError, WeightsError
from preproc.manifest import MANIFEST, entries, entry_for, read_card, verified
from preproc.metrics import CAJNN_PROTOCOL, CISRNET_PROTOCOL, psnr
from preproc.networks import find
from preproc.networks.cajnn import CAJNN
from preproc.training.curve import Point
from preproc.training.recipe_file import load_recipe
from preproc.training.stages.folder import RECORD, WEIGHTS
from preproc.weights import load_state

RECIPE = """
model = "cajnn-light"
network = { features = 8, growth = 4, blocks = 1 }
[[data.source]]
path = "photos"
[schedule]
length = 4
[validation]
path = "photos"
quality = [10]
"""


@pytest.fixture
def finished(tmp_path):
    """A finished run's stage folder, as far as export reads it."""
    folder = tmp_path / "run" / "train"
    folder.mkdir(parents=True)
    save_file(find("cajnn-light", 4).build().state_dict(), folder / WEIGHTS)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    (stage,) = load_recipe(recipe)
    facts = {"steps": 4, "minutes": 1.0, "init_from": "", "device": "cpu", "threads": 1}
    facts |= {"curve": []}
    facts |= {"finished": True, "versions": {"torch": "2"}, "stage": dataclasses.asdict(stage)}
    (folder / RECORD).write_text(json.dumps(facts))
    return folder


@pytest.fixture
def shipping(tmp_path, finished, monkeypatch):
    """Export the run into a folder of its own: ``ship(psnr, ...)`` measures so many dB.

    They are those of all qualities, or of each.
    """
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / MANIFEST).write_text('{"format": 1, "entries": []}')

    def ship(psnr, quality=(10, 20), note="", **options):
        figures = psnr if isinstance(psnr, dict) else dict.fromkeys(quality, psnr)

        def measure(*_):
            return [
                Row("here", "cajnn-light", "Kodak24", 4, q, 24, figures[q], 0.5, note=note)
                for q in quality
            ]

        monkeypatch.setattr(export, "_measure", measure)
        facts = {"data": tmp_path, "recipe": "r.toml", "licence": "MIT", "folder": folder}
        stages = options.pop("stages", [finished])
        return export.export(stages, quality=quality, **facts, **options)

    return folder, ship


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_export_ships_weights_card_and_entry(shipping):
    folder, ship = shipping
    file = ship(25.0)
    entry = entries(folder=folder)["cajnn-light", 4]
    assert file == verified(entry, folder=folder)
    assert entry.results["Kodak24"]["20"]["psnr"] == 25
    load_state(find("cajnn-light", 4), file)
    assert {weight.dtype for weight in load_file(file).values()} == {torch.float16}
    card = read_card(entry, folder=folder)
    assert "25.00" in card
    assert "in 1 minute on cpu (1 thread)" in card
    assert contents(folder).keys() == {MANIFEST, entry.file, entry.card}, "no drafts are left"
    with pytest.raises(WeightsError, match=r"gain \+0.040 dB on Kodak24"):
        ship(25.04)
    ship(25.06)
    ship(25.01, force=True)
    assert entries(folder=folder)["cajnn-light", 4].results["Kodak24"]["10"]["psnr"] == 25.01


def test_weights_are_better_where_the_mean_of_the_qualities_both_have_is(shipping):
    _, ship = shipping
    ship(25.0, quality=(10, 20, 40))
    asked = (10, 20, 30)
    with pytest.raises(WeightsError, match=r"gain \+0.025 dB"):
        ship({10: 25.2, 20: 24.85, 30: 40.0}, quality=asked)
    ship({10: 25.2, 20: 24.95, 30: 10.0}, quality=asked)


def test_weights_without_a_curve_do_not_keep_that_of_others(shipping, monkeypatch):
    folder, ship = shipping
    with monkeypatch.context() as context:
        context.setattr(export, "read_curve", lambda _: [Point(1.0, 4, {"psnr_q10": 20.0})])
        ship(25.0)
    assert "cajnn-light-x4.curve.png" in contents(folder)
    ship(26.0)
    assert "cajnn-light-x4.curve.png" not in contents(folder)


def test_an_entry_tells_of_all_stages_and_of_what_counted_in_them(shipping, finished):
    folder, ship = shipping
    second = finished.with_name("second")
    shutil.copytree(finished, second)
    record = json.loads((second / RECORD).read_text())
    record["steps"], record["minutes"] = 6, 0.5
    record["init_from"] = str(finished / WEIGHTS)
    text = {"path": "", "kind": "text", "weight": 1.0, "shrink": 1, "licence": "CC0"}
    unused = text | {"path": "unused", "kind": "folder", "weight": 0.0}
    record["stage"]["data"]["source"] = [text, unused]
    record["stage"]["loss"] |= {"perceptual": "craft", "perceptual_weight": 0.1}
    (second / RECORD).write_text(json.dumps(record))
    ship(25.0, stages=[finished, second])
    entry = entries(folder=folder)["cajnn-light", 4]
    assert (entry.steps, entry.train_time, entry.perceptual_loss) == (10, 90, "craft")
    assert [(s.name, s.licence) for s in entry.data] == [("photos", ""), ("rendered text", "CC0")]
    card = read_card(entry, folder=folder)
    assert "train: 4 steps of 16 patches of 32 LR px in 1 minute on cpu (1 thread), Adam" in card
    assert "6 steps of 16 patches of 32 LR px in 0.5 minutes" in card
    assert "from 0.0002, starting from train." in card
    record["stage"]["loss"]["perceptual_weight"] = 0.0
    (second / RECORD).write_text(json.dumps(record))
    ship(26.0, stages=[finished, second])
    assert entries(folder=folder)["cajnn-light", 4].perceptual_loss is None


def test_an_entry_names_all_that_the_weights_have_seen(shipping, finished):
    folder, ship = shipping
    record = json.loads((finished / RECORD).read_text())
    record["init_from"] = "cajnn-light"
    kinds = [("folder", "mine"), ("folder", "mine"), ("text", "scans"), ("text", ""), ("text", "")]
    licences = ("CC0", "research use", "research use", "CC0", "MIT")
    record["stage"]["data"]["source"] = [
        {"path": path, "kind": kind, "weight": 1.0, "licence": licence}
        for (kind, path), licence in zip(kinds, licences, strict=True)
    ]
    (finished / RECORD).write_text(json.dumps(record))
    second = finished.with_name("second")
    shutil.copytree(finished, second)
    (second / RECORD).write_text(json.dumps(record | {"init_from": str(finished / WEIGHTS)}))
    ship(25.0, stages=[finished, second])
    seen = entries(folder=folder)["cajnn-light", 4].data
    before = entry_for("cajnn-light", 4).data
    assert seen[: len(before)] == before
    assert [(s.name, s.licence) for s in seen[len(before) :]] == [
        ("mine", "CC0"),
        ("mine", "research use"),
        ("rendered text on scans", "research use"),
        ("rendered text", "CC0"),
        ("rendered text", "MIT"),
    ]
    card = read_card(entries(folder=folder)["cajnn-light", 4], folder=folder)
    assert "mine (CC0); mine (research use); rendered text on scans (research use)" in card
    assert card.index("starting from cajnn-light.") < card.index("starting from train.")


def test_a_run_that_stopped_early_is_not_exported(shipping, finished):
    _, ship = shipping
    record = json.loads((finished / RECORD).read_text())
    (finished / RECORD).write_text(json.dumps(record | {"finished": False}))
    with pytest.raises(RecipeError, match=r"stopped before its schedule ended.*resume it"):
        ship(25.0)
    (finished / RECORD).unlink()
    with pytest.raises(RecipeError, match=r"holds no run\.json; train to the end"):
        ship(25.0)


def test_export_measures_bicubic_and_the_weights_on_every_set(
    shipping, finished, tmp_path, capsys, monkeypatch
):
    folder, _ = shipping
    facts = {"data": tmp_path / "sets", "recipe": "r.toml", "licence": "MIT", "folder": folder}
    with pytest.raises(RecipeError, match=r"cannot be measured: There is no folder .*Kodak24"):
        export.export([finished], quality=(10,), **facts)
    assert not entries(folder=folder)
    homes = {"Kodak24": "sr_val", "Set5": "sr_test", "Set14": "sr_test", "BSD100": "sr_test"}
    for name, home in homes.items():
        target = tmp_path / "sets" / home / name
        target.mkdir(parents=True)
        Image.fromarray(photograph(48, 52)).save(target / "a.png")
    with pytest.raises(RecipeError, match=r"cannot be measured: Kodak24 has 24 images, .*holds 1"):
        export.export([finished], quality=(10,), **facts)
    for name in homes:
        monkeypatch.setitem(SET_SIZES, name, 1)
    export.export([finished], quality=(10,), **facts)
    (entry,) = entries(folder=folder).values()
    assert entry.results.keys() == homes.keys()
    assert all(5 < measured["10"]["psnr"] < 50 for measured in entry.results.values())
    _, degraded, reference = pair(target / "a.png", 4, 10)
    restored = Enhancer("cajnn-light", weights=folder / entry.file, dtype="float32")(degraded)
    own = psnr(restored, reference, CAJNN_PROTOCOL, 4)
    assert entry.results["BSD100"]["10"]["psnr"] == pytest.approx(own, abs=1e-4)
    card, printed = read_card(entry, folder=folder), capsys.readouterr().out
    for method in ("bicubic", "cajnn-light"):
        assert f"| 10 | {method} |" in card
        assert method in printed


def test_a_network_is_measured_beside_its_part_both_with_the_new_weights(monkeypatch):
    made = []
    monkeypatch.setattr(export, "make_methods", lambda *args, **more: made.append((args, more)))
    monkeypatch.setattr(export, "measure", lambda *_: [])
    monkeypatch.setattr(export, "shipping_sets", lambda _: {})
    file = Path("new.safetensors")
    export._measure(find("cisrnet-light", 2), file, Path(), CISRNET_PROTOCOL, (10,))
    assert made == [
        ((["cisrnet-light-coarse", "cisrnet-light"], 2), {"weights": file, "dtype": "float32"})
    ]


def test_a_card_has_the_figures_of_each_set_in_its_column(shipping, finished):
    folder, ship = shipping
    ship(25.0)
    entry, record = entries(folder=folder)["cajnn-light", 4], finished / RECORD
    sets = (("Set5", 5, 20.0, 0.5), ("Set14", 14, 30.0, 0.25))
    rows = [Row("here", "ours", name, 4, 10, n, psnr, ssim) for name, n, psnr, ssim in sets]
    lines = card_text(entry, [json.loads(record.read_text())], rows, "", None).splitlines()
    assert "| QF | method | Set5 (N=5) | Set14 (N=14) |" in lines
    assert "| 10 | ours | 20.00 / 0.5000 | 30.00 / 0.2500 |" in lines


@pytest.mark.parametrize(
    ("model", "scale", "protocol", "qualities"),
    [
        ("cajnn-light", 4, CAJNN_PROTOCOL, (10, 20, 40)),
        ("cisrnet-light", 2, CISRNET_PROTOCOL, (10,)),
    ],
)
def test_weights_are_measured_as_their_paper_measures(
    shipping, finished, monkeypatch, model, scale, protocol, qualities
):
    folder, _ = shipping
    record = json.loads((finished / RECORD).read_text())
    record["stage"] |= {"model": model, "scale": scale}
    (finished / RECORD).write_text(json.dumps(record))
    save_file(find(model, scale).build().state_dict(), finished / WEIGHTS)
    asked = []

    def measure(_descriptor, _weights, _data, by, quality):
        asked.append((by, quality))
        return [Row("here", model, "Kodak24", scale, q, 24, 25.0, 0.5) for q in quality]

    monkeypatch.setattr(export, "_measure", measure)
    export.export([finished], data=folder, recipe="r.toml", licence="MIT", folder=folder)
    assert asked == [(protocol, qualities)]
    assert entries(folder=folder)[model, scale].protocol == protocol.name


def test_export_refuses_sets_without_a_mean_psnr(shipping):
    folder, ship = shipping
    before = contents(folder)
    with pytest.raises(RecipeError, match=r"no mean PSNR on Kodak24 at quality 10 \(PSNR infinite"):
        ship(None, note="PSNR infinite in 1 of 24")
    assert contents(folder) == before


def test_export_begins_a_folder_of_ones_own(shipping):
    folder, ship = shipping
    shutil.rmtree(folder)
    assert ship(25.0).is_file()
    assert [str(e.model) for e in entries(folder=folder).values()] == ["cajnn-light"]


def test_qualities_that_cannot_be_compared_are_refused_before_measuring(shipping, monkeypatch):
    folder, ship = shipping
    ship(25.0)
    before = contents(folder)
    with pytest.raises(RecipeError, match="at quality 10, 20, and not at 30"):
        ship(26.0, quality=(30,))
    assert contents(folder) == before
    ship(26.0, quality=(20, 30))
    ship(20.0, quality=(40,), force=True)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("step", ["card_text", "add_entry", "write_curve"])
def test_a_failure_leaves_the_shipped_folder_as_it_was(
    shipping, finished, monkeypatch, step, first
):
    folder, ship = shipping
    if not first:
        ship(25.0)
    state = {k: v + 1 for k, v in load_file(finished / WEIGHTS).items()}
    save_file(state, finished / WEIGHTS)

    stop = OutputError("The disk is full.") if first else KeyboardInterrupt()

    def full(*_, **__):
        raise stop

    before = contents(folder)
    monkeypatch.setattr(export, "read_curve", lambda _: [Point(1.0, 4, {"psnr_q10": 20.0})])
    monkeypatch.setattr(export, step, full)
    with pytest.raises(type(stop)):
        ship(26.0)
    assert contents(folder) == before


def test_a_folder_that_cannot_take_weights_is_told_before_measuring(shipping):
    folder, ship = shipping
    shutil.rmtree(folder)
    folder.write_text("no folder")
    with pytest.raises(OutputError, match=r"Cannot write .*weights: "):
        ship(25.0)
    folder.unlink()
    ship(25.0)
    (folder / MANIFEST).unlink()
    with pytest.raises(WeightsError, match=r"manifest .* is missing"):
        ship(25.0, force=True)


def test_a_part_of_a_network_is_not_exported(shipping, finished):
    _, ship = shipping
    record = json.loads((finished / RECORD).read_text())
    record["stage"]["model"] = "cisrnet-coarse"
    (finished / RECORD).write_text(json.dumps(record))
    with pytest.raises(RecipeError, match="takes its weights from cisrnet; export a run of that"):
        ship(25.0)


def test_weights_of_a_shape_that_no_name_stands_for_are_refused_before_measuring(
    shipping, finished
):
    folder, ship = shipping
    before = contents(folder)
    save_file(CAJNN(4, 8, 4, 1).state_dict(), finished / WEIGHTS)
    with pytest.raises(RecipeError, match=r"'blocks': 1}, is not a cajnn-light x4.*register"):
        ship(25.0)
    assert contents(folder) == before


def test_a_whole_run_in_place_of_its_stages_is_told_them(shipping, finished, tmp_path):
    facts = {"data": tmp_path, "recipe": "r.toml", "licence": "MIT"}
    with pytest.raises(RecipeError, match=r"is a run; give the folders of its stages.*run/train"):
        export.export([finished.parent], **facts)
