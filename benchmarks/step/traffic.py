"""Count operations and the bytes that they read and write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_EMPTY = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::new_empty_strided"}


@final
class Traffic(TorchDispatchMode):
    """Counts the operations inside a ``with`` block, and the bytes of the tensors that each reads and writes.

    On a GPU in eager mode an operation is at least one launch, and its tensors pass through the memory: fused kernels
    would move less. Views and uninitialised tensors cost nothing; what a fused operation moves inside is not seen.

    Example:
        >>> with Traffic() as traffic:
        ...     _ = torch.ones(10).view(2, 5) + 1
        >>> traffic.operations, traffic.bytes
        (2, 120)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation and count it."""
        run: Callable[..., Any] = func
        out = run(*args, **(kwargs or {}))
        if not func.is_view and func._schema.name not in _EMPTY:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            self.operations += 1
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return out
