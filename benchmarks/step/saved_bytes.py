"""Count what autograd holds for the backward pass."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import final

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


@final
class SavedBytes:
    """Counts the memory that a forward pass inside a ``with`` block leaves behind for its backward pass.

    Every storage counts once and whole, however many views of it are saved: that is what stays allocated. Tensors that
    live anyway (weights, the batch) are not counted. Works on any device, meta included.

    Args:
        alive: Tensors that live anyway.

    Example:
        >>> with SavedBytes() as saved:
        ...     _ = torch.ones(10, requires_grad=True).exp()
        >>> saved.total
        40
    """

    def __init__(self, alive: Iterable[Tensor] = ()) -> None:
        self._alive = {_storage(tensor) for tensor in alive}
        self._held: dict[int, int] = {}
        self._hooks = saved_tensors_hooks(self._note, lambda tensor: tensor)

    def __enter__(self) -> SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.__exit__(kind, error, trace)

    @property
    def total(self) -> int:
        """Bytes saved so far."""
        return sum(self._held.values())

    def _note(self, tensor: Tensor) -> Tensor:
        storage = _storage(tensor)
        if storage not in self._alive:
            self._held[storage] = tensor.untyped_storage().nbytes()
        return tensor


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # its address is 0 on the meta device
