"""Weights load exactly as shipped or not at all, and no file is ever unpickled."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from preproc import manifest
from preproc.errors import ModelError, OutputError, WeightsError
from preproc.manifest import DataSource, WeightsEntry
from preproc.networks import ModelDescriptor, find
from preproc.weights import load_network, load_state, save_state


class Tiny(nn.Module):
    """A convolution and a counter, so that floating-point and integer values are both met."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


TINY = ModelDescriptor("tiny", 1, Tiny, parameters=84, macs_per_pixel=81)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    # Values that half precision holds exactly.
    return {key: value.half().to(value.dtype) for key, value in Tiny().state_dict().items()}


@pytest.fixture
def folder(tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with one entry, in place of the shipped one."""
    (tmp_path / "manifest.json").write_text('{"format": 1, "entries": []}')
    (tmp_path / "tiny.md").write_text("# tiny")
    save_state(tmp_path / "tiny.safetensors", state)
    manifest.add_entry(entry(tmp_path), tmp_path)
    monkeypatch.setattr(manifest, "shipped_folder", lambda: tmp_path)
    return tmp_path


def entry(folder: Path, file: str = "tiny.safetensors") -> WeightsEntry:
    return WeightsEntry(
        model="tiny",
        scale=1,
        file=file,
        sha256=manifest.sha256_of(folder / file),
        bytes=(folder / file).stat().st_size,
        parameters=84,
        recipe="recipes/tiny.toml",
        data=(DataSource("made up", "CC0"),),
        steps=10,
        train_time=1.5,
        results={"Set5": {"10": {"psnr": 24.0, "ssim": 0.7}}},
        perceptual_loss=None,
        licence="MIT",
        card="tiny.md",
    )


def test_what_was_added_is_listed_and_loaded(folder: Path, state: dict[str, torch.Tensor]) -> None:
    assert manifest.entries() == {("tiny", 1): entry(folder)}
    loaded = load_state(TINY)
    assert loaded["conv.weight"].dtype == torch.float32
    assert loaded["seen"].dtype == torch.int64
    torch.testing.assert_close(loaded, state, rtol=0, atol=0)


def test_the_network_answers_with_the_weights_and_can_be_trained_on(
    folder: Path, state: dict[str, torch.Tensor]
) -> None:
    wanted = Tiny()
    wanted.load_state_dict(state)
    network = load_network(TINY)
    x = torch.rand(1, 3, 5, 7)
    torch.testing.assert_close(network(x), wanted(x), rtol=0, atol=0)
    assert not network.training
    assert all(p.requires_grad and isinstance(p, nn.Parameter) for p in network.parameters())


def test_a_part_takes_its_share_of_the_whole_networks_file(tmp_path: Path) -> None:
    whole, part = find("cisrnet", 2), find("cisrnet-coarse", 2)
    assert (part.family, whole.family) == ("cisrnet", "cisrnet")
    network = whole.build()
    save_state(tmp_path / "whole.safetensors", network.state_dict(), torch.float32)
    coarse = load_network(part, tmp_path / "whole.safetensors")
    x = torch.rand(1, 3, 6, 5)
    torch.testing.assert_close(coarse(x), network.coarse(x))
    save_state(tmp_path / "part.safetensors", part.build().state_dict())
    with pytest.raises(WeightsError, match="missing"):
        load_network(whole, tmp_path / "part.safetensors")


def test_the_network_is_built_once_and_on_the_meta_device(folder: Path) -> None:
    built = []

    def build() -> nn.Module:
        built.append(Tiny())
        assert built[-1].conv.weight.is_meta
        return built[-1]

    assert load_network(replace(TINY, build=build)) is built[0]
    assert len(built) == 1


def test_loading_needs_no_compiler(tmp_path: Path) -> None:
    path = tmp_path / "light.safetensors"
    save_state(path, find("cajnn-light").build().state_dict())
    code = f"""
import sys
from preproc.networks import find
from preproc.weights import load_network
load_network(find("cajnn-light"), {str(path)!r})
print(*(m for m in ("torch._dynamo", "torch._inductor") if m in sys.modules))
"""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert not done.stdout.strip()


@pytest.mark.parametrize("registered", [True, False])
def test_a_tensor_that_no_file_can_hold_is_refused(folder: Path, registered: bool) -> None:
    def build() -> nn.Module:
        network = Tiny()
        if registered:
            network.conv.register_buffer("mean", torch.zeros(3), persistent=False)
        else:
            network.conv.mean = torch.zeros(3)
        return network

    with pytest.raises(ModelError, match=r"hold conv\.mean, a tensor .*persistent buffer"):
        load_network(replace(TINY, build=build))


def test_a_truncated_file_is_a_sentence_that_says_what_to_do(folder: Path) -> None:
    file = folder / "tiny.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"damaged: .*git checkout -- weights.*weights="):
        load_state(TINY)


def test_one_altered_bit_is_found(folder: Path) -> None:
    file = folder / "tiny.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"altered: .*git checkout -- weights"):
        load_state(TINY)


def test_missing_files_are_sentences(folder: Path) -> None:
    (folder / "tiny.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"tiny x1 are missing at .*reinstall preproc"):
        load_state(TINY)
    (folder / "manifest.json").unlink()
    with pytest.raises(WeightsError, match=r"manifest .* is missing; reinstall preproc"):
        load_state(TINY)


def test_a_model_without_shipped_weights_names_the_way_out(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"No weights .* tiny x2 \(shipped: tiny x1\).*weights="):
        load_network(replace(TINY, scale=2))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 2, "entries": []}',
        '{"format": 1, "entries": [{"model": "tiny"}]}',
        '{"format": 1, "entries": [1]}',
    ],
)
def test_a_malformed_manifest_is_a_sentence(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(WeightsError, match=r"manifest\.json .*reinstall preproc"):
        manifest.entries()


def test_a_manifest_that_cannot_be_read_is_a_sentence(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    with pytest.raises(WeightsError, match=r"Could not read .*manifest\.json: .*reinstall preproc"):
        manifest.entries()


@pytest.mark.parametrize(
    ("field", "value"),
    [("file", "../tiny.safetensors"), ("file", "tiny.pth"), ("sha256", "AB"), ("sha256", "A" * 64)]
    + [("card", name) for name in ("/etc/x", "")],
)
def test_an_entry_cannot_point_elsewhere(folder: Path, field: str, value: str) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["entries"][0][field] = value
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="tiny x1"):
        manifest.entries()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_own_file_of_any_precision_loads_as_float32(
    tmp_path: Path, state: dict[str, torch.Tensor], dtype: torch.dtype
) -> None:
    save_state(tmp_path / "mine.safetensors", state, dtype)
    loaded = load_state(TINY, str(tmp_path / "mine.safetensors"))
    assert loaded["conv.weight"].dtype == torch.float32
    stored = state["conv.weight"].to(dtype).float()
    torch.testing.assert_close(loaded["conv.weight"], stored, rtol=0, atol=0)


def test_own_file_may_lie_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save_state("~/mine.safetensors", state)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]
    torch.testing.assert_close(load_state(TINY, "~/mine.safetensors"), state, rtol=0, atol=0)


def test_what_was_loaded_stays_when_the_file_changes(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "mine.safetensors"
    save_state(path, state, torch.float32)
    loaded = load_state(TINY, path)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    torch.testing.assert_close(loaded, state, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mine.pth", "mine.pt", "mine.ckpt", "mine.bin", "mine"])
def test_no_other_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    torch.save(Tiny().state_dict(), tmp_path / name)

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("opened")

    with monkeypatch.context() as patch:
        for home, function in (
            (torch, "load"),
            (builtins, "open"),
            (Path, "open"),
            (safetensors.torch, "load_file"),
        ):
            patch.setattr(home, function, fail)
        with pytest.raises(WeightsError, match=r"is not opened.*save_file.*ema.safetensors"):
            load_state(TINY, tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"x" * 100, "pickle"])
def test_a_file_that_only_claims_to_be_safetensors_is_a_sentence(
    tmp_path: Path, content: bytes | str
) -> None:
    path = tmp_path / "mine.safetensors"
    if isinstance(content, str):
        torch.save(Tiny().state_dict(), path)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        load_state(TINY, path)


def test_own_truncated_or_missing_file_is_a_sentence(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "mine.safetensors"
    save_state(path, state)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        load_state(TINY, path)
    with pytest.raises(WeightsError, match="There is no weights file"):
        load_state(TINY, tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="There is no weights file"):
        load_state(TINY, _made(tmp_path / "folder.safetensors"))
    with pytest.raises(WeightsError, match="There is no weights file ~nobody-here/a"):
        load_state(TINY, "~nobody-here/a.safetensors")


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_file_for_another_network_names_the_differences(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "mine.safetensors"
    save_state(path, {f"net.{key}": value for key, value in state.items()})
    with pytest.raises(WeightsError) as caught:
        load_state(TINY, path)
    assert "3 missing (" in str(caught.value)
    assert "3 unexpected (" in str(caught.value)
    assert "net.conv.weight" in str(caught.value)

    save_state(path, Tiny(width=4).state_dict())
    with pytest.raises(WeightsError, match=r"2 of another shape .*conv.weight \(4, 3, 3, 3\) for"):
        load_state(TINY, path)

    save_state(path, {**state, "conv.bias": torch.zeros(3, dtype=torch.int64)})
    with pytest.raises(WeightsError, match=r"conv.bias torch.int64"):
        load_state(TINY, path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], value: float
) -> None:
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file({**state, "conv.bias": torch.full((3,), value)}, path)
    with pytest.raises(WeightsError, match="infinite or NaN values in"):
        load_state(TINY, path)


def test_saving_what_half_precision_cannot_hold_leaves_the_old_file(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "mine.safetensors"
    save_state(path, state)
    before = path.read_bytes()
    with pytest.raises(WeightsError, match="float16: infinite or NaN values in"):
        save_state(path, {**state, "conv.bias": torch.full((3,), 1e6)})
    assert path.read_bytes() == before


def test_parameters_that_a_network_shares_are_saved_and_shared_again(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
            self.last.weight = self.first.weight

    network = Tied()
    save_state(tmp_path / "tied.safetensors", network.state_dict(), torch.float32)
    tied = ModelDescriptor(name="tied", scale=1, build=Tied)
    loaded = load_network(tied, tmp_path / "tied.safetensors")
    torch.testing.assert_close(loaded.state_dict(), network.state_dict(), rtol=0, atol=0)
    assert loaded.last.weight is loaded.first.weight, "both would train by themselves"
    assert loaded.last.bias is not loaded.first.bias


def test_views_are_saved_as_what_they_show(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    whole = torch.arange(24.0).reshape(1, 2, 3, 4)
    views = {"a": whole[:, :1], "b": whole.contiguous(memory_format=torch.channels_last)}
    save_state(path, views)
    torch.testing.assert_close(
        safetensors.torch.load_file(path), {key: v.half() for key, v in views.items()}
    )


def test_a_failed_write_changes_nothing_and_leaves_no_part(
    folder: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"no room left on the disk to write .*; free some"):
        save_state(folder / "tiny.safetensors", Tiny().state_dict())
    with pytest.raises(OutputError, match=r"no room left on the disk to write .*; free some"):
        manifest.add_entry(replace(entry(folder), steps=11), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_saving_into_a_file_or_by_another_name_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"Cannot write .*mine\.safetensors: .*check its folder"):
        save_state(tmp_path / "file" / "mine.safetensors", Tiny().state_dict())
    with pytest.raises(WeightsError, match=r"end in \.safetensors"):
        save_state(tmp_path / "mine.pth", Tiny().state_dict())


def test_an_entry_replaces_its_predecessor_and_keeps_the_others(folder: Path) -> None:
    manifest.add_entry(replace(entry(folder), scale=4), folder)
    manifest.add_entry(replace(entry(folder), steps=11), folder)
    listed = manifest.entries().values()
    assert [(e.scale, e.steps) for e in listed] == [(1, 11), (4, 10)]


def test_an_entry_that_is_untrue_is_not_listed(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    for change, said in (
        ({"sha256": "0" * 64}, "altered"),
        ({"bytes": 1}, "damaged"),
        ({"file": "absent.safetensors"}, "missing"),
        ({"card": "absent.md"}, "card"),
    ):
        with pytest.raises(WeightsError, match=said):
            manifest.add_entry(replace(entry(folder), **change), folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_the_card_is_read_or_missed(folder: Path) -> None:
    assert manifest.read_card(entry(folder)) == "# tiny"
    theirs = _made(folder / "theirs")
    (theirs / "tiny.md").write_text("# theirs")
    assert manifest.read_card(entry(folder), folder=theirs) == "# theirs"
    (folder / "tiny.md").unlink()
    with pytest.raises(WeightsError, match=r"card of tiny x1.*git checkout"):
        manifest.read_card(entry(folder))


def test_an_installed_package_finds_weights_where_the_build_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    (tmp_path / included["weights"]).mkdir(parents=True)
    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "preproc/manifest.py"))
    assert manifest.shipped_folder() == tmp_path / included["weights"]


def test_everything_shipped_is_whole_described_and_fits_its_network() -> None:
    folder = manifest.shipped_folder()
    listed = manifest.entries().values()
    for shipped in listed:
        descriptor = find(shipped.model, shipped.scale)
        assert shipped.parameters == descriptor.parameters
        assert load_state(descriptor)
        assert manifest.read_card(shipped)
        assert (folder.parent / shipped.recipe).is_file(), shipped.recipe
    undescribed = {path.name for path in folder.glob("*.safetensors")} - {e.file for e in listed}
    assert not undescribed
