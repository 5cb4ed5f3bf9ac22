"""LoRA lands on the decoder's projections, on all of them, and nowhere else."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.adapters.adapter import PROJECTIONS
from jepa_vlm.errors import BackboneError
from jepa_vlm.training import apply_lora, parts
from jepa_vlm.training.lora import adapted, decoder_targets

TINY = "tiny-random-qwen2.5-vl"


def with_lora(seed=0, dtype="float32"):
    backbone = jv.load_backbone(TINY, dtype=dtype)
    apply_lora(backbone, jv.Lora(rank=4, alpha=8), seed=seed)
    return backbone


def test_lora_targets_every_projection_of_the_decoder_and_none_of_the_vision_tower():
    backbone = with_lora()
    names = adapted(backbone)
    layers = backbone.base.config.text_config.num_hidden_layers
    assert len(names) == layers * len(PROJECTIONS)
    assert all(name.startswith("model.language_model.layers.") for name in names)
    # The trap: the vision tower has projections of the same names, which a plain list of names would hit.
    vision = [name for name, _ in backbone.adapter.vision(backbone.base).named_modules()]
    assert any(name.endswith("gate_proj") for name in vision)


def test_the_prefix_of_lora_targets_is_the_name_of_the_decoder():
    assert decoder_targets("model.text_model", PROJECTIONS).startswith(r"model\.text_model\.")


def test_only_the_adapter_trains_and_in_float32():
    backbone = with_lora(dtype="bfloat16")
    trained = {name: p.dtype for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert trained
    assert all(".lora_" in name and dtype == torch.float32 for name, dtype in trained.items())
    assert backbone.base.dtype == torch.bfloat16


def test_the_seed_decides_the_adapter_and_leaves_torchs_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (dict(with_lora(seed).model.named_parameters()) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items() if "lora_A" in name)


def test_lora_rank_scale_and_dropout_come_from_the_recipe():
    backbone = jv.load_backbone(TINY)
    apply_lora(backbone, jv.Lora(rank=4, alpha=12, dropout=0.25))
    for module in adapted(backbone).values():
        assert module.r["default"] == 4
        assert module.scaling["default"] == 12 / 4
        assert module.lora_dropout["default"].p == 0.25


def test_a_second_adapter_is_refused():
    backbone = with_lora()
    with pytest.raises(BackboneError, match="already has an adapter"):
        apply_lora(backbone, jv.Lora())


def test_a_decoder_without_such_projections_is_refused(monkeypatch):
    backbone = jv.load_backbone(TINY)
    monkeypatch.setattr(type(backbone.adapter), "decoder_prefix", lambda self, base: "model.nothing")
    with pytest.raises(BackboneError, match="No module"):
        apply_lora(backbone, jv.Lora())


def test_a_stray_adapter_is_refused(monkeypatch):
    backbone = jv.load_backbone(TINY)
    monkeypatch.setattr("jepa_vlm.training.lora.decoder_targets", lambda *named: r".*\.gate_proj")
    with pytest.raises(BackboneError, match=r"outside the decoder.*visual"):
        apply_lora(backbone, jv.Lora())


def test_without_an_adapter_the_decoder_trains_and_the_vision_tower_does_not():
    backbone = jv.load_backbone(TINY)
    apply_lora(backbone, None)
    model = jv.LatentVLM(backbone, jv.NextToken())
    table = {part.name: part for part in parts(backbone, model.objective)}
    assert table["decoder"].trainable > 0
    assert table["decoder"].frozen == 0
    assert table["vision tower"].trainable == 0


def test_the_parameter_table_lists_an_untied_head():
    backbone = jv.load_backbone(TINY)
    backbone.base.lm_head.weight = torch.nn.Parameter(backbone.base.lm_head.weight.detach().clone())  # as in 7B
    table = {part.name: part for part in parts(backbone, torch.nn.Module())}
    assert table["head and the rest"].trainable == backbone.base.lm_head.weight.numel()


def test_the_parameter_table_counts_every_parameter_once():
    backbone = with_lora()
    model = jv.LatentVLM(backbone, jv.load_recipe("pearl").objective)
    table = parts(backbone, model.objective)
    assert sum(part.trainable + part.frozen for part in table) == sum(p.numel() for p in model.parameters())
    by_name = {part.name: part.trainable for part in table}
    assert by_name["objective: latent_prediction"] == 4 * backbone.dim  # four [PRED] inputs


def test_lora_variants_are_those_of_peft():
    for variant, attribute in (("dora", "use_dora"), ("rslora", "use_rslora")):
        backbone = jv.load_backbone("tiny-random-qwen2-vl")
        apply_lora(backbone, jv.Lora(rank=4, alpha=8, variant=variant))
        assert getattr(backbone.model.peft_config["default"], attribute)
    scaling = next(iter(adapted(backbone).values())).scaling["default"]
    assert scaling == 8 / 4**0.5  # alpha / sqrt(rank)
    with pytest.raises(ValueError, match="plain, dora, rslora"):
        jv.Lora(variant="qlora")


def trained_parts(**given):
    backbone = jv.load_backbone("tiny-random-internvl")
    apply_lora(backbone, jv.Lora(rank=4, alpha=8), **given)
    return {part.name for part in parts(backbone, torch.nn.Module()) if part.trainable}


def test_parts_of_the_model_train_by_name():
    assert trained_parts() == {"LoRA adapter"}
    assert trained_parts(train=("language", "projector")) == {"LoRA adapter", "projector"}
    assert trained_parts(train=("vision",)) == {"vision tower"}


def test_the_projector_is_found_inside_and_outside_the_vision_tower():
    for name, modules in (("tiny-random-qwen3-vl", 9), ("tiny-random-llava", 2), ("tiny-random-smolvlm", 1)):
        backbone = jv.load_backbone(name)
        table = {part.name: part for part in parts(backbone, torch.nn.Module())}
        assert table["projector"].modules == modules
        assert table["vision tower"].modules > 5


def test_a_part_without_parameters_is_refused(monkeypatch):
    backbone = jv.load_backbone("tiny-random-internvl")
    monkeypatch.setattr(type(backbone.adapter), "part", lambda self, name, prefix: "language")
    with pytest.raises(BackboneError, match="no parameters of its own in the part 'projector'"):
        apply_lora(backbone, jv.Lora(), train=("language", "projector"))


@pytest.mark.parametrize(
    ("module", "lora", "train"),
    [
        ("language_model.layers.0.mlp.up_proj", None, ("language",)),
        ("visual.merger.mlp.0", jv.Lora(rank=4, alpha=8), ("language", "projector")),
    ],
)
def test_parts_quantized_to_4_bits_cannot_train_in_full(module, lora, train):
    backbone = jv.load_backbone(TINY)
    linear = backbone.base.model.get_submodule(module)
    linear.weight = torch.nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(BackboneError, match="1 tensors that are to train in full in 4 bits"):
        apply_lora(backbone, lora, train=train)
