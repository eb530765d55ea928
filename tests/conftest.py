"""What tests share: tiny networks with weights on disk, pictures, engines, data, and one thread."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageDraw, ImageFont
from sample_pictures import blocks
from torch import nn

import preproc
from preproc import Enhancer, register
from preproc.networks import ModelDescriptor, SizeRule, Tiling
from preproc.weights import save_state

# Tests run beside each other, and tiny networks gain nothing from more than one thread.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start


class Tiny(nn.Module):
    """Two convolutions and a bilinear skip, x4: all that the stage expects of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 48, 3, padding=1)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            skip = F.interpolate(x.float(), scale_factor=4, mode="bilinear")
        features = F.relu(self.first(x))
        with torch.autocast(x.device.type, enabled=False):
            return skip + F.pixel_shuffle(self.last(features.float()), 4)


class Pooled(Tiny):
    """The same, but with a gate that depends on the whole picture, as CISRNet has."""

    def forward(self, x):
        return super().forward(x) * (0.5 + x.float().mean((-3, -2, -1), keepdim=True))


class Even(Tiny):
    """The same, but it only takes even sizes of at least 6 px."""

    def forward(self, x):
        height, width = x.shape[-2:]
        assert height % 2 == width % 2 == 0, x.shape
        assert min(height, width) >= 6, x.shape
        return super().forward(x)


def _describe(name: str, build: type[nn.Module], **facts) -> ModelDescriptor:
    facts = {"parameters": 3704, "macs_per_pixel": 3672, "overlap": 3} | facts
    return ModelDescriptor(name=name, scale=4, build=build, **facts)


register(
    _describe("tiny", Tiny, maskable=True),
    _describe("tiny-pooled", Pooled, tiling=Tiling.WHOLE),
    _describe("tiny-bordered", Tiny, border=4),
    _describe("tiny-even", Even, maskable=True, size=SizeRule(minimum=6, multiple_of=2)),
)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """Fixed weights that fit every tiny network and visibly change a picture."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = Tiny().state_dict()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_state(path, state, torch.float32)
    return path


@pytest.fixture(scope="session")
def skip_weights(tmp_path_factory) -> Path:
    """Weights that leave only the bilinear skip: white stays white, black stays black."""
    path = tmp_path_factory.mktemp("weights") / "skip.safetensors"
    save_state(path, {k: torch.zeros_like(v) for k, v in Tiny().state_dict().items()})
    return path


@pytest.fixture(scope="session")
def make(tiny_weights):
    """Make an Enhancer: ``make()`` is tiny, on the CPU, in float32."""
    return partial(Enhancer, "tiny", weights=tiny_weights, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def make_skip(skip_weights):
    """Make an Enhancer that enlarges bilinearly and does nothing else."""
    return partial(Enhancer, "tiny", weights=skip_weights, device="cpu", dtype="float32")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def transform(tiny_weights):
    """Make an EnhanceTransform, as ``make`` makes an Enhancer; needs torchvision."""
    facts = {"weights": tiny_weights, "device": "cpu", "dtype": "float32"}
    return partial(preproc.EnhanceTransform, "tiny", **facts)


@pytest.fixture
def batch_stage(tiny_weights):
    """Make an EnhanceBatch, in the same way."""
    facts = {"weights": tiny_weights, "device": "cpu", "dtype": "float32"}
    return partial(preproc.EnhanceBatch, "tiny", **facts)


@pytest.fixture
def picture(rng) -> np.ndarray:
    """A small random picture in colour, uint8 (H, W, 3)."""
    return rng.integers(0, 256, (10, 14, 3), dtype=np.uint8)


@pytest.fixture
def photo(rng) -> Image.Image:
    """A small picture in colour that no filter's overshoot changes much."""
    return Image.fromarray(blocks((12, 20, 3), rng))


@pytest.fixture(scope="session")
def profile() -> bytes:
    """An ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data sets that are not part of the project."""
    folder = Path(os.environ.get("PREPROC_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the data folder {folder} is absent; set PREPROC_SHARED to have this tested")
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder of data to train on, with two photographs in `photos`."""
    folder = tmp_path / "data" / "photos"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(2):
        small = rng.integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(small).resize((200, 160), Image.Resampling.BICUBIC).save(
            folder / f"{k}.png"
        )
    return folder.parent


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Lightning says nothing of the machine and gives no advice."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The axes of every figure that is saved, whose file is then a picture of 2x2 px."""
    figures = pytest.importorskip("matplotlib.figure")
    drawn = []

    def savefig(self, file, **_):
        drawn.extend(self.axes)
        Image.new("RGB", (2, 2)).save(file, "PNG")

    monkeypatch.setattr(figures.Figure, "savefig", savefig)
    return drawn


@pytest.fixture(scope="session")
def sign():
    """A sign of two lines, upright, in colour."""
    image = Image.new("RGB", (300, 112), (20, 90, 60))
    draw = ImageDraw.Draw(image)
    for top, line in ((10, "Emergency exit"), (62, "Second floor")):
        draw.text((14, top), line, fill=(245, 240, 220), font=ImageFont.load_default(34))
    return image


@pytest.fixture(scope="session")
def text_engine():
    """EasyOCR's reader of English, on the CPU, as its adapter makes one."""
    models = pytest.importorskip("easyocr_en_models", reason="the offline EasyOCR models")
    pytest.importorskip("easyocr")
    from integrations import easyocr

    return easyocr.Reader(
        ["en"],
        gpu=False,
        model_storage_directory=models.model_dir(),
        download_enabled=False,
        quantize=False,
        verbose=False,
    ).engine


def batches(monkeypatch):
    """The shapes of all that tiny networks will be given, as a list that grows."""
    shapes, forward = [], Tiny.forward
    monkeypatch.setattr(Tiny, "forward", lambda self, x: shapes.append(x.shape) or forward(self, x))
    return shapes


def tiled_difference(make_enhancer, image: np.ndarray, **tiled) -> float:
    """Worst difference, in 1/255, between a float32 (H, W, 3) picture tiled and whole.

    Args:
        make_enhancer: called with ``tile`` and what else differs, gives an Enhancer.
        image: float32 in [0, 1].
        tiled: ``tile`` and, if not the default, ``overlap``.
    """
    whole, pieces = make_enhancer(tile=0)(image), make_enhancer(**tiled)(image)
    return float(np.abs(whole - pieces).max() * 255)


def chw(picture: np.ndarray) -> torch.Tensor:
    """An (H, W, C) picture as torch has it."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)


def photograph(height: int, width: int) -> np.ndarray:
    """Edges, gradients and noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([127 + 90 * np.sin(x / 9 + c) * np.cos(y / 7) for c in range(3)], -1)
    smooth[(x // 11 + y // 13) % 3 == 0] += 60
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
