"""Backbones of real sizes with random weights; the cost of a step does not depend on the values of the weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.processors import image_only
from jepa_vlm.adapters.qwen2_5_vl import Qwen25VLAdapter
from jepa_vlm.adapters.tiny.build import tiny_tokenizer
from jepa_vlm.adapters.tiny.qwen_and_glm import QWEN2_5_VL
from jepa_vlm.recipe import Lora
from jepa_vlm.registry import Registry
from jepa_vlm.training import apply_lora

PATCH, MERGE, WINDOW = 14, 2, 112
SIDE = PATCH * MERGE  # pixels of one visual token
LATENT_START, LATENT_END = "<|vision_pad|>", "<|endoftext|>"  # special tokens that the synthetic texts do not use


@final
@dataclass(frozen=True, kw_only=True)
class BenchShape:
    """Sizes of a Qwen2.5-VL and of its adapter.

    Args:
        note: Where the sizes come from.
        text, vision: Values of its configuration.
        lora_rank: Rank of the adapter.
        lengths: Factor on the lengths of a mix.
    """

    note: str
    text: dict[str, Any]
    vision: dict[str, Any]
    lora_rank: int = 64
    lengths: float = 1.0


SHAPES: Registry[BenchShape] = Registry("shape")
_FULL_ATTENTION = [7, 15, 23, 31]
_TOWER = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}

SHAPES.register("3b")(
    BenchShape(
        note="Qwen2.5-VL-3B",
        text={
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        vision={**_TOWER, "fullatt_block_indexes": _FULL_ATTENTION},
    )
)
SHAPES.register("7b")(
    BenchShape(
        note="Qwen2.5-VL-7B",
        text={
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "tie_word_embeddings": False,
        },
        vision={**_TOWER, "fullatt_block_indexes": _FULL_ATTENTION},
    )
)
SHAPES.register("tiny")(
    BenchShape(
        note="the 3B at an eighth of its width, four layers, a third of the lengths: tower and rows keep their shares",
        text={
            "vocab_size": 2150,
            "hidden_size": 256,
            "intermediate_size": 1376,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
        },
        vision={
            "depth": 8,
            "hidden_size": 96,
            "intermediate_size": 280,
            "num_heads": 4,
            "fullatt_block_indexes": [7],
        },
        lora_rank=8,
        lengths=1 / 3,
    )
)


def build_backbone(shape: BenchShape, *, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Backbone:
    """Return a backbone with random weights and its adapter on, in training mode.

    Args:
        shape: The sizes.
        device: Device of the weights; on ``meta`` they have sizes and no values.
        dtype: Type of the base weights; the adapter is at least float32.
        seed: Random seed of the weights.
    """
    tokenizer = tiny_tokenizer(QWEN2_5_VL.vocabulary)
    config = _config(shape, {token: tokenizer.get_vocab()[token] for token in QWEN2_5_VL.vocabulary.specials})
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with torch.random.fork_rng(), device:
            torch.manual_seed(seed)
            model = Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, size={"shortest_edge": SIDE * SIDE, "longest_edge": 16384 * SIDE * SIDE}
    )
    processor = image_only(Qwen2_5_VLProcessor)(image_processor, tokenizer, chat_template=QWEN2_5_VL.template)
    backbone = Backbone(name=shape.note, model=model, processor=processor, adapter=Qwen25VLAdapter(config=config))
    with device, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")  # peft asks by the old name
        apply_lora(backbone, Lora(rank=shape.lora_rank, alpha=2 * shape.lora_rank), seed=seed)
    nn.Module.train(backbone.model)
    return backbone


def lora_rank(backbone: Backbone) -> int:
    """Return the rank of a backbone's adapter."""
    config: Any = backbone.model.peft_config["default"]
    return int(config.r)


def _config(shape: BenchShape, ids: dict[str, int]) -> Qwen2_5_VLConfig:
    text = dict(shape.text)
    tied = text.pop("tie_word_embeddings")
    half = text["hidden_size"] // text["num_attention_heads"] // 2
    sections = [half // 4, (half - half // 4) // 2, half - half // 4 - (half - half // 4) // 2]
    return Qwen2_5_VLConfig(
        text_config={
            **text,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": tied,
        },
        vision_config={
            **shape.vision,
            "out_hidden_size": text["hidden_size"],
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": WINDOW,
        },
        tie_word_embeddings=tied,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
