"""The commands that run an exported folder in lmms-eval, VLMEvalKit and vLLM; entry points name these functions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.contrib.integrations.lmms_eval_plugin import PLUG_IN
from jepa_vlm.errors import ExportError
from jepa_vlm.generation.answering import Answering
from jepa_vlm.plugins import ProgramCommand
from jepa_vlm.training.checkpoint import read_inference

# The releases that the commands were written for.
LMMS_EVAL, VLMEVALKIT, VLLM = "lmms-eval 0.7.3", "open-compass/VLMEvalKit@e8e78f0", "vllm 0.33.0"
LMMS_EVAL_TASKS = (
    "vstar_bench",
    "mmvp",
    "blink_counting",
    "blink_iq_test",
    "blink_jigsaw",
    "blink_relative_reflectance",
    "blink_spatial_relation",
)
# The model of lmms-eval that loads a family.
LMMS_EVAL_MODELS = {
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
# These models of lmms-eval replace the folder's pixel budget by their own defaults, unless they are given it.
OWN_PIXELS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")
EXPERTS = re.compile(r"A\d+B")
VLMEVALKIT_CONFIG = "vlmevalkit.json"
VLMEVALKIT_DATA = ("VStarBench", "MMVP", "BLINK")
# The class of VLMEvalKit that loads a family.
VLMEVALKIT_CLASSES = {
    "qwen2_vl": "Qwen2VLChat",
    "qwen2_5_vl": "Qwen2VLChat",
    "qwen3_vl": "Qwen3VLChat",
    "qwen3_vl_moe": "Qwen3VLChat",
    "gemma3": "Gemma3",
    "llava_onevision": "LLaVA_OneVision_HF",
}
LAST_VLLM = {"mllama": "0.10.2", "aya_vision": "0.24.0"}  # the last release of vLLM with the architecture
VLLM_IMAGES = 4  # the most images of a question in BLINK
PROCESSORS = ("processor_config.json", "preprocessor_config.json")


@final
@dataclass(frozen=True)
class ExportedFolder:
    """What the plain files of an exported folder say about its model; no weight is loaded.

    Args:
        path: The folder, absolute.
        model_type: Family in its configuration, such as ``"qwen2_5_vl"``.
        pixels: Least and most pixels of an image; None if its image processor has no such limits.
        answering: How the model answers: ``Recipe.answering`` of its run.
    """

    path: Path
    model_type: str
    pixels: tuple[int, int] | None
    answering: Answering

    @classmethod
    def read(cls, folder: Path) -> ExportedFolder:
        """Read a folder.

        Raises:
            ExportError: If it is no exported model.
        """
        model_type = _json(folder / "config.json").get("model_type")
        if not isinstance(model_type, str) or not any((folder / name).is_file() for name in PROCESSORS):
            raise ExportError(
                f"{folder} must be an exported model: config.json with a model_type, weights and a processor. "
                "Export a run first: jepa-vlm export RUN --to FOLDER."
            )
        return cls(folder.resolve(), model_type, _pixels(folder), read_inference(folder))


def _pixels(folder: Path) -> tuple[int, int] | None:
    for name in PROCESSORS:
        held = _json(folder / name)
        processor = held.get("image_processor", held)
        size = processor.get("size") or {}
        # Older files state the pixels beside the size, and transformers lets these overrule it.
        low = processor.get("min_pixels") or size.get("shortest_edge")
        high = processor.get("max_pixels") or size.get("longest_edge")
        if "merge_size" in processor and isinstance(low, int) and isinstance(high, int):
            return low, high
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as err:
        raise ExportError(f"{path} is not JSON ({err}); export the run again.") from None
    return found if isinstance(found, dict) else {}


def lmms_eval(path: Path) -> ProgramCommand:
    """Return the command for lmms-eval: with its own model of the family, else its vLLM model, else the plug-in.

    Raises:
        ExportError: If the path is no exported model, or lmms-eval would misread its name.
    """
    folder = ExportedFolder.read(path)
    if found := re.search(r"[,{}\[\]\"']", str(folder.path)):
        raise ExportError(
            f"lmms-eval splits its arguments at {found[0]!r}, which {folder.path} holds; move the folder."
        )
    model = PLUG_IN
    if folder.answering.stock:
        model = LMMS_EVAL_MODELS.get(folder.model_type, PLUG_IN if folder.model_type in LAST_VLLM else "vllm")
    arguments = {"model" if model == "vllm" else "pretrained": str(folder.path)}
    remarks = ["Add --limit 8 to try it out."]
    if model == PLUG_IN:
        remarks.append("jepa-vlm must be installed beside lmms-eval: it answers, in the way that inference.json names.")
    elif model == "vllm":
        remarks.append("vLLM must be installed beside lmms-eval, which has no model of its own for this family.")
    else:
        if model == "qwen3_vl":
            _check_experts(folder)
        if model in OWN_PIXELS and folder.pixels is not None:
            arguments |= {"min_pixels": str(folder.pixels[0]), "max_pixels": str(folder.pixels[1])}
        remarks.append("Its environment needs filelock below 4, torchvision and decord; most models load in bfloat16.")
        remarks.append("Without a GPU: device_map=cpu among the --model_args, and --device cpu.")
    command = ["python", "-m", "lmms_eval", "--model", model]
    command += ["--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())]
    command += ["--tasks", ",".join(LMMS_EVAL_TASKS), "--batch_size", "1", "--log_samples"]
    command += ["--output_path", "lmms-eval"]
    return ProgramCommand(program="lmms-eval", release=LMMS_EVAL, command=tuple(command), remarks=tuple(remarks))


def _check_experts(folder: ExportedFolder) -> None:
    """Check that the path says whether a Qwen3-VL has experts, as lmms-eval reads it there.

    Raises:
        ExportError: If lmms-eval would load the folder as the wrong class.
    """
    has, named = folder.model_type.endswith("_moe"), EXPERTS.search(str(folder.path)) is not None
    if has != named:
        words = "must hold the size of its experts, such as A3B" if has else "must hold nothing like A3B"
        raise ExportError(
            f"lmms-eval tells by the path whether a Qwen3-VL has experts: it {words}, got {folder.path}; rename the "
            "folder."
        )


def vlmevalkit(path: Path) -> ProgramCommand:
    """Return the command for VLMEvalKit, which has no plug-ins, and a configuration over one of its classes.

    Raises:
        ExportError: If the path is no exported model, or VLMEvalKit has no class that loads it.
    """
    folder = ExportedFolder.read(path)
    if not folder.answering.stock:
        raise ExportError(
            f"{folder.path} answers by {folder.answering.name!r}, and VLMEvalKit takes no models from outside; run it "
            "by `jepa-vlm evaluate`, or in lmms-eval by the plug-in (--for lmms-eval)."
        )
    if folder.model_type not in VLMEVALKIT_CLASSES:
        raise ExportError(
            f"VLMEvalKit has no class that loads a folder of {folder.model_type}; it has for "
            f"{', '.join(VLMEVALKIT_CLASSES)}. Serve the folder by vLLM (--for vllm) and name the server: "
            "run.py --base-url URL."
        )
    kind = VLMEVALKIT_CLASSES[folder.model_type]
    if kind == "Qwen3VLChat" and "omni" in str(folder.path).lower():
        raise ExportError(
            f"VLMEvalKit takes a Qwen3-VL whose path holds 'omni' for Qwen3-Omni, got {folder.path}; rename the folder."
        )
    model: dict[str, str | int | bool] = {"class": kind, "model_path": str(folder.path)}
    if kind.startswith("Qwen"):
        model["use_custom_prompt"] = False
        if folder.pixels is not None:
            model |= {"min_pixels": folder.pixels[0], "max_pixels": folder.pixels[1]}
    if kind == "Qwen3VLChat":
        model["temperature"] = 0  # it samples otherwise; Qwen2VLChat's top_k of 1 is greedy already
    data = {name: {"class": "ImageMCQDataset", "dataset": name} for name in VLMEVALKIT_DATA}
    return ProgramCommand(
        program="vlmevalkit",
        release=VLMEVALKIT,
        command=("python", "run.py", "--config", str(folder.path / VLMEVALKIT_CONFIG), "--judge", "exact_matching"),
        files={VLMEVALKIT_CONFIG: json.dumps({"model": {folder.path.name: model}, "data": data}, indent=1) + "\n"},
        remarks=(
            "Run it in a checkout of VLMEvalKit, on a GPU; its Qwen2VLChat needs flash-attn.",
            "The judge is exact matching, so that no language model reads the answers.",
        ),
    )


def vllm(path: Path) -> ProgramCommand:
    """Return the command that starts vLLM's server, which has the interface of OpenAI.

    Raises:
        ExportError: If the path is no exported model, or vLLM cannot run it.
    """
    folder = ExportedFolder.read(path)
    if not folder.answering.stock:
        raise ExportError(
            f"{folder.path} answers by {folder.answering.name!r}, which vLLM's generation does not do; run it by "
            "`jepa-vlm evaluate`, or in lmms-eval by the plug-in (--for lmms-eval)."
        )
    if folder.model_type in LAST_VLLM:
        last = LAST_VLLM[folder.model_type]
        raise ExportError(f"vLLM runs {folder.model_type} up to release {last} only; this command is for {VLLM}.")
    command = ["vllm", "serve", str(folder.path), "--served-model-name", folder.path.name]
    command += ["--limit-mm-per-prompt", json.dumps({"image": VLLM_IMAGES})]
    command += ["--generation-config", "vllm", "--override-generation-config", json.dumps({"temperature": 0})]
    return ProgramCommand(
        program="vllm",
        release=VLLM,
        command=tuple(command),
        remarks=(
            "It needs an environment of its own (it pins torch and an older transformers), and a GPU.",
            "Images have the pixel budget of the folder; answers are greedy unless a request says otherwise.",
        ),
    )
