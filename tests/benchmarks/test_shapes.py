from __future__ import annotations

import pytest
import torch

from benchmarks.mixes import make_trajectories
from benchmarks.shapes import SHAPES, build_backbone
from benchmarks.step.closed_form import closed_forms
from jepa_vlm.errors import UnknownNameError
from jepa_vlm.serialization import Serializer


def test_the_tiny_shape_keeps_the_shares_of_the_3b():
    """Ratios between steps depend on what the tower and the rows take of the whole."""
    shares = []
    for name in ("3b", "tiny"):
        backbone = build_backbone(SHAPES[name], device=torch.device("meta"), dtype=torch.bfloat16)
        serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
        trajectories = make_trajectories("lvr", serializer=serializer, count=4, scale=SHAPES[name].lengths)
        step = closed_forms(backbone, trajectories, checkpointing=False)["pearl"]
        shares.append([part / step.total for part in (step.vision, step.conversation, step.target)])
    assert shares[1] == pytest.approx(shares[0], rel=0.1)


@pytest.mark.parametrize(("name", "decoder", "adapter"), [("3b", 2.775e9, 29.9e6), ("7b", 6.525e9, 40.4e6)])
def test_real_shapes_have_the_published_sizes(name, decoder, adapter):
    """Linear parameters of the real models, and of an adapter of rank 16."""
    backbone = build_backbone(SHAPES[name], device=torch.device("meta"), dtype=torch.bfloat16)
    layers = backbone.adapter.decoder(backbone.base).layers
    sizes = {parameter_name: p.numel() for parameter_name, p in layers.named_parameters() if p.dim() == 2}
    assert sum(n for key, n in sizes.items() if "lora" not in key) == pytest.approx(decoder, rel=0.001)
    assert sum(n for key, n in sizes.items() if "lora" in key) / 4 == pytest.approx(adapter, rel=0.01)


def test_only_the_adapter_trains_and_in_float32():
    backbone = build_backbone(SHAPES["tiny"], device=torch.device("cpu"), dtype=torch.bfloat16)
    trained = {name: p.dtype for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained)
    assert set(trained.values()) == {torch.float32}
    assert {p.dtype for p in backbone.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_the_seed_decides_the_weights_of_a_shape():
    weights = [
        build_backbone(SHAPES["tiny"], device=torch.device("cpu"), dtype=torch.float32, seed=seed).base.lm_head.weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_shape_is_one_message():
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        SHAPES["tinny"]
