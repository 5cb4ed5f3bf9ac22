from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLProcessor

import jepa_vlm as jv
from jepa_vlm.adapters import processors
from jepa_vlm.adapters.processors import image_only, load_processor, save_processor
from jepa_vlm.errors import BackboneError


@pytest.fixture(scope="module")
def processor() -> Qwen2_5_VLProcessor:
    return jv.load_backbone("tiny-random-qwen2.5-vl").processor


def encoded(processor: Qwen2_5_VLProcessor) -> dict[str, torch.Tensor]:
    text = "<|vision_start|><|image_pad|><|vision_end|>What color?"
    return dict(processor(text=[text], images=[Image.new("RGB", (64, 48), "blue")], return_tensors="pt"))


def test_the_processor_is_of_the_standard_class(processor: Qwen2_5_VLProcessor) -> None:
    assert isinstance(processor, Qwen2_5_VLProcessor)
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    assert image_only(Qwen2_5_VLProcessor) is image_only(Qwen2_5_VLProcessor)


def test_the_processor_survives_pickling(processor: Qwen2_5_VLProcessor) -> None:
    one, other = encoded(processor), encoded(pickle.loads(pickle.dumps(processor)))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_saved_folders_hold_a_video_block_for_machines_with_torchvision(
    processor: Qwen2_5_VLProcessor, tmp_path: Path
) -> None:
    save_processor(processor, tmp_path, video_processor="Qwen2VLVideoProcessor")
    settings = json.loads((tmp_path / "processor_config.json").read_text())
    assert settings["processor_class"] == "Qwen2_5_VLProcessor"
    assert settings["video_processor"]["video_processor_type"] == "Qwen2VLVideoProcessor"
    assert settings["video_processor"]["patch_size"] == settings["image_processor"]["patch_size"]
    one, other = encoded(processor), encoded(load_processor(str(tmp_path)))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_broken_torchvision_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError(f"operator {name}::nms does not exist")

    monkeypatch.setattr(processors.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(processors.importlib, "import_module", broken)
    with pytest.raises(BackboneError, match="install the build for this torch"):
        processors.torchvision_works()


def test_a_folder_without_settings_for_videos_is_read_with_torchvision_too(
    processor: Qwen2_5_VLProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(folder: str, **options: object) -> None:
        raise OSError(f"Can't load {missing} for {folder!r}.")

    processor.save_pretrained(tmp_path)
    monkeypatch.setattr(processors, "torchvision_works", lambda: True)
    monkeypatch.setattr(processors.AutoProcessor, "from_pretrained", lacking)
    missing = "video processor"
    assert isinstance(load_processor(str(tmp_path)), Qwen2_5_VLProcessor)
    missing = "image processor"
    with pytest.raises(OSError, match="image processor"):
        load_processor(str(tmp_path))
