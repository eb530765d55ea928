"""An enhancer for data pipelines: can be pickled, is built where it is used, may have a cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, Unpack

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from preproc import __version__
from preproc.enhancer import Enhancer
from preproc.errors import OptionError, WeightsError
from preproc.execution.devices import choose_dtype
from preproc.execution.sizes import sizes_for
from preproc.manifest import digest_for
from preproc.networks import find, list_models, register
from preproc.options import EnhancerOptions, require_options, tile_policy
from preproc.paths import absolute_path
from preproc.transforms.cache import PictureCache, key_of

InWorker: TypeAlias = Literal["error", "cpu"]

_CPU = torch.device("cpu")
_APART = {"scale", "weights", "batch_size"}
"""Options that a key holds in another form, or that do not change the result."""


class DeferredEnhancer:
    """Enhances samples with an `Enhancer` that each process builds when it first needs it.

    What is pickled is the description only, so that it may go to DataLoader workers. With a cache,
    results made before need neither network nor device.

    Attributes:
        scale: output px per input px: the network's, or 1 with ``to_input_size``.
        device: where the network runs, except in DataLoader workers.
        cache: where results are kept, if anywhere.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | int | torch.device | None,
        in_worker: InWorker,
        cache: PictureCache | str | Path | None,
        **options: Unpack[EnhancerOptions],
    ) -> None:
        """Describe an enhancer; nothing is loaded, and no device is touched.

        Args:
            model: registry name.
            device: by default CUDA where it is there.
            in_worker: what to do in a DataLoader worker where ``device`` is not the CPU.
            cache: a folder, or a cache with a limit of its own.
            options: of the enhancer.

        Raises:
            ModelError: there is no such model, or not at that scale.
            OptionError: an option is out of range, or at odds with another.
            OutputError: the cache's folder cannot be made, or written to while it is empty.
        """
        if in_worker not in ("error", "cpu"):
            raise OptionError(f"in_worker must be 'error' or 'cpu', but is {in_worker!r}.")
        unknown = sorted(options.keys() - EnhancerOptions.__annotations__.keys())
        if unknown:
            raise OptionError(
                f"There is no option {', '.join(unknown)}; known are "
                f"{', '.join(EnhancerOptions.__annotations__)}."
            )
        self._descriptor = find(model, options.get("scale"))
        self.scale = 1 if options.get("to_input_size") else self._descriptor.scale
        require_options(options)
        self.device = _described(device)
        choose_dtype(_CPU, options.get("dtype"))
        for place in {self.device, _CPU} if in_worker == "cpu" else {self.device}:
            tile_policy(
                self._descriptor,
                options.get("tile"),
                options.get("overlap"),
                sizes_for(place),
                shrinks=bool(options.get("to_input_size")),
            )
        self._asked = device
        if cache is not None and not isinstance(cache, str | Path | PictureCache):
            raise OptionError(f"cache must be a folder or a PictureCache, but is {cache!r}.")
        self.cache = PictureCache(cache) if isinstance(cache, str | Path) else cache
        if (weights := options.get("weights")) is not None:
            options["weights"] = absolute_path(weights)  # wherever it is built
        self._in_worker, self._options = in_worker, options
        self._built: dict[torch.device, Enhancer] = {}
        self._maker: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The description without what this process built from it."""
        return self.__dict__ | {"_built": {}, "_maker": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Bring a network of your own along to a process that has not registered it."""
        self.__dict__.update(state)
        known = {(descriptor.name, descriptor.scale) for descriptor in list_models()}
        if (self._descriptor.name, self._descriptor.scale) not in known:
            register(self._descriptor)

    def __call__(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Enhance samples.

        Args:
            pictures: (N, C, H, W) each, of any sizes, as `preproc.pictures.picture.Picture.color`
                holds them.

        Returns:
            (N, C, scale*H, scale*W) each, of the same dtype, on the CPU.

        Raises:
            OptionError: in a DataLoader worker, if the device is not the CPU.
            WeightsError: the weights are missing, damaged, or for another network.
        """
        if self.cache is None:
            return self._enhanced(pictures)
        keys = [key_of(picture, self._describe()) for picture in pictures]
        results = {key: kept for key in set(keys) if (kept := self.cache.get(key)) is not None}
        missing = {key: p for key, p in zip(keys, pictures, strict=True) if key not in results}
        for key, result in zip(missing, self._enhanced(list(missing.values())), strict=True):
            self.cache.put(key, result)
            results[key] = result
        # Equal pictures get results of their own, which may be changed in place.
        return [
            results[key] if keys.index(key) == n else results[key].clone()
            for n, key in enumerate(keys)
        ]

    def _enhanced(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        if not pictures:
            return []
        device = self._device_here()
        if device not in self._built:
            name, scale = self._descriptor.name, self._descriptor.scale
            options = self._options | {"scale": scale}
            # If no device was asked for, let the Enhancer choose: it falls back to the CPU where a
            # GPU turns out not to work.
            chosen = self._asked if device == self.device else device
            made = Enhancer(name, device=chosen, **options)
            self._require_unchanged()
            self._built[device] = made
        return self._built[device](list(pictures))

    def _device_here(self) -> torch.device:
        if self.device.type == "cpu" or get_worker_info() is None:
            return self.device
        if self._in_worker == "cpu":
            return _CPU
        raise OptionError(
            f"The enhancer is to run on {self.device}, which cannot be used in a DataLoader "
            "worker: pass in_worker='cpu' to run it on the CPU there, put EnhanceBatch after the "
            "DataLoader, or fill a cache first by going through the data with num_workers=0."
        )

    def _describe(self) -> str:
        """Everything but the picture that a result depends on, apart from how a device rounds."""
        if self._maker is None:
            # However they are written: torch.float32 is "float32", and full strength the default.
            options = {
                name: str(value).removeprefix("torch.")
                for name, value in sorted(self._options.items())
                if name not in _APART
                and value is not None
                and value is not False
                and (name, value) != ("strength", 1)
            }
            family, scale = self._descriptor.family, self._descriptor.scale
            digest = digest_for(family, scale, self._options.get("weights"))
            self._maker = f"{__version__} {self._descriptor} {digest} {options}"
        return self._maker

    def _require_unchanged(self) -> None:
        """Refuse weights that changed after the cache keys were made.

        Their results would be kept under the wrong keys for good.
        """
        described, self._maker = self._maker, None
        if described is not None and self._describe() != described:
            raise WeightsError(
                f"The weights {self._options.get('weights') or 'that come with the package'} "
                "changed while they were in use; begin anew."
            )


def _described(device: str | int | torch.device | None) -> torch.device:
    """The device asked for, chosen before any fork: a forked worker would not find CUDA."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise OptionError(f"{device!r} names no device; choose 'cpu' or 'cuda'.") from error
