"""Descriptors of networks, and the registry that finds them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import nn

from preproc.errors import ModelError


class Tiling(Enum):
    """How a network may be applied to a large image."""

    TILES = "tiles"
    """Purely local: tiles that overlap by the descriptor's ``overlap`` give the whole's answer."""
    WHOLE = "whole"
    """Pools globally: tiles change the answer, so the image stays whole unless the user asks."""


@dataclass(frozen=True)
class SizeRule:
    """Which input sizes a network takes; the stage pads by reflection and crops the result.

    Attributes:
        minimum: smallest height and width in LR px; neutral value 1.
        multiple_of: height and width must be multiples of it; neutral value 1.
    """

    minimum: int = 1
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if self.minimum < 1 or self.multiple_of < 1:
            raise ModelError(f"A size rule needs values of at least 1, but got {self}.")

    def padded(self, size: int) -> int:
        """The smallest allowed extent in px that is not below ``size``."""
        size = max(size, self.minimum)
        return -(-size // self.multiple_of) * self.multiple_of


@dataclass(frozen=True)
class ModelDescriptor:
    """A network's contract with the stage, which the stage knows without building it.

    ``build()`` returns a module that maps a float tensor (N, 3, H, W), RGB in [0, 1], to
    (N, 3, scale*H, scale*W), RGB, not clamped, of the input's dtype or float32. It keeps no state
    between calls and knows nothing of images, tiles or devices. What else it can do, it says by its
    base classes: run its enlarging end in strips (`preproc.networks.halves.Splittable`), or layer
    by layer (`preproc.networks.steps.Stepwise`), and it or its layers take a form for inference
    (`preproc.networks.inference`: ``Preparable``, ``Compilable``). Licence, card and measured
    results belong to weights rather than to a network: ``preproc.manifest.entry_for`` has them.

    Attributes:
        name: registry name, lower case with dashes, shared by the scales of one architecture.
        scale: output px per input px, along each side.
        build: makes the module with its initial weights, without arguments; keywords that it may be
            given are what a recipe can set in its table ``network``.
        parameters: number of trainable values; None to have them counted where they are asked for
            (`preproc.networks.counts.cost_of`).
        macs_per_pixel: multiply-accumulates per LR px, likewise.
        tiling: whether tiles give the whole image's answer.
        overlap: LR px of real neighbours each tile is given on every inner side by default;
            measured with the trained weights, which see less far than their layers could.
        border: LR px of reflection that the stage puts around a picture and cuts off again, for
            networks in which zero padding shows.
        maskable: whether px influence each other only through zero-padded ``nn.Conv2d`` of stride 1
            or a bilinear enlargement of the input, so that pictures of different sizes can share a
            batch and each has the answer it has alone (`preproc.networks.masking`).
        dtypes: dtypes that are safe besides float32, the preferred first.
        size: which input sizes are allowed.
        title: one line for people: architecture and paper.
        part_of: name of the model whose weights it shares, of which it takes those it has keys
            for; empty for a model with weights of its own.
    """

    name: str
    scale: int
    build: Callable[..., nn.Module]
    parameters: int | None = None
    macs_per_pixel: int | None = None
    tiling: Tiling = Tiling.TILES
    overlap: int = 32
    border: int = 0
    maskable: bool = False
    dtypes: tuple[torch.dtype, ...] = ()
    size: SizeRule = SizeRule()
    title: str = ""
    part_of: str = ""

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.lower() or " " in self.name:
            raise ModelError(
                f"A model's name must be lower case without spaces, but got {self.name!r}."
            )
        if self.scale < 1:
            raise ModelError(f"{self.name}: scale must be 1 or more, but is {self.scale}.")
        counts = (self.parameters, self.macs_per_pixel, self.overlap, self.border)
        if min(count or 0 for count in counts) < 0:
            raise ModelError(f"{self.name}: counts, overlap and border cannot be negative.")
        if self.maskable and self.tiling is Tiling.WHOLE:
            raise ModelError(f"{self.name}: a network that pools cannot be maskable.")

    def __str__(self) -> str:
        return f"{self.name} x{self.scale}"

    @property
    def family(self) -> str:
        """Name of the model whose weights it loads: ``part_of`` if set, else its own."""
        return self.part_of or self.name


_registry: dict[tuple[str, int], ModelDescriptor] = {}


def register(*descriptors: ModelDescriptor, replace: bool = False) -> None:
    """Make networks known by name; all are added, or on error none.

    Args:
        descriptors: the networks, one descriptor a scale.
        replace: whether a name and scale already known may be taken over.

    Raises:
        ModelError: a name and scale is known already, or given twice.
    """
    added: dict[tuple[str, int], ModelDescriptor] = {}
    for descriptor in descriptors:
        key = (descriptor.name, descriptor.scale)
        if key in added:
            raise ModelError(f"{descriptor} is given twice; register it once.")
        if key in _registry and not replace:
            raise ModelError(
                f"{descriptor} is registered already; choose another name or pass replace=True."
            )
        added[key] = descriptor
    _registry.update(added)


def list_models() -> list[ModelDescriptor]:
    """Every known network, in order of registration."""
    return list(_registry.values())


def find(name: str, scale: int | None = None) -> ModelDescriptor:
    """The descriptor of a network.

    Args:
        name: as registered, for example ``"cajnn"``.
        scale: output px per input px; by default the largest the network is registered with.

    Raises:
        ModelError: no network of that name, or not at that scale.
    """
    scales = {s: d for (n, s), d in _registry.items() if n == name}
    if not scales:
        known = _joined(n for n, _ in _registry)
        raise ModelError(f"There is no model {name!r}; known are {known}.")
    if scale is None:
        return scales[max(scales)]
    if scale not in scales:
        others = _joined(n for n, s in _registry if s == scale)
        raise ModelError(
            f"{name} has no scale {scale!r}, only {_joined(f'x{s}' for s in scales)}"
            f"{f'; {others} have it' if others else ''}."
        )
    return scales[scale]


def _joined(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))
