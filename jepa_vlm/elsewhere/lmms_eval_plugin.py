"""What lmms-eval finds under the entry point ``lmms_eval.models``: the name ``jepa_vlm``, and its class."""

from __future__ import annotations

from typing import Any

from jepa_vlm.elsewhere.lmms_eval import PLUG_IN


def manifests() -> list[Any]:
    """Return the ``ModelManifest`` of each model; the class is imported when it is used."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [ModelManifest(model_id=PLUG_IN, chat_class_path="jepa_vlm.elsewhere.lmms_eval_model.JepaVLM")]
