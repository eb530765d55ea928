"""What training minimises: differences of pixels, and of what trained networks make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.extras import from_extra, importing
from preproc.paths import expanded
from preproc.training.detector import Detections
from preproc.training.recipe import Loss

_CHARBONNIER_EPS = 1e-3
# ImageNet's channel means and standard deviations, RGB in [0, 1], which both trunks expect.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VGG19_LAYERS = 35  # features[:35] ends with conv5_4, before its ReLU


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean of ``sqrt(d*d + 1e-6)`` over the differences of two tensors of one shape."""
    return ((output - target).square() + _CHARBONNIER_EPS**2).sqrt().mean()


PIXEL_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "charbonnier": charbonnier,
}
"""By the recipe's names, of an output and a target of one shape."""


class Perceptual:
    """Mean squared distance between the features of two pictures, (N, 3, H, W), RGB in [0, 1].

    Args:
        trunk: gives the features; it is frozen.
    """

    def __init__(self, trunk: nn.Module) -> None:
        self.trunk = trunk.eval().requires_grad_(False)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The distance; gradients reach ``output`` only."""
        with torch.no_grad():
            wanted = self.trunk(target)
        return F.mse_loss(self.trunk(output), wanted)


def make_perceptual(loss: Loss) -> Perceptual | Detections | None:
    """The perceptual loss of a recipe, or None.

    Raises:
        RecipeError: VGG19 without a weights file.
        MissingLibraryError: the others without EasyOCR's offline models or facenet-pytorch.
    """
    if loss.perceptual == "none":
        return None
    if loss.perceptual == "detector":
        return Detections()
    if loss.perceptual == "vgg19":
        return Perceptual(_vgg19(loss.perceptual_file))
    return Perceptual(_craft() if loss.perceptual == "craft" else _reader())


def _vgg19(file: str) -> nn.Module:
    if not file or not (path := expanded(file)).is_file():
        raise RecipeError(
            "The VGG19 loss needs torchvision's vgg19 weights as a safetensors file in "
            f"loss.perceptual_file, but {file or 'none'} is not one; give it, or use "
            'perceptual = "craft".'
        )
    from torchvision.models import vgg19  # noqa: PLC0415 - only for this loss
    from torchvision.transforms import v2  # noqa: PLC0415

    network = vgg19()
    network.load_state_dict(load_file(path))
    return nn.Sequential(v2.Normalize(_MEAN, _STD), network.features[:_VGG19_LAYERS])


def _craft() -> nn.Module:
    """The first four slices of CRAFT's VGG16-BN, to the resolution of 1/16, as one sequence."""
    state = _easyocr_state("craft_mlt_25k.pth")
    from easyocr.craft import CRAFT  # noqa: PLC0415 - only for this loss
    from torchvision.transforms import v2  # noqa: PLC0415

    network = CRAFT(pretrained=False, freeze=False)
    network.load_state_dict(state)
    base = network.basenet
    slices = (base.slice1, base.slice2, base.slice3, base.slice4)
    return nn.Sequential(v2.Normalize(_MEAN, _STD), *slices)


def _reader() -> nn.Module:
    """The convolutions of EasyOCR's English recogniser, to a quarter of the width."""
    state = _easyocr_state("english_g2.pth")
    from easyocr.model.vgg_model import Model  # noqa: PLC0415 - only for this loss
    from torchvision.transforms import v2  # noqa: PLC0415

    symbols, width = state["Prediction.weight"].shape
    network = Model(1, state["FeatureExtraction.ConvNet.0.weight"].shape[0] * 8, width, symbols)
    network.load_state_dict(state)
    # It is shown luma in [-1, 1].
    return nn.Sequential(v2.Grayscale(), v2.Normalize([0.5], [0.5]), network.FeatureExtraction)


def _easyocr_state(file: str) -> dict[str, Tensor]:
    with importing('A loss of "craft" or "reader"', from_extra("demo")):
        import easyocr  # noqa: F401, PLC0415 - only for these losses
        import easyocr_en_models  # noqa: PLC0415
    # Pinned by hash in the requirements; weights_only keeps the pickle from running code.
    path = Path(easyocr_en_models.model_dir()) / file
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {k.removeprefix("module."): v for k, v in state.items()}
