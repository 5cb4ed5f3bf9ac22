"""``load_text_encoder``: a text encoder and its tokenizer, for views that the backbone does not encode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel

from jepa_vlm.adapters.loading import one_message
from jepa_vlm.adapters.tiny.build import tiny_tokenizer
from jepa_vlm.adapters.tiny.model import Vocabulary
from jepa_vlm.errors import BackboneError, UnknownNameError

TINY_TEXT = ("tiny-random-bert",)
WIDTH = 32  # of the tiny BERT


def load_text_encoder(name: str, *, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Load a text encoder in float32, and its tokenizer.

    Args:
        name: ``tiny-random-bert``, a local folder saved by transformers, or a hub id ("owner/name").
        seed: Random seed of the weights of ``tiny-random-bert``.

    Raises:
        UnknownNameError: If the name is none of these.
        BackboneError: If it cannot be loaded, is an encoder with a decoder, or its tokenizer cannot pad.
    """
    if name in TINY_TEXT:
        return _tiny_bert(seed)
    path = Path(name).expanduser()
    if not path.is_dir() and name.count("/") != 1:
        hint = "A local folder or a hub id (owner/name) works too."
        raise UnknownNameError("text encoder", name, known=TINY_TEXT, hint=hint)
    source = str(path) if path.is_dir() else name
    with one_message(source):
        both = AutoConfig.from_pretrained(source).is_encoder_decoder
        tokenizer = AutoTokenizer.from_pretrained(source)
    if both:
        raise BackboneError(f"A text encoder has no decoder, but {name} is both; give another, such as a BERT.")
    with one_message(source):
        model = AutoModel.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    if tokenizer.pad_token is None:
        raise BackboneError(f"The tokenizer of {name} has no padding token; set one and save it as pad_token.")
    tokenizer.padding_side = "right"
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # the library pools the states itself; nothing reads this layer, so it would never train
    return model, tokenizer


def _tiny_bert(seed: int) -> tuple[PreTrainedModel, Any]:
    """Return a BERT of two layers with random weights, without pooler and dropout, and a tokenizer."""
    tokenizer = tiny_tokenizer(Vocabulary(specials=("[PAD]", "[CLS]", "[SEP]"), eos="[SEP]", pad="[PAD]"))
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=128,
        initializer_range=WIDTH**-0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertModel(config, add_pooling_layer=False), tokenizer
