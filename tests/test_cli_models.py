"""`preproc models` lists every model, and shows what is known of one and of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call


def test_lists_every_model(capfd: pytest.CaptureFixture[str]) -> None:
    from preproc.manifest import entries
    from preproc.networks import list_models

    assert call("models") == 0
    lines = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
    licences = {(entry.model, entry.scale): entry.licence for entry in entries().values()}
    for descriptor in list_models():
        (line,) = (x for x in lines if x.startswith(f"{descriptor.name} x{descriptor.scale} "))
        licence = licences.get((descriptor.family, descriptor.scale), "your own")
        shown = line.rpartition(f" {descriptor.tiling.value} ")[2]
        assert licence.startswith(shown or "?"), "what is long is folded"
    assert "cajnn x4 14.8 M 15.9 M tiles CC BY-SA 4.0" in lines


def test_shows_one_model_and_its_card(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from preproc import manifest

    entry = manifest.WeightsEntry(
        model="cajnn",
        scale=4,
        file="c.safetensors",
        sha256="0" * 64,
        bytes=1,
        parameters=1,
        recipe="r.toml",
        data=(manifest.DataSource("pictures", "CC0"),),
        steps=1234,
        train_time=1.0,
        results={},
        perceptual_loss=None,
        licence="CC-BY-4.0",
        card="c.md",
    )
    (tmp_path / "c.md").write_text("# The card of it")
    monkeypatch.setattr(manifest, "entries", lambda: {(entry.model, entry.scale): entry})
    monkeypatch.setattr(manifest, "shipped_folder", lambda: tmp_path)
    assert call("models", "cajnn") == 0
    shown = capfd.readouterr().out
    for fact in ("14,847,491", "1,234 steps", "pictures (CC0)", "CC-BY-4.0", "# The card"):
        assert fact in shown
    assert "15.9 M multiply-accumulates per input pixel" in shown
    assert " float32, " in shown
    assert call("models", "cajnn-light") == 0
    assert "none shipped; pass your own with --weights" in capfd.readouterr().out


def test_shows_all_scales_of_a_model_each_with_its_card(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("models", "cisrnet-light") == 0
    lines = capfd.readouterr().out.splitlines()
    shown = [line for line in lines if line.removeprefix("# ").startswith("cisrnet-light x")]
    names = [f"cisrnet-light x{scale}" for scale in (2, 3, 4)]
    assert shown == [line for name in names for line in (name, f"# {name}")]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(999, "999"), (999_499, "999 k"), (999_500, "1 M"), (16_800_000, "16.8 M")],
)
def test_counts_have_three_digits(count: int, shown: str) -> None:
    from preproc.cli import models_command

    assert models_command._with_prefix(count) == shown


def test_a_part_of_a_network_has_the_card_of_the_whole(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("models", "cisrnet-light-coarse") == 0
    assert "cisrnet-light-x4.safetensors, trained for" in capfd.readouterr().out


def test_an_unknown_one_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("models", "nosuch") == 1
    assert capfd.readouterr().err.startswith("Error: There is no model 'nosuch'; known are ")
