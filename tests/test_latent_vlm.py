from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.errors import BackboneError
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import Alive, gradients_of, lora_backbone, pearl_objective, random_batch, random_trajectory


def test_the_loss_is_a_weighted_sum_of_means_of_terms() -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    terms = model(model.collator()(random_batch(1)))
    assert list(terms.raw) == ["next_token", "latent_prediction", "next_latent"]
    for name, weight in (("next_token", 1.0), ("latent_prediction", 0.2), ("next_latent", 0.2)):
        torch.testing.assert_close(terms.weighted[name], weight * terms.raw[name])
        torch.testing.assert_close(terms.raw[name].detach() * terms.counts[name], terms.sums[name])
    torch.testing.assert_close(terms.total, torch.stack(list(terms.weighted.values())).sum())
    predicted, target = terms.latents["latent_prediction"]
    assert predicted.shape == target.shape == (len(random_batch(1)), model.backbone.dim)


def test_only_supervised_views_have_labels() -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    views = model.serialize(random_batch(1)[0])
    assert {name: bool((view.labels != -100).any()) for name, view in views.items()} == {
        "conversation": True,
        "question": False,
        "trajectory": False,
    }


def test_global_denominators_make_a_split_batch_equal_the_whole(pure_float64: None) -> None:
    model = LatentVLM(lora_backbone(torch.float64), pearl_objective(horizon=2))
    generator = torch.Generator().manual_seed(2)
    examples = [random_trajectory(generator, str(i)) for i in range(4)]
    collate = model.collator()

    def gradients(split: list[list[jv.Trajectory]]) -> dict[str, torch.Tensor]:
        model.zero_grad()
        batches = [collate(part) for part in split]
        counts = {name: sum(batch.counts[name] for batch in batches) for name in batches[0].counts}
        for batch in batches:
            model(batch, counts).total.backward()
        return gradients_of(model)

    whole = gradients([examples])
    for split in ([examples[:2], examples[2:]], [[e] for e in examples]):
        parts = gradients(split)
        for name, gradient in whole.items():
            torch.testing.assert_close(parts[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("half", [0.5, torch.tensor(0.5)])
def test_a_denominator_may_be_a_fraction_of_a_count(half: float | torch.Tensor) -> None:
    model = LatentVLM(lora_backbone(), 1.0 * dict(pearl_objective().terms)["latent_prediction"])
    batch = model.collator()(random_batch(1)[:1])
    torch.testing.assert_close(model(batch, {"latent_prediction": half}).total, 2 * model(batch).total)


@pytest.mark.parametrize("nothing", [0, torch.tensor(0.0)])
def test_a_term_without_examples_is_zero(nothing: float | torch.Tensor) -> None:
    model = LatentVLM(lora_backbone(), jv.NextLatentRegularizer(horizon=1))
    batch = model.collator()(random_batch(1)[:1])
    ((request, read),) = batch.reads.items()
    first = {name: getattr(read, name)[:1] for name in ("index", "labels", "document")}
    batch.reads[request] = replace(read, **first)
    assert model(batch, {"next_latent": nothing}).total.item() == 0


def test_a_step_never_holds_more_logits_than_a_chunk() -> None:
    def most(chunk: int) -> int:
        prediction = dict(pearl_objective().terms)["latent_prediction"]
        model = LatentVLM(
            lora_backbone(),
            jv.NextToken(chunk=chunk) + prediction + jv.NextLatentRegularizer(kl_weight=0.1, chunk=chunk),
        )
        batch = model.collator()(random_batch(1))
        assert batch.counts["next_token"] > 4
        with Alive() as alive:
            model(batch).total.backward()
        return alive.rows(model.config.get_text_config().vocab_size)

    assert most(4) == 4
    assert most(1024) > 4


def test_every_trainable_tensor_gets_gradient() -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    model(model.collator()(random_batch(2))).total.backward()
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert trainable == reached
    assert any("predictor.inputs" in name for name in reached)


def test_the_same_seed_makes_the_same_heads() -> None:
    backbone = lora_backbone()
    one, same, other = (LatentVLM(backbone, pearl_objective(), seed=s).objective.state_dict() for s in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_heads_stay_in_float32_with_a_half_precision_base() -> None:
    model = LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl", dtype="bfloat16"), pearl_objective())
    assert {p.dtype for p in model.objective.parameters()} == {torch.float32}
    terms = model(model.collator()(random_batch(0)))
    assert {value.dtype for value in terms.raw.values()} == {torch.float32}


def test_a_mean_readout_is_computed_in_float32() -> None:
    term = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question()),
        predictor=jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="mean", policy=jv.stop_gradient()),
    )
    model = LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl", dtype="bfloat16"), term)
    target = model(model.collator()(random_batch(0))).latents["latent_prediction"][1]
    assert target.dtype == torch.float32
    assert not torch.equal(target, target.bfloat16().float())


def test_losses_in_bfloat16_roughly_agree_with_float32() -> None:
    values = []
    for dtype in ("float32", "bfloat16"):
        model = LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl", dtype=dtype), pearl_objective())
        values.append(model(model.collator()(random_batch(0))).total.item())
    assert values[1] == pytest.approx(values[0], rel=0.02)


def test_averaged_weights_need_lora_and_move_after_a_step() -> None:
    target = jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=jv.ema(0.9))
    term = jv.LatentPrediction(context=jv.ViewEncoder(jv.views.Question()), predictor=jv.MLPPredictor(), target=target)
    with pytest.raises(BackboneError, match="needs LoRA"):
        LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl"), term)
    backbone = lora_backbone()
    model = LatentVLM(backbone, term)
    before = [average.clone() for average in model.target_weights.buffers()]
    with torch.no_grad():
        for name, parameter in backbone.base.named_parameters():
            if "lora_" in name:
                parameter.add_(1.0)
    model.after_optimizer_step()
    for old, new in zip(before, model.target_weights.buffers(), strict=True):
        torch.testing.assert_close(new, old + 0.1)


def test_dropout_is_off_only_in_packed_sequences_of_targets() -> None:
    backbone = lora_backbone(dropout=0.5)
    model = LatentVLM(backbone, pearl_objective())
    batch = model.collator()(random_batch(3))
    one, two = model(batch), model(batch)
    assert torch.equal(one.latents["latent_prediction"][1], two.latents["latent_prediction"][1])
    assert not torch.equal(one.latents["latent_prediction"][0], two.latents["latent_prediction"][0])


def test_with_dropout_no_target_is_read_from_the_packed_sequence_with_gradient() -> None:
    target = jv.ViewEncoder(jv.views.TrajectoryOnly(context="question"), policy=jv.stop_gradient())
    term = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question()), predictor=jv.IdentityPredictor(), target=target
    )
    rows = {}
    for dropout in (0.0, 0.5):
        model = LatentVLM(lora_backbone(dropout=dropout), jv.NextToken() + term)
        rows[dropout] = set(model.collator()(random_batch(1)).sequences)
    assert rows == {0.0: {"gradient"}, 0.5: {"gradient", "current"}}


def test_attention_dropout_counts_as_dropout() -> None:
    backbone = lora_backbone()
    backbone.base.config.get_text_config().attention_dropout = 0.5
    for layer in backbone.adapter.decoder(backbone.base).layers:
        layer.self_attn.attention_dropout = 0.5
    target = jv.ViewEncoder(jv.views.TrajectoryOnly(context="question"), policy=jv.stop_gradient())
    term = jv.LatentPrediction(context=jv.ViewEncoder(jv.views.Question()), predictor=jv.MLPPredictor(), target=target)
    model = LatentVLM(backbone, jv.NextToken() + term)
    batch = model.collator()(random_batch(1))
    one, two = model(batch), model(batch)
    assert torch.equal(one.latents["latent_prediction"][1], two.latents["latent_prediction"][1])
    assert not torch.equal(one.latents["latent_prediction"][0], two.latents["latent_prediction"][0])


def test_checkpointing_gives_a_frozen_vision_tower_no_graph() -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    model.activation_checkpointing_enable()
    images = model.collator()(random_batch(1)).images
    assert not model.backbone.adapter.encode_images(model.backbone.base, images).requires_grad


def test_a_detached_packed_sequence_keeps_no_graph() -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    batch = model.collator()(random_batch(1))
    rows = model.engine.run(model.backbone, model.target_weights, batch, model.objective.slot_inputs())
    assert {name: row.hidden.requires_grad for name, row in rows.items()} == {"current": False, "gradient": True}


@pytest.mark.slow
def test_the_model_runs_under_compile() -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    batch = model.collator()(random_batch(4))
    expected = model(batch)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(batch).total, expected.total)


def test_forward_calls_without_required_arguments_are_refused() -> None:
    model = LatentVLM(lora_backbone(), pearl_objective())
    with pytest.raises(ValueError, match="missing: latent_prediction, next_latent"):
        model(model.collator()(random_batch(1)), {"next_token": 3})
    with pytest.raises(ValueError, match="at least one trajectory"):
        model.collator()([])


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="one_pass, separate"):
        LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl"), jv.NextToken(), engine="fast")


def test_a_frozen_vision_tower_runs_without_a_graph() -> None:
    backbone = lora_backbone()
    model = LatentVLM(backbone, jv.NextToken())
    seen = []
    hook = backbone.base.model.visual.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    model(model.collator()(random_batch(5)))
    hook.remove()
    assert seen == [False]  # once for all images of the batch
