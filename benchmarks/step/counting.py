"""Count what a step does and holds: FLOPs, bytes and operations by phase, and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, final

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.clocks import Reading
from benchmarks.step.training_step import PHASES, PhaseMeter, Step
from jepa_vlm.cost import AliveBytes, FlopCounter, fused_on_meta


@final
@dataclass(frozen=True)
class Work:
    """The work of one step. It is the same on every machine that takes the same code paths.

    Args:
        flops: FLOPs of matrix-like work, by phase.
        bytes: Bytes that operations read and write, by phase.
        operations: Number of operations, by phase.
    """

    flops: dict[str, int]
    bytes: dict[str, int]
    operations: dict[str, int]

    @property
    def total_flops(self) -> int:
        """FLOPs of the whole step."""
        return sum(self.flops.values())

    @property
    def total_operations(self) -> int:
        """Number of operations of the whole step."""
        return sum(self.operations.values())


@final
@dataclass(frozen=True)
class Held:
    """The memory that one step takes, in bytes.

    Args:
        saved: What the forward pass saves for the backward pass.
        peak: The most that the step's own tensors hold at once, before the optimizer's update.
        largest: Size of the largest tensor.
    """

    saved: int
    peak: int
    largest: int


def count_work(step: Step) -> Work:
    """Run a step once, slowly, and count its work."""
    with FlopCounter() as flops, Traffic() as traffic:
        gauge = _Counters(lambda: (flops.total, traffic.bytes, traffic.operations))
        meter = PhaseMeter(backbone=step.setting.backbone, gauge=gauge)
        step.run(meter)
    by_phase = [dict.fromkeys(PHASES, 0) for _ in range(3)]
    for phase, first, second in meter.intervals():
        for found, before, after in zip(by_phase, first, second, strict=True):
            found[phase] += after - before
    return Work(*by_phase)


def count_memory(step: Step) -> Held:
    """Run a step once, slowly, and count its memory.

    This needs a run of its own: the FLOP counter keeps tensors alive that a checkpointed layer makes again.
    """
    backbone = step.setting.backbone
    alive = [*backbone.model.parameters(), *backbone.model.buffers(), *step.parameters]
    with fused_on_meta(), AliveBytes() as memory, SavedBytes(alive) as saved:
        gauge = _Counters(lambda: (saved.total, memory.peak, memory.largest))
        meter = PhaseMeter(backbone=backbone, gauge=gauge)
        step.run(meter)
    begins = {phase: first for phase, first, _ in meter.intervals()}
    return Held(begins["backward"][0], *begins["optimizer"][1:])


@final
class _Counters:
    def __init__(self, read: Callable[[], tuple[int, ...]]) -> None:
        self._read = read

    def read(self) -> Reading:
        return self._read()

    def between(self, first: Reading, second: Reading) -> float:
        return float(second[0] - first[0])


_EMPTY = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::new_empty_strided"}


@final
class Traffic(TorchDispatchMode):
    """Counts the operations inside a ``with`` block, and the bytes of the tensors that each reads and writes.

    On a GPU in eager mode an operation is at least one launch, and its tensors pass through memory; fused kernels would
    move less. Views and uninitialised tensors cost nothing. What a fused operation moves inside does not count.

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


@final
class SavedBytes:
    """Counts the memory that a forward pass inside a ``with`` block saves for its backward pass.

    Every storage counts once and whole, because all of it stays allocated, however many views are saved. Works on any
    device, meta included.

    Args:
        alive: Tensors that are in memory anyway, such as weights and the batch; they do not count.

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
