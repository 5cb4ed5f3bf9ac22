"""vLLM: a server with the OpenAI interface. Written for release 0.33.0 from the registry."""

from __future__ import annotations

import json

from jepa_vlm.elsewhere.folder import ModelFolder
from jepa_vlm.elsewhere.run import Run
from jepa_vlm.errors import ExportError

RELEASE = "vllm 0.33.0"
DROPPED = {"mllama": "0.10.2", "aya_vision": "0.24.0"}  # the last release with the architecture
IMAGES = 4  # the most that a question of BLINK has


def vllm(folder: ModelFolder) -> Run:
    """Return the command.

    Raises:
        ExportError: If vLLM cannot run the folder.
    """
    if not folder.answering.stock:
        raise ExportError(
            f"{folder.path} answers by {folder.answering.name!r}, which vLLM's generation does not do; run it by "
            "`jepa-vlm evaluate`, or in lmms-eval by the plug-in (--for lmms-eval)."
        )
    if folder.model_type in DROPPED:
        last = DROPPED[folder.model_type]
        raise ExportError(f"vLLM runs {folder.model_type} up to release {last} only; this command is for {RELEASE}.")
    command = ["vllm", "serve", str(folder.path), "--served-model-name", folder.path.name]
    command += ["--limit-mm-per-prompt", json.dumps({"image": IMAGES})]
    command += ["--generation-config", "vllm", "--override-generation-config", json.dumps({"temperature": 0})]
    return Run(
        program="vllm",
        release=RELEASE,
        command=tuple(command),
        remarks=(
            "It needs an environment of its own (it pins torch and an older transformers), and a GPU.",
            "Images have the pixel budget of the folder; answers are greedy unless a request says otherwise.",
        ),
    )
