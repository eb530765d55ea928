"""How much memory tensors hold at a time, counted rather than measured."""

from __future__ import annotations

import weakref

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all storages that operations inside the block make.

    Works on the meta device, where a full-sized network costs no arithmetic. What a kernel needs
    for itself is not seen.

    Attributes:
        live: bytes alive now.
        peak: most bytes alive at a time.
        shapes: of all tensors made, views left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.live = 0
        self.shapes: set[tuple[int, ...]] = set()
        self._seen: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        known = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if _is_tensor(t)}
        for tensor in filter(_is_tensor, tree_leaves(out)):
            storage = tensor.untyped_storage()
            if id(storage) not in known and id(storage) not in self._seen:
                self._count(storage)
                self.shapes.add(tuple(tensor.shape))
        return out

    def _count(self, storage) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_):
            self.live -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)


def _is_tensor(leaf) -> bool:
    return isinstance(leaf, Tensor) and not leaf.is_mkldnn  # those have no storage to see
