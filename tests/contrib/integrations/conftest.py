"""An exported folder, made without training."""

from __future__ import annotations

import pytest

from jepa_vlm.adapters import load_backbone
from jepa_vlm.adapters.processors import save_processor


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    backbone = load_backbone("tiny-random-qwen2.5-vl", seed=0)
    backbone.base.save_pretrained(folder)
    save_processor(backbone.processor, folder, video_processor=backbone.adapter.video_processor)
    return folder
