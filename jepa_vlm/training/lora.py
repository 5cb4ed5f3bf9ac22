"""Put a LoRA adapter on the decoder's projections, list what trains, and give each part its learning rate."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn
from torch.optim import Optimizer

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.inside_peft import LORA, TOKENS, belongs_to_adapter
from jepa_vlm.errors import BackboneError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.recipe import Lora

ROWS = {"language": "decoder", "projector": "projector", "vision": "vision tower"}


@final
@dataclass(frozen=True)
class Part:
    """One row of the table of trainable parts.

    Args:
        name: The part.
        modules: Modules that hold its tensors.
        trainable: Numbers in its tensors that train.
        frozen: Numbers in its tensors that do not.
    """

    name: str
    modules: int
    trainable: int
    frozen: int


def apply_lora(backbone: Backbone, lora: Lora | None, *, seed: int = 0, train: Collection[str] = ("language",)) -> None:
    """Wrap the backbone's model so that only the adapter trains; without one, only the decoder and its head train.

    The decoder is found by its own name, because vision towers have projections of the same names.

    Whatever trains is brought to at least float32, the rest to ``Backbone.dtype``: bfloat16 has 8 bits of precision, so
    that an update of 1e-5 to a weight of 0.01 would be rounded away. The model computes in ``Backbone.dtype`` all the
    same, see ``Backbone.precision``.

    Tokens that were added to the backbone train in any case. Where the decoder trains in full, its whole vocabulary
    does. Else their rows of the embeddings and of an untied head alone become parameters of the adapter, or of one of
    their own where the decoder does not train, and the vocabulary's other rows stay as they are.

    Args:
        backbone: Changed in place: its ``model`` becomes a ``PeftModel``.
        lora: The adapter, or None.
        seed: Random seed for the adapter's random half.
        train: Parts that train, see ``Recipe.rates``; ``projector`` and ``vision`` train in full.

    Raises:
        BackboneError: If the backbone already has an adapter, projections are found nowhere or outside the decoder, or
            a part that is to train has no parameters of its own, or holds them in 4 bits.
    """
    if isinstance(backbone.model, PeftModel):
        raise BackboneError("The backbone already has an adapter; load it anew, or export the run that made it first.")
    adapter, base, prefix = backbone.adapter, backbone.base, backbone.adapter.decoder_prefix(backbone.base)
    backbone.model.requires_grad_(False)
    if lora is not None and "language" in train:
        _wrap(backbone, lora, prefix, seed)
    elif "language" in train:
        for part in (adapter.decoder(base), base.get_output_embeddings()):
            _train_in_full(backbone, list(part.parameters()))
    elif backbone.added is not None:
        tokens = LoraConfig(target_modules=DUMMY_TARGET_MODULES, trainable_token_indices=backbone.added.rows())
        backbone.model = get_peft_model(backbone.base, tokens)
    for part in sorted({"projector", "vision"}.intersection(train)):
        own = [p for name, p in base.named_parameters() if adapter.part(name, prefix) == part]
        if not own:
            raise BackboneError(f"{backbone.name!r} has no parameters of its own in the part {part!r}.")
        _train_in_full(backbone, own)
    _bring_to_types(backbone)


def _bring_to_types(backbone: Backbone) -> None:
    """Make what trains at least float32, and the rest ``Backbone.dtype``."""
    base = backbone.base
    wide = torch.promote_types(backbone.dtype, torch.float32)
    in_full = any(p.requires_grad and not belongs_to_adapter(name) for name, p in base.named_parameters())
    rest = wide if in_full and not backbone.adapter.mixes_types else backbone.dtype
    always_wide = tuple(base._keep_in_fp32_modules_strict or ())  # transformers' own list, such as a router's bias
    for name, parameter in base.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(wide)
        elif parameter.is_floating_point() and not any(word in name for word in always_wide):
            parameter.data = parameter.data.to(backbone.dtype).to(rest)


def _train_in_full(backbone: Backbone, parameters: Sequence[nn.Parameter]) -> None:
    if held := [p for p in parameters if not p.is_floating_point()]:
        raise BackboneError(
            f"{backbone.name!r} holds {len(held)} tensors that are to train in full in 4 bits, where no step can move "
            "them; train an adapter on them alone, or load the backbone without quantize."
        )
    for parameter in parameters:
        parameter.requires_grad_(True)


def _wrap(backbone: Backbone, lora: Lora, prefix: str, seed: int) -> None:
    targets = decoder_targets(prefix, backbone.adapter.projections)
    if not any(re.fullmatch(targets, name) for name, _ in backbone.base.named_modules()):
        raise BackboneError(
            f"No module of {backbone.name!r} matches {targets!r}; its decoder has other projection names."
        )
    rank, alpha = lora.sizes()
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.variant == "dora",
        use_rslora=lora.variant == "rslora",
        target_modules=targets,
        trainable_token_indices=backbone.added.rows() if backbone.added is not None else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone.model = get_peft_model(backbone.base, config)
    strays = [name for name in adapted(backbone) if not name.startswith(f"{prefix}.")]
    if strays:
        raise BackboneError(
            f"LoRA reached modules outside the decoder {prefix!r}: {', '.join(strays[:3])}; nothing was trained."
        )


def decoder_targets(prefix: str, projections: Sequence[str]) -> str:
    """Return the regular expression of the decoder's projections, for PEFT to match against whole module names."""
    return rf"{re.escape(prefix)}\..*\.({'|'.join(projections)})"


def adapted(backbone: Backbone) -> dict[str, nn.Module]:
    """Return the modules that carry an adapter, by their names in the model without PEFT's wrapper."""
    return {name: module for name, module in backbone.base.named_modules() if "lora_A" in dict(module.named_children())}


def parts(backbone: Backbone, objective: nn.Module) -> tuple[Part, ...]:
    """Return what trains and what does not: the backbone's parts, the adapter, and each term's own parameters."""
    base, prefix = backbone.base, backbone.adapter.decoder_prefix(backbone.base)
    filed: dict[str, dict[str, nn.Parameter]] = {name: {} for name in ("LoRA adapter", "added tokens", *ROWS.values())}
    for name, parameter in base.named_parameters():
        row = ROWS[backbone.adapter.part(name, prefix)]
        if belongs_to_adapter(name):
            row = "LoRA adapter" if LORA in name else "added tokens"
        if row == "decoder" and not name.startswith(f"{prefix}."):
            row = "head and the rest"
        filed.setdefault(row, {})[name] = parameter
    for name, parameter in objective.named_parameters():
        term = name.removeprefix("terms.").partition(".")[0]
        filed.setdefault(f"objective: {term}", {})[name] = parameter
    return tuple(_part(name, tensors) for name, tensors in filed.items() if tensors)


def _part(name: str, tensors: Mapping[str, nn.Parameter]) -> Part:
    holders = {
        tensor.partition(LORA)[0].partition(TOKENS)[0] if belongs_to_adapter(tensor) else tensor.rpartition(".")[0]
        for tensor in tensors
    }
    trainable = sum(p.numel() for p in tensors.values() if p.requires_grad)
    return Part(name, len(holders), trainable, sum(p.numel() for p in tensors.values()) - trainable)


def split_by_rate(optimizer: Optimizer, model: LatentVLM, rates: Mapping[str, float]) -> None:
    """Split the optimiser's groups so that each part's parameters have their multiple of the learning rate.

    Args:
        optimizer: Changed in place, before its schedule is made.
        model: The model that it trains.
        rates: Multiples by part, see ``Recipe``. A module of the objective may state its multiple as ``rate``, as a
            ``TextEncoder`` does; the objective's other parameters have the rate itself.
    """
    adapter, base = model.backbone.adapter, model.backbone.base
    prefix = adapter.decoder_prefix(base)
    factors = {id(p): rates.get(adapter.part(name, prefix), 1.0) for name, p in base.named_parameters()}
    for module in model.objective.modules():
        rate = getattr(module, "rate", None)
        if isinstance(rate, int | float):
            factors |= {id(p): rate for p in module.parameters()}
    split = []
    for group in optimizer.param_groups:
        for factor in sorted({factors.get(id(p), 1.0) for p in group["params"]}):
            own = [p for p in group["params"] if factors.get(id(p), 1.0) == factor]
            split.append({**group, "params": own, "lr": group["lr"] * factor})
    optimizer.param_groups[:] = split
