"""Keeps a float64 computation in float64, so that a comparison is a proof.

Models cast to float32 in their norms, rotary embeddings and softmaxes whatever they run in; two exact ways to the same
number then differ by float32's rounding, and a real mistake of that size would hide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NARROW = (torch.float32, torch.bfloat16, torch.float16)


@final
class KeepFloat64(TorchFunctionMode):
    """While active, casting a float64 tensor to a narrower type leaves it as it is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, its type arguments widened where its first tensor is float64."""
        given = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func in (Tensor.float, Tensor.half, Tensor.bfloat16):
                return args[0]
            if func is F.grid_sample:  # its grid is made in float32
                args = (args[0], args[1].double(), *args[2:])
            args = tuple(_wider(value) for value in args)
            given = {name: _wider(value) for name, value in given.items()}
        return func(*args, **given)


def _wider(value: Any) -> Any:
    # Its kind first: comparing a tensor with a type is slow, and this runs for every argument of every function.
    return torch.float64 if isinstance(value, torch.dtype) and value in _NARROW else value
