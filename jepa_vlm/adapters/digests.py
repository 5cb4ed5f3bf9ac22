"""Digests of what the states of a backbone's base depend on: equal digests mean equal states for equal tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from jepa_vlm.adapters.backbone import Backbone
from jepa_vlm.adapters.inside_peft import base_name, belongs_to_adapter

# Entries of a configuration that say where a model came from or how it is run, not what it computes.
PROVENANCE = (
    "_name_or_path",
    "transformers_version",
    "architectures",
    "auto_map",
    "dtype",
    "use_cache",
    "id2label",
    "label2id",
)
CALLED_WITH = ("padding", "truncation")  # a tokenizer keeps what it was last called with


def state_digests(backbone: Backbone) -> dict[str, str]:
    """Return digests of the base weights (LoRA is left out), the architecture and the processor's parts.

    Reads every weight once: seconds for some gigabytes.
    """
    base, processor = backbone.base, backbone.processor
    image = processor.image_processor.to_dict()
    tokenizer = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    return {
        "weights": weights_digest(base),
        "dtype": str(next(base.parameters()).dtype).removeprefix("torch."),
        "architecture": _digest(without_provenance(base.config.to_dict())),
        "tokenizer": _digest({name: value for name, value in tokenizer.items() if name not in CALLED_WITH}),
        "chat template": _digest(processor.chat_template or processor.tokenizer.chat_template),
        "visual tokens": json.dumps(image.pop("size", None), sort_keys=True, default=str),
        "image processor": _digest(image),
    }


def weights_digest(base: nn.Module) -> str:
    """Return a digest of names, shapes, types and bits of a model's weights, the same with LoRA inside it.

    On the meta device weights have no bits, and the digest covers the rest.
    """
    digest = hashlib.sha256()
    named = {base_name(name): p for name, p in base.named_parameters() if not belongs_to_adapter(name)}
    for name, parameter in sorted(named.items()):
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype} ".encode())
        if not parameter.is_meta:
            digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def without_provenance(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the entries in ``PROVENANCE``, in its parts too."""
    return {
        name: without_provenance(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in PROVENANCE
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
