"""lmms-eval: one of its own models where it has one for the family, else its vLLM model, else the plug-in.

Written for release 0.7.3 from the registry.
"""

from __future__ import annotations

import re

from jepa_vlm.elsewhere.folder import ModelFolder
from jepa_vlm.elsewhere.run import Run
from jepa_vlm.elsewhere.vllm import DROPPED
from jepa_vlm.errors import ExportError

RELEASE = "lmms-eval 0.7.3"
PLUG_IN = "jepa_vlm"  # the model that jepa_vlm.elsewhere.lmms_eval_plugin registers
TASKS = (
    "vstar_bench",
    "mmvp",
    "blink_counting",
    "blink_iq_test",
    "blink_jigsaw",
    "blink_relative_reflectance",
    "blink_spatial_relation",
)
MODELS = {
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "qwen3_vl_moe": "qwen3_vl",
    "qwen3_5": "qwen3_5",
    "llava": "llava_hf",
    "llava_next": "llava_hf",
    "llava_onevision": "llava_hf",
    "internvl": "internvl_hf",
    "mllama": "llama_vision",
}
OWN_PIXELS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")  # these replace the folder's budget by their defaults
EXPERTS = re.compile(r"A\d+B")


def lmms_eval(folder: ModelFolder) -> Run:
    """Return the command.

    Raises:
        ExportError: If the folder's name would be misread.
    """
    if found := re.search(r"[,{}\[\]\"']", str(folder.path)):
        raise ExportError(
            f"lmms-eval splits its arguments at {found[0]!r}, which {folder.path} holds; move the folder."
        )
    model = _model(folder)
    remarks = ["Add --limit 8 to try it out."]
    if model == PLUG_IN:
        arguments = {"pretrained": str(folder.path)}
        remarks.append("jepa-vlm must be installed beside lmms-eval: it answers, in the way that inference.json names.")
    elif model == "vllm":
        arguments = {"model": str(folder.path)}
        remarks.append("vLLM must be installed beside lmms-eval, which has no model of its own for this family.")
    else:
        _check_experts(folder, model)
        arguments = {"pretrained": str(folder.path)}
        if model in OWN_PIXELS and folder.pixels is not None:
            arguments |= {"min_pixels": str(folder.pixels[0]), "max_pixels": str(folder.pixels[1])}
        remarks.append("Its environment needs filelock below 4, torchvision and decord; most models load in bfloat16.")
        remarks.append("Without a GPU: device_map=cpu among the --model_args, and --device cpu.")
    command = ["python", "-m", "lmms_eval", "--model", model]
    command += ["--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())]
    command += ["--tasks", ",".join(TASKS), "--batch_size", "1", "--log_samples", "--output_path", "lmms-eval"]
    return Run(program="lmms-eval", release=RELEASE, command=tuple(command), remarks=tuple(remarks))


def _model(folder: ModelFolder) -> str:
    if not folder.answering.stock:
        return PLUG_IN
    return MODELS.get(folder.model_type, PLUG_IN if folder.model_type in DROPPED else "vllm")


def _check_experts(folder: ModelFolder, model: str) -> None:
    """Hold the path to what lmms-eval reads from it: whether a Qwen3-VL has experts.

    Raises:
        ExportError: If it would load the folder as the wrong class.
    """
    if model != "qwen3_vl":
        return
    has, named = folder.model_type.endswith("_moe"), EXPERTS.search(str(folder.path)) is not None
    if has != named:
        words = "must hold the size of its experts, such as A3B" if has else "must hold nothing like A3B"
        raise ExportError(
            f"lmms-eval tells by the path whether a Qwen3-VL has experts: it {words}, got {folder.path}; rename the "
            "folder."
        )
