"""What a plan says of memory, and when it says that it does not know."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.cost import Shape, step_memory
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.runs.plan import estimate_memory, micro_batch
from jepa_vlm.training import apply_lora
from tests.factories import lora_backbone, pearl_objective, random_batch


@pytest.fixture(scope="module")
def backbone():
    return lora_backbone()


def test_sizes_are_those_of_the_batch(backbone):
    model, trajectories = LatentVLM(backbone, pearl_objective(tokens=3)), random_batch(2)
    batch = model.collator()(trajectories)
    found = micro_batch(model, trajectories)
    row = batch.sequences["gradient"]
    assert found.tokens == len(row.input_ids)
    assert found.seen == sum(suffix.prefix + 3 for suffix in row.layout.suffixes) > 0
    assert found.detached == len(batch.sequences["current"].input_ids)
    assert found.supervised == batch.counts["next_token"]
    assert found.states == batch.counts["next_latent"] + len(trajectories)  # one state less has a next one
    assert found.patches == len(batch.images["pixel_values"])


def test_a_plain_objective_has_no_branches_and_no_detached_row(backbone):
    found = micro_batch(LatentVLM(backbone, jv.NextToken()), random_batch(2))
    assert found.seen == found.detached == found.states == 0


def test_the_micro_batch_is_the_longest_of_the_sample(backbone):
    model, trajectories = LatentVLM(backbone, jv.NextToken()), random_batch(2)
    estimate, reason = estimate_memory(model, trajectories, batch_size=1)
    assert reason == ""
    shape = Shape.of(backbone.base.config, lora_rank=4)
    each = [step_memory(shape, micro_batch(model, [t]), width=4).peak for t in trajectories]
    assert estimate.peak == max(each)
    assert len(set(each)) > 1


def test_checkpointing_is_seen():
    model = LatentVLM(lora_backbone(), jv.NextToken())
    held, _ = estimate_memory(model, random_batch(1), batch_size=2)
    model.activation_checkpointing_enable()
    again, _ = estimate_memory(model, random_batch(1), batch_size=2)
    assert again.layers < held.layers


def test_what_is_not_known_is_said(backbone):
    for model, reason in (
        (LatentVLM(backbone, jv.NextToken(), engine="separate"), "one-pass engine only"),
        (_with_tokens(None), "trained in full"),
        (_with_tokens(jv.Lora(rank=2, alpha=2)), "rows of added tokens"),
        (LatentVLM(backbone, jv.load_recipe("vl_jepa").objective), "text encoder beside it"),
    ):
        estimate, why = estimate_memory(model, random_batch(1), batch_size=2)
        assert estimate is None
        assert reason in why


def test_a_family_that_the_closed_form_does_not_know_is_said(backbone, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("The closed form knows towers and decoders like Qwen2.5-VL's.")

    monkeypatch.setattr(Shape, "of", refuse)
    assert estimate_memory(LatentVLM(backbone, jv.NextToken()), random_batch(1), batch_size=2) == (
        None,
        "The closed form knows towers and decoders like Qwen2.5-VL's.",
    )


def _with_tokens(lora):
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", seed=0, added_tokens=("<|a|>",))
    apply_lora(backbone, lora)
    return LatentVLM(backbone, jv.NextToken())
