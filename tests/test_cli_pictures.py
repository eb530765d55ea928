"""`preproc enhance` the whole way, with a network that only repeats px."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from command_line import call
from PIL import Image


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    import torch
    from torch import nn

    from preproc.networks import ModelDescriptor, register
    from preproc.weights import save_state

    class Repeat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.gain * nn.functional.interpolate(x, scale_factor=2.0)

    register(ModelDescriptor("cli-repeat", 2, Repeat, 1, 12), replace=True)
    save_state(tmp_path / "w.safetensors", Repeat().state_dict())
    return tmp_path / "w.safetensors"


def test_every_kind_of_picture_comes_out_right(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    source = tmp_path / "in"
    source.mkdir()
    rng = np.random.default_rng(0)
    color = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    inputs = {
        "rgb.png": color,
        "grey.png": color.convert("L"),
        "bilevel.tif": color.convert("1"),
        "alpha.png": Image.merge("RGBA", [*color.split(), color.getchannel(0)]),
        "deep.png": Image.fromarray(rng.integers(0, 65536, (5, 7), np.uint16)),
        "deep.tif": Image.fromarray(rng.integers(0, 65536, (5, 7), np.uint16)),
        "ink.tif": color.convert("CMYK"),
        "palette.gif": color.quantize(16),
    }
    for name, image in inputs.items():
        image.save(source / name)
    color.save(source / "turned.png", exif=exif, dpi=(300, 300))
    options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
    code = call("enhance", source, "-o", tmp_path / "out", "--dtype", "float32", *options)
    assert code == 0, capfd.readouterr().err
    for name, image in inputs.items():
        expected = image.convert("RGB") if name == "palette.gif" else image
        result = Image.open(tmp_path / "out" / name.replace("gif", "png"))
        assert result.mode == expected.mode, name
        assert result.size == (14, 10), name
        if name != "alpha.png":  # alpha is smoothed, not repeated
            repeated = np.asarray(expected).repeat(2, 0).repeat(2, 1).astype(int)
            assert np.abs(np.asarray(result).astype(int) - repeated).max() <= 1, name
    turned = Image.open(tmp_path / "out/turned.png")
    assert turned.size == (10, 14)
    assert dict(turned.getexif()) == {0x010F: "A camera"}
    assert tuple(map(round, turned.info["dpi"])) == (300, 300)
    straight = np.asarray(color.transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(np.asarray(turned)[::2, ::2], straight)


def test_deep_photographs_of_every_orientation_come_out_upright(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from preproc.pictures import png16

    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 4), np.uint16)
    values[..., 3] = 40000
    kinds = {"rgb": values[..., :3], "grey_alpha": values[..., 2:]}
    to = Image.Transpose
    turns = [None, to.FLIP_LEFT_RIGHT, to.ROTATE_180, to.FLIP_TOP_BOTTOM]
    turns += [to.TRANSPOSE, to.ROTATE_270, to.TRANSVERSE, to.ROTATE_90]
    exif = Image.Exif()
    for kind, samples in kinds.items():
        for orientation in range(1, 9):
            exif[0x0112], exif[0x010F] = orientation, "A camera"
            file = source / f"{kind}_{orientation}.png"
            file.write_bytes(png16.write(samples, {"exif": exif}))
    options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
    code = call("enhance", source, "-o", out, "--dtype", "float32", *options)
    assert code == 0, capfd.readouterr().err
    for kind, samples in kinds.items():
        for orientation, turn in enumerate(turns, 1):
            data = (out / f"{kind}_{orientation}.png").read_bytes()
            planes = [Image.fromarray(plane) for plane in np.moveaxis(samples, -1, 0)]
            upright = [plane if turn is None else plane.transpose(turn) for plane in planes]
            assert np.array_equal(png16.read(data)[::2, ::2], np.dstack(upright)), orientation
            assert dict(Image.open(io.BytesIO(data)).getexif()) == {0x010F: "A camera"}


def test_to_input_size(tmp_path: Path, weights: Path) -> None:
    source, out = tmp_path / "a.png", tmp_path / "out"
    Image.new("RGB", (7, 5), "red").save(source)
    options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
    assert call("enhance", source, "-o", out, "--to-input-size", *options) == 0
    assert Image.open(out / "a.png").size == (7, 5)


def test_damaged_exif_costs_no_picture(tmp_path: Path, weights: Path) -> None:
    source = tmp_path / "a.jpg"
    Image.new("RGB", (6, 4)).save(source, exif=b"Exif\0\0garbage, no TIFF header")
    options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
    assert call("enhance", source, "-o", tmp_path / "out", *options) == 0
