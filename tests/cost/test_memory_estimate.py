"""The estimate of a step's memory: by hand, and against the bytes of running steps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmarks.mixes import make_trajectories
from benchmarks.shapes import SHAPES, build_backbone, lora_rank
from benchmarks.step.counting import count_memory
from benchmarks.step.training_step import Setting
from benchmarks.step.variants import VARIANTS, pearl_objective
from jepa_vlm.cost import DecoderShape, MicroBatchSize, Shape, VisionShape, step_memory
from jepa_vlm.cost.memory_estimate import layer_saved
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import NextToken
from jepa_vlm.runs.plan import micro_batch
from jepa_vlm.serialization import Serializer

SAVED, PEAK = 0.03, 0.10  # what the estimate may be off

# One layer, hidden 2, one head of width 2, intermediate 3, vocabulary 5; rank 1 on q and v.
HAND = Shape(
    DecoderShape(layers=1, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=3, vocab=5),
    VisionShape(
        depth=2, hidden=2, intermediate=3, out=2, patch=1, merge=2, temporal=1, channels=1, window=4, full_blocks=1
    ),
    lora_rank=1,
    lora_modules=("q_proj", "v_proj"),
)


def test_memory_of_a_layer_by_hand():
    # A token: 4 x 3 of the MLP, 2 inputs of 2, q and two outputs of 2, k and v of 2, 2 narrow middles = 28 halves;
    # norms 2 x (2 + 1) and one log-sum-exp = 7 floats.
    assert layer_saved(HAND, MicroBatchSize(tokens=1), 2) == 28 * 2 + 7 * 4
    # 5 tokens, and a branch that sees 4 keys of 2 and 4 values of 2
    assert layer_saved(HAND, MicroBatchSize(tokens=5, seen=4), 2) == 5 * 84 + 16 * 2


def test_memory_of_a_step_by_hand():
    found = step_memory(HAND, MicroBatchSize(tokens=5, supervised=3, states=2, patches=4), width=2, chunk=2)
    assert found.copies == 2 * 2 * (2 + 2)  # rank 1: two pairs of 2 + 2 numbers, in half precision
    assert found.layers == 5 * 84
    assert found.terms == 4 * 5 * 3 + 2 * 2 * (3 + 2 * 2)
    assert found.working == max(2 * 5 * (2 + 8), 5 * (2 * 2 * 3 + 2 * 4 * 2))
    assert found.before == 4 * (2 * (3 * 3 + 4 * 2) + 2 * 4 * 2)
    assert found.saved == found.copies + found.layers + found.terms
    assert found.peak == found.saved + found.working


def test_checkpointing_holds_the_layers_inputs_and_runs_one_again():
    batch = MicroBatchSize(tokens=5)
    without, with_it = (step_memory(HAND, batch, checkpointing=flag) for flag in (False, True))
    assert with_it.layers == 2 * 2 * 5
    assert with_it.working == without.working + layer_saved(HAND, batch, 2)


def test_a_decoder_trained_in_full_is_refused():
    with pytest.raises(ValueError, match="adapters only"):
        step_memory(Shape(HAND.decoder, HAND.vision), MicroBatchSize(tokens=1))


def setting_of(name, mix, *, device="cpu", dtype=torch.float32, checkpointing=False):
    shape = SHAPES[name]
    backbone = build_backbone(shape, device=torch.device(device), dtype=dtype)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    trajectories = make_trajectories(mix, serializer=serializer, count=4, scale=shape.lengths)
    return Setting(backbone=backbone, trajectories=trajectories, checkpointing=checkpointing)


def counted_and_estimated(setting, variant):
    backbone = setting.backbone
    step = VARIANTS[variant](setting)
    model = LatentVLM(backbone, pearl_objective() if variant == "pearl" else NextToken())
    batch = micro_batch(model, setting.trajectories)
    shape = Shape.of(backbone.base.config, lora_rank=lora_rank(backbone))
    width = next(backbone.base.parameters()).element_size()
    autocast = setting.half and setting.device.type == "cpu"  # the meta device has none
    estimate = step_memory(shape, batch, width=width, autocast=autocast, checkpointing=setting.checkpointing)
    return count_memory(step), estimate, 4 * sum(parameter.numel() for parameter in step.parameters)


def check(setting, variant):
    counted, estimate, gradients = counted_and_estimated(setting, variant)
    assert estimate.saved == pytest.approx(counted.saved, rel=SAVED + 0.02 * setting.checkpointing)
    # Gradients grow while activations are freed: at the peak there may be none of them or all.
    assert (1 - PEAK) * counted.peak - gradients <= estimate.peak <= (1 + PEAK) * counted.peak
    if not setting.checkpointing:
        assert estimate.peak == pytest.approx(counted.peak, rel=PEAK)


BFLOAT16 = pytest.param(torch.bfloat16, id="bfloat16", marks=pytest.mark.slow)  # which some CPUs emulate


@pytest.mark.parametrize("variant", ["sft", "pearl"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["held", "checkpointed"])
@pytest.mark.parametrize("dtype", [pytest.param(torch.float32, id="float32"), BFLOAT16])
def test_memory_estimates_of_small_shapes_match_real_execution(variant, checkpointing, dtype):
    check(setting_of("tiny", "lvr", dtype=dtype, checkpointing=checkpointing), variant)


@pytest.mark.slow
@pytest.mark.parametrize("mix", ["thinkmorph", "pixelreasoner"])
def test_the_memory_estimate_holds_for_other_sequence_lengths(mix):
    check(setting_of("tiny", mix), "pearl")


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True], ids=["held", "checkpointed"])
def test_the_memory_estimate_of_a_real_size_matches_the_meta_device(checkpointing):
    check(setting_of("3b", "lvr", device="meta", dtype=torch.bfloat16, checkpointing=checkpointing), "pearl")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mix", "checkpointing"),
    [("3b", "pixelreasoner", False), ("7b", "thinkmorph", True), ("7b", "lvr", False)],
)
def test_memory_estimates_of_real_sizes_match_the_meta_device(name, mix, checkpointing):
    check(setting_of(name, mix, device="meta", dtype=torch.bfloat16, checkpointing=checkpointing), "pearl")


def test_a_planted_extra_tensor_is_detected(monkeypatch):
    """The estimate is a budget: a step that holds the MLP's product twice is over it."""
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

    def forward(self, x):
        product = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        return self.down_proj(product.exp().log())

    setting = setting_of("tiny", "lvr")
    mlp = type(setting.backbone.adapter.decoder(setting.backbone.base).layers[0].mlp)
    assert hasattr(modeling_qwen2_5_vl, mlp.__name__)
    monkeypatch.setattr(mlp, "forward", forward)
    counted, estimate, _ = counted_and_estimated(setting, "pearl")
    assert counted.saved > (1 + SAVED) * estimate.saved


TEXT = {
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 12,
    "vocab_size": 50,
}
TOWER = {
    "depth": 3,
    "hidden_size": 16,
    "intermediate_size": 20,
    "out_hidden_size": 8,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
    "window_size": 16,
    "fullatt_block_indexes": [1],
}


def config(**text):
    return SimpleNamespace(text_config=SimpleNamespace(**{**TEXT, **text}), vision_config=SimpleNamespace(**TOWER))


def test_a_shape_reads_plain_attributes():
    shape = Shape.of(config(), lora_rank=4)
    decoder = DecoderShape(layers=2, hidden=8, heads=4, kv_heads=2, head_dim=2, intermediate=12, vocab=50)
    assert shape.decoder == decoder
    assert shape.vision.full_blocks == 1
    assert shape.lora_rank == 4


def test_a_stated_head_dim_takes_precedence():
    assert Shape.of(config(head_dim=5)).decoder.projections()["k_proj"] == (8, 10)


def test_grouped_queries_have_narrow_keys_and_values():
    assert Shape.of(config()).decoder.projections()["v_proj"] == (8, 4)


def test_a_config_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"of Qwen2\.5-VL's kind; .*vision_config"):
        Shape.of(SimpleNamespace(text_config=SimpleNamespace(**TEXT)))


def test_arguments_of_a_shape_are_checked():
    with pytest.raises(ValueError, match="lora_rank must not be negative, got -1"):
        Shape.of(config(), lora_rank=-1)
    with pytest.raises(ValueError, match=r"lora_modules must be among .*; got lm_head"):
        Shape.of(config(), lora_modules=("lm_head",))
