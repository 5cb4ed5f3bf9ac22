"""The axis vocabulary, and the decorator that checks it.

batch    examples of one micro-batch            dim     hidden size of the decoder
tokens   positions, of one view or of a row     vocab   entries of the language model's head
slots    learned inputs of a predictor          out     size of a prediction, where it is not the decoder's
sources  the parts of a mixture
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import torch
from beartype import beartype
from jaxtyping import Bool, Float, Int, jaxtyped
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

Latent = Float[Tensor, "batch dim"]
Prediction = Float[Tensor, "batch out"]
Hidden = Float[Tensor, "tokens dim"]
SlotInputs = Float[Tensor, "slots dim"]
PerExample = Float[Tensor, "batch"]
PerToken = Float[Tensor, "tokens"]
PerSource = Float[Tensor, "sources"]
Scalar = Float[Tensor, ""]
TokenIds = Int[Tensor, "tokens"]
TokenMask = Bool[Tensor, "tokens"]
TextIds = Int[Tensor, "batch tokens"]
TextMask = Bool[Tensor, "batch tokens"]
HeadWeight = Float[Tensor, "vocab dim"]
# A model and a processor of transformers. Their attributes depend on the family, so that no class of its states them.
HFModel: TypeAlias = Any
Processor: TypeAlias = Any


def shape_checked(fn: Callable[P, R]) -> Callable[P, R]:
    """Check a function's array annotations on every eager call, and never under ``torch.compile``.

    Dynamo cannot trace jaxtyping's bookkeeping of axes (patrick-kidger/jaxtyping#196), so a compiled caller
    gets the bare function. ``JAXTYPING_DISABLE=1`` in the environment drops the checks altogether.

    Raises:
        jaxtyping.TypeCheckError: On call, if an argument or the result breaks its annotation.
    """
    checked = cast("Callable[P, R]", jaxtyped(fn, typechecker=beartype))

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            return fn(*args, **kwargs)
        return checked(*args, **kwargs)

    return call


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast, which would do matrix products of float32 tensors in half precision."""
    if not torch.amp.is_autocast_available(device.type):  # as on the meta device
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in float32, or in their own type where that is wider: no loss is summed in half."""
    return tuple(t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors)
