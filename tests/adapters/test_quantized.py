"""A base in 4 bits under an adapter in full precision (QLoRA), where bitsandbytes is installed; a CPU will do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.conformance import Subject
from jepa_vlm.training import apply_lora
from jepa_vlm.training.lora import adapted
from tests.factories import pearl_objective, random_trajectory

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("base")
    backbone = jv.load_backbone("tiny-random-qwen2-vl")
    backbone.model.save_pretrained(made)
    backbone.processor.save_pretrained(made)
    return made


def test_the_adapter_learns_on_a_base_in_4_bits(folder: Path) -> None:
    backbone = jv.load_backbone(str(folder), quantize=True)
    apply_lora(backbone, jv.Lora(rank=4, alpha=8))
    held = {type(module.get_base_layer()).__name__ for module in adapted(backbone).values()}
    assert held == {"Linear4bit"}
    trained = {name: p for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name and p.dtype == torch.float32 for name, p in trained.items())
    generator = torch.Generator().manual_seed(0)
    trajectories = [random_trajectory(generator, str(i)) for i in range(2)]
    found = []
    for engine in ("one_pass", "separate"):
        model = jv.LatentVLM(backbone, pearl_objective(), engine=engine)
        model.zero_grad()
        terms = model(model.collator()(trajectories))
        terms.total.backward()
        assert all(p.grad is not None for p in trained.values())
        found.append(terms.total.detach())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_a_run_in_4_bits_exports_the_base_in_full_with_the_adapter_merged(folder: Path, tmp_path: Path) -> None:
    small = {"steps": 1, "batch_size": 2, "validate_every": 1, "questions": 2}
    result = jv.train("pearl", backbone=str(folder), quantize=True, output=tmp_path / "run", **small)
    subject = Subject.load(result.export, torch.float32)
    assert not any("bit" in type(module).__name__ for module in subject.backbone.base.modules())
