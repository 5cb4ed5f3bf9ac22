"""The backbones that have a name: plain data, so that listing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jepa_vlm.adapters.tiny import TINY

DTYPES = ("float32", "bfloat16", "float16", "float64")
UNVERIFIED = "nothing yet"
CHATML, GRID_28, GRID_32 = "ChatML", "one per 28 x 28 pixels", "one per 32 x 32 pixels"
THOUGHT = "ChatML, an empty thought before the last turn"
INST, SMOL, GEMMA = "[INST] ... [/INST]", "User: ... Assistant: ...", "<start_of_turn>"
LLAMA3, AYA = "<|start_header_id|>", "<|START_OF_TURN_TOKEN|>"
NEXT, ONEVISION = "576, and up to 576 per tile", "729 per tile, one tile for one of many"
TORCHVISION = "its processor needs torchvision"


@final
@dataclass(frozen=True)
class Named:
    """A named backbone.

    Args:
        hub_id: Repository with its weights, or "" if they are in the package or random.
        family: Its ``model_type`` in transformers, under which its adapter is registered.
        note: One line for the list.
        visual_tokens: Number of tokens that an image takes.
        template: Format of its chat template.
        verified: What was checked on the real weights.
    """

    hub_id: str
    family: str
    note: str
    visual_tokens: str = ""
    template: str = ""
    verified: str = ""


def _public(hub_id: str, family: str, visual_tokens: str, template: str, note: str = "") -> Named:
    return Named(hub_id, family, note, visual_tokens, template, UNVERIFIED)


BACKBONES: dict[str, Named] = {
    "tiny-qwen2.5-vl": Named(
        "",
        "qwen2_5_vl",
        "Qwen2.5-VL's architecture, 1.4M parameters that have learned to see the playground; the default",
    ),
    **{
        name: Named("", tiny.family, f"{tiny.note}, random weights, built offline; takes a seed")
        for name, tiny in TINY.items()
    },
    "qwen2-vl-2b": _public("Qwen/Qwen2-VL-2B-Instruct", "qwen2_vl", GRID_28, CHATML),
    "qwen2-vl-7b": _public("Qwen/Qwen2-VL-7B-Instruct", "qwen2_vl", GRID_28, CHATML),
    "qwen2-vl-72b": _public("Qwen/Qwen2-VL-72B-Instruct", "qwen2_vl", GRID_28, CHATML),
    "qwen2.5-vl-3b": _public("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl", GRID_28, CHATML),
    "qwen2.5-vl-7b": _public("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl", GRID_28, CHATML),
    "qwen2.5-vl-32b": _public("Qwen/Qwen2.5-VL-32B-Instruct", "qwen2_5_vl", GRID_28, CHATML),
    "qwen2.5-vl-72b": _public("Qwen/Qwen2.5-VL-72B-Instruct", "qwen2_5_vl", GRID_28, CHATML),
    "qwen3-vl-2b": _public("Qwen/Qwen3-VL-2B-Instruct", "qwen3_vl", GRID_32, CHATML),
    "qwen3-vl-4b": _public("Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl", GRID_32, CHATML),
    "qwen3-vl-8b": _public("Qwen/Qwen3-VL-8B-Instruct", "qwen3_vl", GRID_32, CHATML),
    "qwen3-vl-32b": _public("Qwen/Qwen3-VL-32B-Instruct", "qwen3_vl", GRID_32, CHATML),
    "qwen3-vl-30b-a3b": _public(
        "Qwen/Qwen3-VL-30B-A3B-Instruct", "qwen3_vl_moe", GRID_32, CHATML, "LoRA on its attention alone"
    ),
    "qwen3-vl-235b-a22b": _public(
        "Qwen/Qwen3-VL-235B-A22B-Instruct", "qwen3_vl_moe", GRID_32, CHATML, "LoRA on its attention alone"
    ),
    "qwen3.5-0.8b": _public("Qwen/Qwen3.5-0.8B", "qwen3_5", GRID_32, THOUGHT),
    "qwen3.5-2b": _public("Qwen/Qwen3.5-2B", "qwen3_5", GRID_32, THOUGHT),
    "qwen3.5-4b": _public("Qwen/Qwen3.5-4B", "qwen3_5", GRID_32, THOUGHT),
    "qwen3.5-9b": _public("Qwen/Qwen3.5-9B", "qwen3_5", GRID_32, THOUGHT),
    "qwen3.5-27b": _public("Qwen/Qwen3.5-27B", "qwen3_5", GRID_32, THOUGHT),
    "qwen3.6-27b": _public("Qwen/Qwen3.6-27B", "qwen3_5", GRID_32, THOUGHT),
    "llava-1.5-7b": _public("llava-hf/llava-1.5-7b-hf", "llava", "576", "USER: ... ASSISTANT: ..."),
    "llava-1.5-13b": _public("llava-hf/llava-1.5-13b-hf", "llava", "576", "USER: ... ASSISTANT: ..."),
    "pixtral-12b": _public("mistral-community/pixtral-12b", "llava", "one per 16 x 16 pixels", INST, TORCHVISION),
    "llava-next-vicuna-7b": _public("llava-hf/llava-v1.6-vicuna-7b-hf", "llava_next", NEXT, "USER: ... ASSISTANT: ..."),
    "llava-next-vicuna-13b": _public(
        "llava-hf/llava-v1.6-vicuna-13b-hf", "llava_next", NEXT, "USER: ... ASSISTANT: ..."
    ),
    "llava-next-mistral-7b": _public("llava-hf/llava-v1.6-mistral-7b-hf", "llava_next", NEXT, INST),
    "llava-next-llama3-8b": _public("llava-hf/llama3-llava-next-8b-hf", "llava_next", NEXT, LLAMA3),
    "llava-onevision-0.5b": _public("llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "llava_onevision", ONEVISION, CHATML),
    "llava-onevision-7b": _public("llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava_onevision", ONEVISION, CHATML),
    "llava-onevision-72b": _public("llava-hf/llava-onevision-qwen2-72b-ov-hf", "llava_onevision", ONEVISION, CHATML),
    "internvl3-1b": _public("OpenGVLab/InternVL3-1B-hf", "internvl", "256 per tile", CHATML),
    "internvl3-2b": _public("OpenGVLab/InternVL3-2B-hf", "internvl", "256 per tile", CHATML),
    "internvl3-8b": _public("OpenGVLab/InternVL3-8B-hf", "internvl", "256 per tile", CHATML),
    "internvl3-14b": _public("OpenGVLab/InternVL3-14B-hf", "internvl", "256 per tile", CHATML),
    "internvl3-38b": _public("OpenGVLab/InternVL3-38B-hf", "internvl", "256 per tile", CHATML),
    "internvl3-78b": _public("OpenGVLab/InternVL3-78B-hf", "internvl", "256 per tile", CHATML),
    "internvl3.5-1b": _public("OpenGVLab/InternVL3_5-1B-HF", "internvl", "256 per tile", CHATML),
    "internvl3.5-2b": _public("OpenGVLab/InternVL3_5-2B-HF", "internvl", "256 per tile", CHATML),
    "internvl3.5-4b": _public("OpenGVLab/InternVL3_5-4B-HF", "internvl", "256 per tile", CHATML),
    "internvl3.5-8b": _public("OpenGVLab/InternVL3_5-8B-HF", "internvl", "256 per tile", CHATML),
    "internvl3.5-14b": _public("OpenGVLab/InternVL3_5-14B-HF", "internvl", "256 per tile", CHATML),
    "internvl3.5-38b": _public("OpenGVLab/InternVL3_5-38B-HF", "internvl", "256 per tile", CHATML),
    "idefics3-8b": _public("HuggingFaceM4/Idefics3-8B-Llama3", "idefics3", "169 per tile", SMOL),
    "smolvlm-256m": _public("HuggingFaceTB/SmolVLM-256M-Instruct", "idefics3", "64 per tile", SMOL),
    "smolvlm-500m": _public("HuggingFaceTB/SmolVLM-500M-Instruct", "idefics3", "64 per tile", SMOL),
    "smolvlm-2.2b": _public("HuggingFaceTB/SmolVLM-Instruct", "idefics3", "81 per tile", SMOL),
    "smolvlm2-256m": _public("HuggingFaceTB/SmolVLM2-256M-Video-Instruct", "smolvlm", "64 per tile", SMOL),
    "smolvlm2-500m": _public("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "smolvlm", "64 per tile", SMOL),
    "smolvlm2-2.2b": _public("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "smolvlm", "81 per tile", SMOL),
    "gemma3-4b": _public("google/gemma-3-4b-it", "gemma3", "256", GEMMA),
    "gemma3-12b": _public("google/gemma-3-12b-it", "gemma3", "256", GEMMA),
    "gemma3-27b": _public("google/gemma-3-27b-it", "gemma3", "256", GEMMA),
    "paligemma-3b-224": _public("google/paligemma-3b-mix-224", "paligemma", "256", "none of its own; see the adapter"),
    "paligemma-3b-448": _public("google/paligemma-3b-mix-448", "paligemma", "1024", "none of its own; see the adapter"),
    "glm-4.1v-9b": _public("zai-org/GLM-4.1V-9B-Thinking", "glm4v", GRID_28, "<|user|> ... <|assistant|>"),
    "glm-4.6v-flash": _public(
        "zai-org/GLM-4.6V-Flash", "glm4v", GRID_28, "<|user|> ... <|assistant|>, an empty thought"
    ),
    "aya-vision-8b": _public("CohereLabs/aya-vision-8b", "aya_vision", "169 per tile", AYA),
    "aya-vision-32b": _public("CohereLabs/aya-vision-32b", "aya_vision", "169 per tile", AYA),
    "mistral-small-3.1-24b": _public(
        "mistralai/Mistral-Small-3.1-24B-Instruct-2503", "mistral3", GRID_28, INST, TORCHVISION
    ),
    "ministral3-3b": _public("mistralai/Ministral-3-3B-Instruct-2512-BF16", "mistral3", GRID_28, INST, TORCHVISION),
    "ministral3-8b": _public("mistralai/Ministral-3-8B-Instruct-2512-BF16", "mistral3", GRID_28, INST, TORCHVISION),
    "ministral3-14b": _public("mistralai/Ministral-3-14B-Instruct-2512-BF16", "mistral3", GRID_28, INST, TORCHVISION),
    "lfm2-vl-450m": _public("LiquidAI/LFM2-VL-450M", "lfm2_vl", GRID_32, CHATML, TORCHVISION),
    "lfm2-vl-1.6b": _public("LiquidAI/LFM2-VL-1.6B", "lfm2_vl", GRID_32, CHATML, TORCHVISION),
    "lfm2-vl-3b": _public("LiquidAI/LFM2-VL-3B", "lfm2_vl", GRID_32, CHATML, TORCHVISION),
    "lfm2.5-vl-1.6b": _public("LiquidAI/LFM2.5-VL-1.6B", "lfm2_vl", GRID_32, CHATML, TORCHVISION),
    "llama-3.2-11b-vision": _public(
        "meta-llama/Llama-3.2-11B-Vision-Instruct", "mllama", "one, and cross-attention", LLAMA3
    ),
    "llama-3.2-90b-vision": _public(
        "meta-llama/Llama-3.2-90B-Vision-Instruct", "mllama", "one, and cross-attention", LLAMA3
    ),
}
