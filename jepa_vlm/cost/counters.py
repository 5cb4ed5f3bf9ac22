"""Count what code does while it runs: floating point operations, and the memory that its tensors hold."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_SDPA = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
_LINEAR_CE = "_linear_cross_entropy_batch_chunked"


@final
class FlopCounter:
    """Counts the matrix-like work done inside a ``with`` block: 2 FLOPs per multiply-add, everything else is free.

    It is torch's FlopCounterMode plus formulas for what that counts as zero or wrongly: scaled dot-product attention on
    CPU and on the meta device, causal attention (the exact lower triangle, not the square) in one sequence or in many
    packed ones, products added in place and the chunked linear cross-entropy. A fused operation counts as its
    mathematics: what a kernel computes twice inside itself counts once, and a mask does not make a rectangle cheaper.
    Work that autograd runs again as operations of its own (checkpointing) counts again. Attention that torch sends to
    its math path (dropout) shows up as full products. Kernels of other packages (flash-attn) count as nothing.

    Example:
        >>> with FlopCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 5)
        >>> counter.total
        60
    """

    def __init__(self) -> None:
        self._mode = FlopCounterMode(display=False, custom_mapping=dict(_formulas()))
        self._entered = ExitStack()

    def __enter__(self) -> FlopCounter:
        self._entered.enter_context(fused_on_meta())
        self._entered.enter_context(self._mode)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.__exit__(kind, error, trace)

    @property
    def total(self) -> int:
        """All FLOPs counted so far."""
        return int(self._mode.get_total_flops())

    def by_operator(self) -> dict[str, int]:
        """Return the FLOPs of each operator that did any, by its name."""
        counts = self._mode.get_flop_counts().get("Global", {})
        return {str(operator): int(flops) for operator, flops in counts.items() if flops}

    def by_module(self) -> dict[str, int]:
        """Return the FLOPs inside each module that ran, by its path from the class of the outermost one."""
        counts = self._mode.get_flop_counts()
        return {name: sum(flops.values()) for name, flops in counts.items() if name != "Global"}


@contextmanager
def fused_on_meta() -> Iterator[None]:
    """Make ``scaled_dot_product_attention`` of meta tensors one fused operation, forward and backward.

    torch has no fused kernel for meta tensors and falls back to plain products: a causal mask then costs the whole
    square, and the probabilities are saved for the backward pass. Dropout is left out: it is no matrix-like work.
    Tensors of other devices run as before.
    """
    stock: Any = F.scaled_dot_product_attention

    def attend(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        attended: Tensor = (_fused if query.is_meta else stock)(query, *args, **kwargs)
        return attended

    # Not a TorchFunctionMode: it would be off while a backward pass runs a checkpointed layer again.
    F.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        F.scaled_dot_product_attention = stock


def attention_pairs(queries: int, keys: int, *, causal: bool) -> int:
    """Return how many (query, key) pairs attention scores.

    Args:
        queries, keys: Lengths.
        causal: Query i sees the keys 0..i, as scaled_dot_product_attention aligns a rectangle.
    """
    if not causal:
        return queries * keys
    square = min(queries, keys)
    return square * (square + 1) // 2 + (queries - square) * keys


def packed_pairs(queries: int, keys: int, *, causal: bool) -> int:
    """Return how many pairs the variable-length kernel scores in one sequence.

    Args:
        queries, keys: Lengths.
        causal: The last query sees all keys, each one before it one less.
    """
    if not causal:
        return queries * keys
    square = min(queries, keys)
    return square * (square + 1) // 2 + square * (keys - square)


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = attn_mask.to(query.dtype)  # as the kernels have it
    out: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale
    )[0]
    return out


def _formulas() -> Iterator[tuple[Any, Callable[..., int]]]:
    """Yield (operator, formula) for every operator that this torch has."""
    aten = torch.ops.aten
    yield aten.addmm_, _product_added_in_place
    for name in _SDPA:
        yield getattr(aten, name), _attention(getattr(aten, name), passes=1)
        yield getattr(aten, f"{name}_backward"), _attention(getattr(aten, f"{name}_backward"), passes=2)
    import_module("torch.nn.attention.varlen")  # defines the operators
    for name, passes in (("_varlen_attn", 1), ("_varlen_attn_backward", 2)):
        yield getattr(torch.ops.torch_attn, name), _packed(getattr(torch.ops.torch_attn, name), passes=passes)
    if hasattr(F, "linear_cross_entropy"):
        import_module("torch.nn.modules.linear_cross_entropy")  # defines the operators; torch waits for a call
        for name in (_LINEAR_CE, f"{_LINEAR_CE}_no_reduction"):
            yield getattr(torch.ops.torch_nn, name), _linear_cross_entropy(getattr(torch.ops.torch_nn, name))


def _product_added_in_place(
    _: Sequence[int], left: Sequence[int], right: Sequence[int], *, out_shape: Any = None, **kwargs: Any
) -> int:
    return 2 * left[0] * left[1] * right[1]


def _attention(operator: Any, *, passes: int) -> Callable[..., int]:
    """Return the formula of one attention operator: two products forward, twice that backward."""

    def flops(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        given = _named(operator, args, kwargs)
        batch, heads, queries, width = given["query"]
        keys, value_width = given["value"][-2:]
        pairs = attention_pairs(queries, keys, causal=given["is_causal"])
        return int(passes * 2 * batch * heads * pairs * (width + value_width))

    return flops


def _packed(operator: Any, *, passes: int) -> Callable[..., int]:
    """Return the formula of attention within many packed sequences, whose lengths it reads off the device."""

    def flops(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        given = _named(operator, args, kwargs)
        heads, width = given["query"].shape[1:]
        ends = given["cu_seq_q"], given["cu_seq_q"] if given["cu_seq_k"] is None else given["cu_seq_k"]
        lengths = zip(*(_lengths(end) for end in ends), strict=True)
        pairs = sum(packed_pairs(queries, keys, causal=given["is_causal"]) for queries, keys in lengths)
        return int(passes * 2 * heads * pairs * (width + given["value"].shape[-1]))

    flops._get_raw = True  # type: ignore[attr-defined]  # torch's sign that it wants tensors, not shapes
    return flops


def _lengths(ends: Tensor) -> list[int]:
    lengths: list[int] = ends.diff().tolist()
    return lengths


def _linear_cross_entropy(operator: Any) -> Callable[..., int]:
    """Return the formula of torch's chunked op: the logits, and the gradients that it forms in its forward pass.

    Without reduction it forms none: its backward pass runs as ordinary products, which are counted as such.
    """

    def flops(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        given = _named(operator, args, kwargs)
        (rows, width), (vocab, _) = given["input"], given["linear_weight"]
        gradients = sum(given.get(flag, False) for flag in ("compute_input_grad", "compute_linear_weight_grad"))
        return int(2 * rows * vocab * width * (1 + gradients))

    return flops


def _named(operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, defaults filled in; tensors come as shapes."""
    schema = operator.default._schema.arguments
    given = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    return {**given, **dict(zip((argument.name for argument in schema), args, strict=False)), **kwargs}


@final
class AliveBytes(TorchDispatchMode):
    """Counts the bytes of every storage that operations make inside a ``with`` block, until it is freed.

    Tensors from before the block are not counted, nor is what a kernel allocates and frees inside itself, nor an
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
