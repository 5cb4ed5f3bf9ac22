"""Activation checkpointing recomputes the packed sequence with gradient and no other."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

import jepa_vlm as jv
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import lora_backbone, pearl_objective, random_batch


def attention_calls(model: LatentVLM) -> tuple[Counter[int], Counter[bool]]:
    """Return counters of a step to come: the decoder's by tokens, the tower's by whether its input has a graph."""
    decoder: Counter[int] = Counter()
    tower: Counter[bool] = Counter()
    adapter, base = model.backbone.adapter, model.backbone.base

    def in_decoder(module: nn.Module, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        decoder[kwargs["hidden_states"].shape[1]] += 1

    def in_tower(module: nn.Module, args: tuple[torch.Tensor, ...], kwargs: object) -> None:
        tower[args[0].requires_grad] += 1

    for layer in adapter.decoder(base).layers:
        layer.self_attn.register_forward_pre_hook(in_decoder, with_kwargs=True)
    for block in adapter.vision(base).blocks:
        block.attn.register_forward_pre_hook(in_tower, with_kwargs=True)
    return decoder, tower


@pytest.mark.parametrize("enable", [True, False])
def test_only_the_packed_sequence_with_gradient_is_recomputed(enable: bool) -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    if enable:
        model.activation_checkpointing_enable()
    batch = model.collator()(random_batch(3))
    lengths = {name: len(row.input_ids) for name, row in batch.sequences.items()}
    decoder, tower = attention_calls(model)
    model(batch).total.backward()
    config = model.backbone.base.config
    layers, blocks = config.text_config.num_hidden_layers, config.vision_config.depth
    assert decoder == {lengths["current"]: layers, lengths["gradient"]: layers * (2 if enable else 1)}
    assert tower == {False: blocks}


def test_a_vision_tower_that_trains_is_recomputed() -> None:
    backbone = lora_backbone()
    backbone.adapter.vision(backbone.base).requires_grad_(True)
    model = LatentVLM(backbone, pearl_objective())
    model.activation_checkpointing_enable()
    _, tower = attention_calls(model)
    model(model.collator()(random_batch(3))).total.backward()
    assert tower == {True: 2 * backbone.base.config.vision_config.depth}


@pytest.mark.parametrize("policy", [jv.frozen(), jv.ema(0.9)])
def test_target_weights_are_swapped_back_before_the_backward_pass(policy: jv.views.TargetPolicy) -> None:
    """What is computed again must meet the weights, the adapter and the dropout of the forward pass."""

    def gradients(*, enable: bool) -> dict[str, torch.Tensor]:
        term = jv.LatentPrediction(
            context=jv.ViewEncoder(jv.views.Question()),
            predictor=jv.MLPPredictor(),
            target=jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=policy),
        )
        model = LatentVLM(lora_backbone(torch.float64, dropout=0.3), jv.NextToken() + term)
        for average in model.target_weights.buffers():
            average.mul_(0.5)
        if enable:
            model.activation_checkpointing_enable()
        torch.manual_seed(0)
        model(model.collator()(random_batch(3))).total.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    plain, again = gradients(enable=False), gradients(enable=True)
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-9, atol=1e-12)
