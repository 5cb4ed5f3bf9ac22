"""Which of a model's tensors PEFT put there, and what it renamed the others to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import TrainableTokensWrapper
from torch import nn

LORA, TOKENS = ".lora_", ".trainable_tokens_"


def belongs_to_adapter(name: str) -> bool:
    """Say whether a tensor of this name is the adapter's: a LoRA half, or the rows of added tokens."""
    return LORA in name or TOKENS in name


def base_name(name: str) -> str:
    """Return the name that a tensor of the base has without an adapter around it."""
    return name.replace(".token_adapter.base_layer.", ".").replace(".base_layer.", ".")


@contextmanager
def without_input_casts(model: nn.Module, *, active: bool = True) -> Iterator[None]:
    """Keep PEFT's layers from casting what they are given to float32, inside the block.

    Under autocast these casts change no number; they only double what is kept for the backward pass. PEFT's own
    ``disable_input_dtype_casting`` fails where tokens train, whose layers cast nothing.

    Args:
        model: With an adapter or without.
        active: False changes nothing.
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
    """Say whether low-rank updates are in the model; added tokens alone do not count."""
    return any(LORA in name for name, _ in model.named_parameters())


def unwrapped(module: nn.Module) -> Any:
    """Return the embedding layer or head itself, without what PEFT put around it."""
    if isinstance(module, TrainableTokensWrapper):
        return module.original_module
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
