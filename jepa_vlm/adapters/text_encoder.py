"""``load_text_encoder``: a text encoder and its tokenizer, for views that are encoded beside the backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel

from jepa_vlm.adapters.load import cannot_load
from jepa_vlm.adapters.tiny.bert import tiny_bert
from jepa_vlm.errors import BackboneError, UnknownNameError

TINY_TEXT: dict[str, Callable[..., tuple[PreTrainedModel, Any]]] = {"tiny-random-bert": tiny_bert}


def load_text_encoder(name: str, *, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Load a text encoder in float32, and its tokenizer.

    Args:
        name: ``tiny-random-bert``, a local folder saved by transformers, or a hub id ("owner/name").
        seed: Of the weights of the tiny one.

    Raises:
        UnknownNameError: If the name is none of these.
        BackboneError: If it cannot be loaded, is an encoder with a decoder, or its tokenizer cannot pad.
    """
    if name in TINY_TEXT:
        return TINY_TEXT[name](seed=seed)
    path = Path(name).expanduser()
    if not path.is_dir() and name.count("/") != 1:
        hint = "A local folder or a hub id (owner/name) works too."
        raise UnknownNameError("text encoder", name, known=TINY_TEXT, hint=hint)
    source = str(path) if path.is_dir() else name
    try:
        if AutoConfig.from_pretrained(source).is_encoder_decoder:
            raise BackboneError(f"A text encoder has no decoder, but {name} is both; give another, such as a BERT.")
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModel.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, ImportError) as err:
        raise cannot_load(source, err) from None
    if tokenizer.pad_token is None:
        raise BackboneError(f"The tokenizer of {name} has no padding token; set one and save it as pad_token.")
    tokenizer.padding_side = "right"
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # the states are pooled here; what nothing reads would never train
    return model, tokenizer
