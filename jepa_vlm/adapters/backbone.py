"""A vision-language model with everything that goes with it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast, final

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.adapters.added_tokens import AddedTokens

HALF = (torch.bfloat16, torch.float16)


@final
@dataclass(frozen=True)
class Profile:
    """Training values that suit a backbone, for what a recipe leaves open; None leaves the published ones.

    Args:
        learning_rate: Peak rate.
        forced_learning_rate: Peak rate of recipes whose every answer stands behind latent steps that inference writes
            (``Latents(entry="forced")``); None for ``learning_rate``.
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

    ``dtype`` is the type in which the model computes: what ``load_backbone`` was asked for, else that of its weights.
    Parameters that train are at least float32 all the same, see ``apply_lora``.
    """

    name: str
    model: PreTrainedModel | PeftModel
    processor: Any
    adapter: Adapter
    profile: Profile = field(default_factory=Profile)
    added: AddedTokens | None = None
    latent_head: nn.Module | None = None
    dtype: torch.dtype = field(init=False)

    def __post_init__(self) -> None:
        self.dtype = self.base.dtype

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

    def precision(self) -> AbstractContextManager[object]:
        """Return the context in which the model runs, in training, validation and generation alike.

        It is autocast to ``dtype`` where that is a half precision and the model holds wider parameters, which are those
        that train. A model of one type runs as stock transformers runs it.
        """
        device = self.base.device.type
        wider = any(p.is_floating_point() and p.dtype != self.dtype for p in self.base.parameters())
        if self.dtype not in HALF or not wider or not torch.amp.is_autocast_available(device):  # as on the meta device
            return nullcontext()
        return torch.autocast(device, dtype=self.dtype)

    @property
    def dim(self) -> int:
        """Hidden size of the decoder."""
        return int(self.base.config.get_text_config().hidden_size)
