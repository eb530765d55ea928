"""See better before you read or detect: restores and enlarges compressed, shrunk pictures.

::

    from preproc import Enhancer

    better = Enhancer()("photo.jpg")  # a PIL image, four times larger
    better.save("better.png")

- `Enhancer`: the stage, a picture of any kind in and the same kind out.
- `EnhanceTransform` and `EnhanceBatch`: the stage in torchvision pipelines, where boxes, masks and
  keypoints move with the pixels (they need the extra ``transforms``).
- `EnhancerModule`: the stage as a layer, with gradients.
- `list_models`, `register` and `ModelDescriptor`: the networks there are, and networks of your own.
- `PreprocError` and `PreprocWarning`: the bases of all that is raised on purpose, and of all
  warnings of its own; `preproc.errors` has all errors and most warnings.

Adapters for EasyOCR, Tesseract, RapidOCR and MTCNN are in the package ``integrations``. Names are
resolved on first use, so that ``import preproc`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preproc.enhancer import Enhancer as Enhancer
    from preproc.errors import PreprocError as PreprocError
    from preproc.errors import PreprocWarning as PreprocWarning
    from preproc.module import EnhancerModule as EnhancerModule
    from preproc.networks import ModelDescriptor as ModelDescriptor
    from preproc.networks import list_models as list_models
    from preproc.networks import register as register
    from preproc.transforms.enhance import EnhanceBatch as EnhanceBatch
    from preproc.transforms.enhance import EnhanceTransform as EnhanceTransform

__version__ = "0.1.0"

_HOME = {
    "EnhanceBatch": "preproc.transforms.enhance",
    "EnhanceTransform": "preproc.transforms.enhance",
    "Enhancer": "preproc.enhancer",
    "EnhancerModule": "preproc.module",
    "ModelDescriptor": "preproc.networks",
    "PreprocError": "preproc.errors",
    "PreprocWarning": "preproc.errors",
    "list_models": "preproc.networks",
    "register": "preproc.networks",
}
# The two for torchvision are left out of `import *`, which has to work without torchvision.
__all__ = [
    "Enhancer",
    "EnhancerModule",
    "ModelDescriptor",
    "PreprocError",
    "PreprocWarning",
    "__version__",
    "list_models",
    "register",
]


def __getattr__(name: str) -> object:
    """Import the module behind a public name when the name is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'preproc' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(_HOME if find_spec("torchvision") else ())})
