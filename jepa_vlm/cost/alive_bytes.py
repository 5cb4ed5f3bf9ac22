"""Count the memory that tensors hold while code runs, on any device, meta included."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, final

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@final
class AliveBytes(TorchDispatchMode):
    """Follows every storage that operations make inside a ``with`` block until it is freed.

    Tensors that live already are not counted. What a kernel allocates and frees inside itself is not seen, nor is an
    allocator's rounding.

    Example:
        >>> with AliveBytes() as memory:
        ...     a = torch.ones(10) + torch.ones(10)
        >>> memory.peak, memory.now, memory.largest
        (120, 40, 40)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.largest = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation and follow what it returns."""
        self._follow((args, kwargs), counted=False)  # what came from outside
        out = func(*args, **(kwargs or {}))
        self._follow(out, counted=True)
        return out

    def _follow(self, tensors: Any, *, counted: bool) -> None:
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor):
                self._follow_storage(tensor.untyped_storage(), counted=counted)

    def _follow_storage(self, storage: Any, *, counted: bool) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if counted else 0
        self._known[key] = weakref.ref(storage, lambda _: self._forget(key, size))
        self.now += size
        self.peak, self.largest = max(self.peak, self.now), max(self.largest, size)

    def _forget(self, key: int, size: int) -> None:
        if self._known.pop(key, None) is not None:
            self.now -= size
