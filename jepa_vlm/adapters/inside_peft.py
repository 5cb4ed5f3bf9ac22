"""Names of a model's tensors under PEFT: those that it adds, and those that it renames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import TrainableTokensWrapper
from torch import nn

LORA, TOKENS = ".lora_", ".trainable_tokens_"


def belongs_to_adapter(name: str) -> bool:
    """Return whether a tensor of this name belongs to PEFT: a LoRA matrix, or the rows of added tokens."""
    return LORA in name or TOKENS in name


def base_name(name: str) -> str:
    """Return the name that a tensor of the base has without PEFT."""
    return name.replace(".token_adapter.base_layer.", ".").replace(".base_layer.", ".")


@contextmanager
def without_input_casts(model: nn.Module, *, active: bool = True) -> Iterator[None]:
    """Keep PEFT's layers from casting their inputs to float32, inside the block.

    Under autocast these casts change no number and double what is kept for the backward pass. PEFT's own
    ``disable_input_dtype_casting`` fails where added tokens train, whose layers cast nothing.

    Args:
        model: Model with or without LoRA.
        active: If False, nothing changes.
    """
    layers = [m for m in model.modules() if active and getattr(m, "cast_input_dtype_enabled", False)]
    for layer in layers:
        vars(layer)["cast_input_dtype_enabled"] = False
    try:
        yield
    finally:
        for layer in layers:
            vars(layer)["cast_input_dtype_enabled"] = True


def has_lora(model: nn.Module) -> bool:
    """Return whether the model holds LoRA; added tokens alone do not count."""
    return any(LORA in name for name, _ in model.named_parameters())


def unwrapped(module: nn.Module) -> Any:
    """Return the embedding layer or head itself, without PEFT's wrapper."""
    if isinstance(module, TrainableTokensWrapper):
        return module.original_module
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
