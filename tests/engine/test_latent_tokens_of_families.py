"""Latent tokens on families with deepstack, bidirectional groups, tiles or sliding windows."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.generation.greedy import end_ids
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.views import LatentConversation, PooledFeatures

FAMILIES = ["qwen3-vl", "gemma3", "llava", "internvl", "smolvlm", "glm-4v"]


def borders(backbone: jv.Backbone) -> dict[str, str]:
    """Two special tokens that every tokenizer of these has, and that neither end an answer nor fill a batch."""
    taken = {backbone.tokenizer.pad_token_id, backbone.tokenizer.bos_token_id, *end_ids(backbone)}
    taken.add(backbone.adapter.feature_id)
    placeholder = backbone.adapter.placeholder(backbone.processor)
    free = [
        token.content
        for number, token in backbone.tokenizer.added_tokens_decoder.items()
        if token.special and number not in taken and token.content != placeholder
    ]
    return {"start": free[-1], "end": free[-2]}


@pytest.mark.parametrize("fed", ["target", "state"])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_separate_with_latent_tokens_for_every_family(family: str, fed: str) -> None:
    backbone = jv.load_backbone(f"tiny-random-{family}", dtype="float64")
    trajectories = [t for t in jv.playground.trajectories("sequential-crops", count=6, seed=1) if t.calls][:2]
    view = LatentConversation(PooledFeatures(2), fed=fed, **borders(backbone))
    found = []
    for engine in ("one_pass", "separate"):
        model = LatentVLM(backbone, jv.NextToken(view=view) + jv.LatentReconstruction(view=view), engine=engine)
        backbone.model.zero_grad()
        terms = model(model.collator()(trajectories))
        terms.total.backward()
        gradient = torch.cat([p.grad.flatten() for p in backbone.model.parameters() if p.grad is not None])
        found.append((terms.total.detach(), gradient))
    (loss, gradient), (slow, slow_gradient) = found
    assert float((loss - slow).abs() / slow) < 1e-6  # stock norms cast to float32
    assert float((gradient - slow_gradient).norm() / slow_gradient.norm()) < 1e-5
