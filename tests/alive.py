"""Which tensors a computation makes, those inside torch's fused operators included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Alive(TorchDispatchMode):
    """Notes the shape of everything that is made inside the ``with`` block; a view of what was there is not made."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator.namespace == "torch_nn":  # written in Python: look at what it does
            with self:
                found = operator.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **(kwargs or {}))
        else:
            found = operator(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in _tensors((args, kwargs))}
        self.shapes |= {tuple(t.shape) for t in _tensors(found) if t.untyped_storage()._cdata not in given}
        return found

    def rows(self, width: int) -> int:
        """Return the most rows of a tensor whose last axis is this wide."""
        sizes = [torch.Size(shape[:-1]).numel() for shape in self.shapes if shape and shape[-1] == width]
        return max(sizes, default=0)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
