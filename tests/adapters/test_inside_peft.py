"""Parameter names inside PEFT's wrappers are recognised and mapped back."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.adapters.inside_peft import base_name, belongs_to_adapter, has_lora, unwrapped
from jepa_vlm.training import apply_lora


@pytest.mark.parametrize("name", ["tiny-random-qwen2.5-vl", "tiny-random-llava"])
@pytest.mark.parametrize(
    ("lora", "train"), [(jv.Lora(rank=2, alpha=4, variant="dora"), "language"), (None, "projector")]
)
def test_parameter_names_without_the_adapter_are_those_of_the_base(name, lora, train):
    backbone = jv.load_backbone(name, added_tokens=("<|a|>",))
    plain, table = set(backbone.base.state_dict()), backbone.base.get_input_embeddings()
    assert not has_lora(backbone.base)
    apply_lora(backbone, lora, train=[train])
    assert {base_name(n) for n in backbone.base.state_dict() if not belongs_to_adapter(n)} == plain
    assert has_lora(backbone.base) == (lora is not None)
    assert backbone.base.get_input_embeddings() is not table
    assert unwrapped(backbone.base.get_input_embeddings()) is table is unwrapped(table)
