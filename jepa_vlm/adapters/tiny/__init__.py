"""Tiny models of real architectures with seeded random weights, built offline: for tests, and for a first run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedModel

from jepa_vlm.adapters.tiny.aya_vision import tiny_aya_vision
from jepa_vlm.adapters.tiny.gemma3 import tiny_gemma3
from jepa_vlm.adapters.tiny.glm4v import tiny_glm4v
from jepa_vlm.adapters.tiny.idefics3 import tiny_idefics3, tiny_smolvlm
from jepa_vlm.adapters.tiny.internvl import tiny_internvl
from jepa_vlm.adapters.tiny.lfm2_vl import tiny_lfm2_vl
from jepa_vlm.adapters.tiny.llava import tiny_llava
from jepa_vlm.adapters.tiny.llava_next import tiny_llava_next
from jepa_vlm.adapters.tiny.llava_onevision import tiny_llava_onevision
from jepa_vlm.adapters.tiny.mistral3 import tiny_mistral3, tiny_pixtral
from jepa_vlm.adapters.tiny.mllama import tiny_mllama
from jepa_vlm.adapters.tiny.paligemma import tiny_paligemma
from jepa_vlm.adapters.tiny.qwen2_5_vl import tiny_qwen2_5_vl
from jepa_vlm.adapters.tiny.qwen2_vl import tiny_qwen2_vl
from jepa_vlm.adapters.tiny.qwen3_5 import tiny_qwen3_5
from jepa_vlm.adapters.tiny.qwen3_vl import tiny_qwen3_vl, tiny_qwen3_vl_moe

TINY: dict[str, Callable[..., tuple[PreTrainedModel, Any]]] = {
    "tiny-random-qwen2.5-vl": tiny_qwen2_5_vl,
    "tiny-random-qwen2-vl": tiny_qwen2_vl,
    "tiny-random-qwen3-vl": tiny_qwen3_vl,
    "tiny-random-qwen3-vl-moe": tiny_qwen3_vl_moe,
    "tiny-random-qwen3.5": tiny_qwen3_5,
    "tiny-random-llava": tiny_llava,
    "tiny-random-llava-next": tiny_llava_next,
    "tiny-random-llava-onevision": tiny_llava_onevision,
    "tiny-random-internvl": tiny_internvl,
    "tiny-random-idefics3": tiny_idefics3,
    "tiny-random-smolvlm": tiny_smolvlm,
    "tiny-random-gemma3": tiny_gemma3,
    "tiny-random-paligemma": tiny_paligemma,
    "tiny-random-glm-4v": tiny_glm4v,
    "tiny-random-aya-vision": tiny_aya_vision,
    "tiny-random-mllama": tiny_mllama,
    "tiny-random-mistral3": tiny_mistral3,
    "tiny-random-pixtral": tiny_pixtral,
    "tiny-random-lfm2-vl": tiny_lfm2_vl,
}
TORCHVISION = frozenset(
    {"tiny-random-mistral3", "tiny-random-pixtral", "tiny-random-lfm2-vl"}
)  # what cannot be built without it
