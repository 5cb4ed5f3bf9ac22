"""A vision-language model with its processor and its adapter."""

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
from jepa_vlm.typing import Processor

HALF = (torch.bfloat16, torch.float16)


@final
@dataclass(frozen=True)
class Profile:
    """Training values for a backbone where a recipe sets none; None keeps the published values.

    Args:
        learning_rate: Peak learning rate.
        forced_learning_rate: Peak learning rate of recipes that always decode latent steps before an answer
            (``Latents(entry="forced")``); None for ``learning_rate``.
        lora_rank, lora_alpha: Rank and alpha of LoRA.
        batch_size: Examples in a micro-batch.
        accumulation: Micro-batches in an optimiser step.
        steps: Optimiser steps.
        engine: Engine that encodes the views.
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
    """A backbone, as ``load_backbone`` returns it.

    Args:
        name: Name given to ``load_backbone``.
        model: The Hugging Face model; PEFT's wrapper around it once LoRA is on.
        processor: Its processor, of the standard class.
        adapter: Adapter of its family.
        profile: Training values for it.
        added: Added tokens, or None.
        latent_head: Module that latent decoding applies to a state before it becomes an input embedding; None takes the
            state itself.

    ``dtype`` is the type in which the model computes: the one given to ``load_backbone``, else that of its weights.
    Parameters that train are at least float32 all the same, see ``apply_lora``.
    """

    name: str
    model: PreTrainedModel | PeftModel
    processor: Processor
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

        It is autocast to ``dtype`` where that is a half precision and the model holds wider parameters, namely those
        that train. A model whose parameters have one type runs as stock transformers runs it.
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
