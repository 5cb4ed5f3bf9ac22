"""Tiny models of real architectures with seeded random weights, built offline: for tests, and for a first run."""

from __future__ import annotations

from collections.abc import Mapping

from jepa_vlm.adapters.tiny.gemma_and_mllama import GEMMA3, MLLAMA, PALIGEMMA
from jepa_vlm.adapters.tiny.llava_and_mistral import LLAVA, LLAVA_NEXT, LLAVA_ONEVISION, MISTRAL3, PIXTRAL
from jepa_vlm.adapters.tiny.model import TinyModel
from jepa_vlm.adapters.tiny.qwen_and_glm import GLM4V, QWEN2_5_VL, QWEN2_VL, QWEN3_5, QWEN3_VL, QWEN3_VL_MOE
from jepa_vlm.adapters.tiny.tiled import AYA_VISION, IDEFICS3, INTERNVL, LFM2_VL, SMOLVLM

TINY: Mapping[str, TinyModel] = {
    "tiny-random-qwen2.5-vl": QWEN2_5_VL,
    "tiny-random-qwen2-vl": QWEN2_VL,
    "tiny-random-qwen3-vl": QWEN3_VL,
    "tiny-random-qwen3-vl-moe": QWEN3_VL_MOE,
    "tiny-random-qwen3.5": QWEN3_5,
    "tiny-random-llava": LLAVA,
    "tiny-random-llava-next": LLAVA_NEXT,
    "tiny-random-llava-onevision": LLAVA_ONEVISION,
    "tiny-random-internvl": INTERNVL,
    "tiny-random-idefics3": IDEFICS3,
    "tiny-random-smolvlm": SMOLVLM,
    "tiny-random-gemma3": GEMMA3,
    "tiny-random-paligemma": PALIGEMMA,
    "tiny-random-glm-4v": GLM4V,
    "tiny-random-aya-vision": AYA_VISION,
    "tiny-random-mllama": MLLAMA,
    "tiny-random-mistral3": MISTRAL3,
    "tiny-random-pixtral": PIXTRAL,
    "tiny-random-lfm2-vl": LFM2_VL,
}
