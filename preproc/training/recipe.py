"""All keys of a training recipe, as frozen dataclasses that check their values themselves.

`preproc.training.recipe_file` reads them from TOML, and checks their types. Values that a table
cannot hold are a `RecipeError` that names the key as a recipe has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from preproc.degrade import KERNELS, USUAL_KERNEL
from preproc.errors import RecipeError
from preproc.training.data.degradation import Degradation
from preproc.training.finite import require_finite

Table = Mapping[str, Any]

CACHE = "cache"
"""Sub-folder of a run for decoded pictures, beside the stages' folders."""

_LARGEST_SEED = 2**31 - 1  # with the steps that a run goes on from added, numpy still takes it


@dataclass(frozen=True)
class Source:
    """Where pictures come from.

    Attributes:
        path: folder of pictures below the data folder, searched recursively.
        kind: ``"folder"``, or ``"text"`` for words rendered on the pictures of ``path``
            (or on plain grounds when ``path`` is empty).
        weight: how often it is drawn, relative to the other sources.
        shrink: reduce pictures by this factor first; photographs straight from a camera are soft
            at full size.
        kernel: resampling kernel that makes the LR pictures, one of `preproc.degrade.KERNELS`; web
            apps use any of them.
        licence: what the weights' card says of it.
    """

    path: str = ""
    kind: Literal["folder", "text"] = "folder"
    weight: float = 1.0
    shrink: int = 1
    kernel: str = USUAL_KERNEL
    licence: str = ""

    def __post_init__(self) -> None:
        require_finite(vars(self), "data.source")
        if self.weight < 0 or self.shrink < 1:
            raise RecipeError("data.source: a source's weight is at least 0, its shrink 1.")
        if self.kernel not in KERNELS:
            raise RecipeError(
                f"data.source: a source's kernel is one of {', '.join(KERNELS)}, but is "
                f"{self.kernel!r}."
            )


@dataclass(frozen=True)
class Data:
    """What a batch is made of.

    Attributes:
        patch: side of the LR patch in px; the HR patch is ``scale`` times that.
        batch: patches a step on each device.
        workers: loading processes; 0 loads in the training process.
        reuse: patches cut from one rendered picture before another is rendered.
        source: the sources.
    """

    patch: int = 32
    batch: int = 16
    workers: int = 0
    reuse: int = 16
    source: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        if self.patch < 1 or self.batch < 1 or self.reuse < 1:
            raise RecipeError("data.patch, data.batch and data.reuse must be at least 1.")
        if self.workers < 0:
            raise RecipeError("data.workers must be at least 0.")
        if self.source and not any(source.weight for source in self.source):
            raise RecipeError(
                "data.source: the weight of every source is 0, so that none would be drawn; set "
                "one above 0."
            )


@dataclass(frozen=True)
class Optimizer:
    """How the loss is minimised.

    Attributes:
        kind: ``"adam"``, or ``"muon"`` for kernels and Adam for the rest
            (`preproc.training.optimizer.KernelMuon`).
        lr: peak learning rate, of Muon and Adam alike.
        betas: Adam's decay rates.
        eps: Adam's epsilon.
        clip: largest gradient norm; 0 does not clip.
    """

    kind: Literal["adam", "muon"] = "adam"
    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    clip: float = 0.0

    def __post_init__(self) -> None:
        require_finite(vars(self), "optimizer")
        if not (self.lr > 0 and self.eps > 0):
            raise RecipeError("optimizer.lr and optimizer.eps must be above 0.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"optimizer.betas lie in [0, 1), but are {self.betas}.")
        if self.clip < 0:
            raise RecipeError("optimizer.clip must be at least 0.")


@dataclass(frozen=True)
class Schedule:
    """How the learning rate runs, and when the stage ends.

    Attributes:
        kind: ``"cosine"`` falls from ``lr`` to ``floor`` and restarts at each of ``restarts``;
            ``"step"`` multiplies by ``gamma`` at each of ``milestones``; ``"constant"`` stays.
        unit: what ``length``, ``warmup``, ``restarts`` and ``milestones`` count: optimizer steps,
            or minutes of training (validation and pauses not counted). In minutes the schedule
            ends after the same time on any machine.
        length: where the stage ends; infinity for never.
        warmup: the rate rises from 0 over this much at the beginning.
        restarts: where the cosine starts anew.
        milestones: where ``"step"`` steps.
        gamma: factor of ``"step"``.
        floor: lowest rate of the cosine.
    """

    kind: Literal["cosine", "step", "constant"] = "cosine"
    unit: Literal["steps", "minutes"] = "steps"
    length: float = 1_000_000
    warmup: float = 0.0
    restarts: tuple[float, ...] = ()
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    floor: float = 1e-7

    def __post_init__(self) -> None:
        require_finite(vars(self), "schedule", but="length")
        if not self.length > 0:
            raise RecipeError("schedule.length must be above 0.")
        if min(self.gamma, self.floor, self.warmup) < 0:
            raise RecipeError(
                "schedule.gamma, schedule.floor and schedule.warmup must be at least 0."
            )
        if not all(at > 0 for at in (*self.restarts, *self.milestones)):
            raise RecipeError("schedule.restarts and schedule.milestones must be above 0.")
        for key, kind in (("restarts", "cosine"), ("milestones", "step")):
            if getattr(self, key) and self.kind != kind:
                raise RecipeError(
                    f'schedule.{key} is for kind = "{kind}", but schedule.kind is "{self.kind}"; '
                    f"set schedule.{key} to [], or change the kind."
                )


@dataclass(frozen=True)
class Loss:
    """What is minimised; pictures are in [0, 1].

    Attributes:
        pixel: ``"l1"`` (mean), ``"charbonnier"`` (mean, epsilon 1e-3) or ``"l2"`` (mean square).
        pixel_weight: its weight.
        perceptual: ``"vgg19"`` compares phi5,4 (conv5_4 before its ReLU) by mean squared error;
            ``"craft"`` the same on the VGG16-BN trunk of EasyOCR's text detector, ``"reader"`` on
            the convolutions of its English recogniser, which sees Rec. 601 luma; ``"detector"``
            compares what MTCNN says of every window (`preproc.training.detector`).
        perceptual_weight: its weight, 0 without one and only then. The paper's 0.05 belongs to
            pixels in 0..255; in [0, 1] the same balance is 0.05 / 255.
        perceptual_file: the user's own VGG19 weights (safetensors, torchvision's names).
        lr_weight: lambda of CAJNN's eq. 8: L1 between an LR picture reconstructed from the trunk's
            features and the uncompressed LR.
        part: ``"coarse"`` trains and supervises CISRNet's coarse half alone; ``"fine"`` trains its
            fine half on what the coarse one gives, which stays as it is.
    """

    pixel: Literal["l1", "l2", "charbonnier"] = "l1"
    pixel_weight: float = 1.0
    perceptual: Literal["none", "vgg19", "craft", "reader", "detector"] = "none"
    perceptual_weight: float = 0.0
    perceptual_file: str = ""
    lr_weight: float = 0.0
    part: Literal["all", "coarse", "fine"] = "all"

    def __post_init__(self) -> None:
        require_finite(vars(self), "loss")
        if min(self.pixel_weight, self.perceptual_weight, self.lr_weight) < 0:
            raise RecipeError("loss: the weights of losses must be at least 0.")
        if not (self.pixel_weight or self.perceptual_weight or self.lr_weight):
            raise RecipeError(
                "loss: pixel_weight, perceptual_weight and lr_weight are all 0, so that nothing "
                "would be minimised; set one above 0."
            )
        if (self.perceptual == "none") != (self.perceptual_weight == 0):
            raise RecipeError(
                f'loss.perceptual is "{self.perceptual}", but loss.perceptual_weight '
                f"{self.perceptual_weight:g}, so that one of them would be ignored; name a loss "
                'and set its weight above 0, or set "none" and 0.'
            )


@dataclass(frozen=True)
class Validation:
    """What the curve shows; never a test set.

    Attributes:
        path: folder below the data folder; empty switches validation off.
        quality: JPEG qualities measured.
        limit: pictures used, the first by name; 0 uses all.
        every: minutes of training between measurements.
    """

    path: str = ""
    quality: tuple[int, ...] = (10, 40)
    limit: int = 0
    every: float = 10.0

    def __post_init__(self) -> None:
        require_finite(vars(self), "validation")
        if not self.quality or not all(1 <= quality <= 100 for quality in self.quality):
            raise RecipeError(
                "validation.quality lists JPEG qualities of 1 to 100, but is "
                f'{list(self.quality)}; validation.path = "" measures nothing.'
            )
        if self.limit < 0 or not self.every > 0:
            raise RecipeError("validation.limit must be at least 0, validation.every above 0.")


@dataclass(frozen=True)
class Stage:
    """One training run of one network.

    Attributes:
        name: name of its results folder; a plain name other than ``cache``, which holds the
            decoded pictures.
        model: registered name of the network.
        scale: output px per input px.
        network: keywords for the registered model's ``build``.
        init_from: weights to start from (a safetensors file, a checkpoint, or the name of a
            shipped model); a smaller network of the family is grown into this one. ``"nearest"``
            lets a CISRNet start as nearest-neighbour enlargement. The stage before takes
            precedence, the command line over both.
        seed: of weights, order and degradation.
        ema: decay of the averaged weights, which are what is validated and exported; less in the
            first steps (`preproc.training.averaging`).
        keep: share of the weights that the stage starts with in those it ends with, in [0, 1). The
            mean of both, 0.5, can be good at what either is good at (WiSE-FT, Wortsman et al.,
            2022). The curve is that of the trained ones alone.
        data, degrade, optimizer, schedule, loss, validation: the tables of the same names.
    """

    model: str
    name: str = "train"
    scale: int = 4
    network: Table = field(default_factory=dict)
    init_from: str = ""
    seed: int = 1
    ema: float = 0.999
    keep: float = 0.0
    data: Data = Data()
    degrade: Degradation = field(default_factory=Degradation)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    validation: Validation = Validation()

    def __post_init__(self) -> None:
        self._require_name()
        require_finite(vars(self))
        if not 0 <= self.ema < 1:
            raise RecipeError(f"ema lies in [0, 1), but is {self.ema}.")
        if not 0 <= self.keep < 1:
            raise RecipeError(f"keep lies in [0, 1), but is {self.keep}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise RecipeError(f"seed must be 0 to {_LARGEST_SEED}, but is {self.seed}.")
        if self.schedule.kind == "cosine" and self.schedule.floor > self.optimizer.lr:
            raise RecipeError(
                f"The cosine falls from optimizer.lr to schedule.floor, but lr is "
                f"{self.optimizer.lr:g} and floor {self.schedule.floor:g}."
            )

    def _require_name(self) -> None:
        plain = all(kind(self.name).name == self.name for kind in (PurePosixPath, PureWindowsPath))
        if not plain or self.name in ("", "..", CACHE):
            raise RecipeError(
                f"A stage's name is that of its folder in the output folder, neither empty nor a "
                f"path nor {CACHE!r}, but is {self.name!r}."
            )

    def as_table(self) -> dict[str, Any]:
        """Everything that determines the run, as plain values."""
        return asdict(self)
