"""Put a LoRA adapter on the decoder's projections, and say what trains."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.errors import BackboneError
from jepa_vlm.recipe import Lora

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@final
@dataclass(frozen=True)
class Part:
    """One row of the table of trainable parts.

    Args:
        name: The part.
        trainable: Numbers in its tensors that train.
        frozen: Numbers in its tensors that do not.
    """

    name: str
    trainable: int
    frozen: int


def apply_lora(backbone: Backbone, lora: Lora | None, *, seed: int = 0) -> None:
    """Wrap the backbone's model so that only the adapter trains; without one, only the decoder and its head train.

    The decoder is found by its own name, because vision towers have projections of the same names. Adapter weights are
    at least float32: in bfloat16, updates at a learning rate of 1e-5 vanish.

    Args:
        backbone: Changed in place: its ``model`` becomes a ``PeftModel``.
        lora: The adapter, or None.
        seed: Of the adapter's random half.

    Raises:
        BackboneError: If the backbone already has an adapter, or projections are found nowhere or outside the decoder.
    """
    if isinstance(backbone.model, PeftModel):
        raise BackboneError("The backbone already has an adapter; load it anew, or export the run that made it first.")
    prefix = backbone.adapter.decoder_prefix(backbone.base)
    if lora is None:
        backbone.model.requires_grad_(False)
        backbone.adapter.decoder(backbone.base).requires_grad_(True)
        backbone.base.get_output_embeddings().requires_grad_(True)
        return
    targets = decoder_targets(prefix)
    if not any(re.fullmatch(targets, name) for name, _ in backbone.base.named_modules()):
        raise BackboneError(
            f"No module of {backbone.name!r} matches {targets!r}; its decoder has other projection names."
        )
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone.model = get_peft_model(backbone.base, config)
    strays = [name for name in adapted(backbone) if not name.startswith(f"{prefix}.")]
    if strays:
        raise BackboneError(
            f"LoRA reached modules outside the decoder {prefix!r}: {', '.join(strays[:3])}; nothing was trained."
        )


def decoder_targets(prefix: str) -> str:
    """Return the regular expression of the decoder's projections, for PEFT to match against whole module names."""
    return rf"{re.escape(prefix)}\..*\.({'|'.join(PROJECTIONS)})"


def adapted(backbone: Backbone) -> dict[str, nn.Module]:
    """Return the modules that carry an adapter, by their names in the model without PEFT's wrapper."""
    return {name: module for name, module in backbone.base.named_modules() if "lora_A" in dict(module.named_children())}


def parts(backbone: Backbone, objective: nn.Module) -> tuple[Part, ...]:
    """Return what trains and what does not: adapter, decoder, vision tower, and each term's own parameters."""
    base, prefix = backbone.base, f"{backbone.adapter.decoder_prefix(backbone.base)}."
    vision = {id(p) for p in backbone.adapter.vision(base).parameters()}
    filed: dict[str, list[nn.Parameter]] = {
        "LoRA adapter": [],
        "decoder": [],
        "vision tower": [],
        "head and the rest": [],
    }
    for name, parameter in base.named_parameters():
        if ".lora_" in name:
            filed["LoRA adapter"].append(parameter)
        elif id(parameter) in vision:
            filed["vision tower"].append(parameter)
        elif name.startswith(prefix):
            filed["decoder"].append(parameter)
        else:
            filed["head and the rest"].append(parameter)
    for name, parameter in objective.named_parameters():
        term = name.removeprefix("terms.").partition(".")[0]
        filed.setdefault(f"objective: {term}", []).append(parameter)
    return tuple(_part(name, tensors) for name, tensors in filed.items() if tensors)


def _part(name: str, tensors: list[nn.Parameter]) -> Part:
    trainable = sum(p.numel() for p in tensors if p.requires_grad)
    return Part(name, trainable, sum(p.numel() for p in tensors) - trainable)
