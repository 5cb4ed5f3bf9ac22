"""A vision-language model with everything that goes with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast, final

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.adapters.added_tokens import AddedTokens


@final
@dataclass(frozen=True)
class Profile:
    """Training values that suit a backbone better than a recipe's own; None leaves the recipe's.

    Args:
        learning_rate: Peak rate.
        forced_learning_rate: Peak rate of recipes whose every answer stands behind latent steps that inference writes
            (``LatentDecoding(entry="forced")``); None for ``learning_rate``.
        lora_rank, lora_alpha: Of the adapter.
        batch_size: Examples in a micro-batch.
        accumulation: Micro-batches in an optimiser step.
        steps: Optimiser steps.
        engine: How views are encoded.
    """

    learning_rate: float | None = None
    forced_learning_rate: float | None = None
    lora_rank: int | None = None
    lora_alpha: int | None = None
    batch_size: int | None = None
    accumulation: int | None = None
    steps: int | None = None
    engine: str | None = None


@final
@dataclass
class Backbone:
    """What ``load_backbone`` returns.

    Args:
        name: What was asked for.
        model: The Hugging Face model; PEFT's wrapper around it once LoRA is on.
        processor: Its processor, of the standard class.
        adapter: Knowledge of its family.
        profile: Training values that suit it.
        added: The tokens that were declared, or None.
        latent_head: What latent decoding passes a state through before it feeds it; None feeds the state itself.
    """

    name: str
    model: PreTrainedModel | PeftModel
    processor: Any
    adapter: Adapter
    profile: Profile = field(default_factory=Profile)
    added: AddedTokens | None = None
    latent_head: nn.Module | None = None

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def base(self) -> PreTrainedModel:
        """The Hugging Face model itself; LoRA, if any, is injected inside it."""
        if isinstance(self.model, PeftModel):
            return cast("PreTrainedModel", self.model.get_base_model())
        return self.model

    @property
    def dim(self) -> int:
        """Hidden size of the decoder."""
        return int(self.base.config.get_text_config().hidden_size)
