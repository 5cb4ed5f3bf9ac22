"""VLMEvalKit: a configuration over one of its own classes; it has no plug-ins. Written for commit e8e78f0."""

from __future__ import annotations

import json
from typing import Any

from jepa_vlm.elsewhere.folder import ModelFolder
from jepa_vlm.elsewhere.run import Run
from jepa_vlm.errors import ExportError

RELEASE = "open-compass/VLMEvalKit@e8e78f0"
CONFIG = "vlmevalkit.json"
DATA = ("VStarBench", "MMVP", "BLINK")
CLASSES = {
    "qwen2_vl": "Qwen2VLChat",
    "qwen2_5_vl": "Qwen2VLChat",
    "qwen3_vl": "Qwen3VLChat",
    "qwen3_vl_moe": "Qwen3VLChat",
    "gemma3": "Gemma3",
    "llava_onevision": "LLaVA_OneVision_HF",
}


def vlmevalkit(folder: ModelFolder) -> Run:
    """Return the command and its configuration.

    Raises:
        ExportError: If it has no class that loads the folder.
    """
    if not folder.answering.stock:
        raise ExportError(
            f"{folder.path} answers by {folder.answering.name!r}, and VLMEvalKit takes no models from outside; run it "
            "by `jepa-vlm evaluate`, or in lmms-eval by the plug-in (--for lmms-eval)."
        )
    if folder.model_type not in CLASSES:
        raise ExportError(
            f"VLMEvalKit has no class that loads a folder of {folder.model_type}; it has for {', '.join(CLASSES)}. "
            "Serve the folder by vLLM (--for vllm) and name the server: run.py --base-url URL."
        )
    if CLASSES[folder.model_type] == "Qwen3VLChat" and "omni" in str(folder.path).lower():
        raise ExportError(
            f"VLMEvalKit takes a Qwen3-VL whose path holds 'omni' for Qwen3-Omni, got {folder.path}; rename the folder."
        )
    data = {name: {"class": "ImageMCQDataset", "dataset": name} for name in DATA}
    config = {"model": {folder.path.name: _model(folder)}, "data": data}
    return Run(
        program="vlmevalkit",
        release=RELEASE,
        command=("python", "run.py", "--config", str(folder.path / CONFIG), "--judge", "exact_matching"),
        files={CONFIG: json.dumps(config, indent=1) + "\n"},
        remarks=(
            "Run it in a checkout of VLMEvalKit, on a GPU; its Qwen2VLChat needs flash-attn.",
            "The judge is exact matching, so that no language model reads the answers.",
        ),
    )


def _model(folder: ModelFolder) -> dict[str, Any]:
    name = CLASSES[folder.model_type]
    found: dict[str, Any] = {"class": name, "model_path": str(folder.path)}
    if name.startswith("Qwen"):
        found["use_custom_prompt"] = False
        if folder.pixels is not None:
            found |= {"min_pixels": folder.pixels[0], "max_pixels": folder.pixels[1]}
    if name == "Qwen3VLChat":
        found["temperature"] = 0  # else it samples; Qwen2VLChat's top_k of 1 is greedy already
    return found
