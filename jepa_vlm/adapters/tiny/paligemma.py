"""A small PaliGemma: the prompt sees itself both ways, the answer is causal; its processor brings no template."""

from __future__ import annotations

from typing import Any

from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaProcessor, PreTrainedModel, SiglipVisionConfig
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from jepa_vlm.adapters.paligemma import PaliGemmaAdapter
from jepa_vlm.adapters.tiny.parts import WIDTH, made, rotary, text_sizes, vision_sizes
from jepa_vlm.adapters.tiny.tokenizer import tiny_tokenizer

SIDE, LENGTH = 56, 16


def tiny_paligemma(*, seed: int = 0) -> tuple[PreTrainedModel, Any]:
    """Return the model with random weights, and its processor."""
    tokenizer = tiny_tokenizer(
        words=(),
        specials=("<pad>", "<eos>", "<bos>", "<image>"),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        named={"image_token": "<image>"},
    )
    image_processor: Any = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    image_processor.image_seq_length = LENGTH
    processor = PaliGemmaProcessor(image_processor, tokenizer)  # adds its tokens for places and shapes
    config = PaliGemmaConfig(
        text_config=GemmaConfig(
            **text_sizes(tokenizer, head_dim=16, tie_word_embeddings=True, rope_parameters=rotary())
        ),
        vision_config=SiglipVisionConfig(**vision_sizes(SIDE, vision_use_head=False, projection_dim=WIDTH)),
        image_token_index=processor.image_token_id,
        projection_dim=WIDTH,
        hidden_size=WIDTH,
        tie_word_embeddings=True,
    )
    return made(config, PaliGemmaProcessor, image_processor, tokenizer, PaliGemmaAdapter.template, seed=seed)
