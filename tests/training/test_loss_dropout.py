"""Loss dropout: who decides, what is not computed, and that nothing else changes."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.training.metrics import read_metrics
from jepa_vlm.training.order import MicroBatch
from jepa_vlm.training.term_schedule import LossDropout, TermSchedule, TrainCollator
from tests.factories import back_propagated, lora_backbone, random_batch
from tests.training.setting import EXACT, small_model, small_trainer, trained


def prediction(share: float = 0.5, policy: Any = None) -> jv.LatentPrediction:
    return jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        predictor=jv.PredTokenPredictor(tokens=2),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=policy or jv.stop_gradient()),
        loss_dropout=share,
    )


def skips(share: float, seed: int = 0, steps: int = 4000) -> list[bool]:
    dropout = LossDropout({"term": share}, seed)
    return [bool(dropout.skipped(step)) for step in range(steps)]


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_loss_dropout_keeps_its_share_and_steps_are_independent(share: float) -> None:
    drawn = torch.tensor(skips(share)).double()
    assert float(drawn.mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)
    centred = drawn - drawn.mean()
    assert abs(float((centred[1:] * centred[:-1]).mean() / centred.square().mean())) < 4 / 4000**0.5


def test_loss_dropout_depends_on_seed_and_step_and_is_one_for_all_terms() -> None:
    assert skips(0.5) == skips(0.5)
    assert skips(0.5) != skips(0.5, seed=1)
    assert not any(skips(0.0))
    dropout = LossDropout({"never": 0.0, "some": 0.3, "same": 0.3, "most": 0.8}, 0)
    found = {dropout.skipped(step) for step in range(200)}
    assert found == {frozenset(), frozenset({"most"}), frozenset({"some", "same", "most"})}


@pytest.mark.parametrize("engine", ["one_pass", "separate"])
@pytest.mark.parametrize("policy", [jv.stop_gradient(), jv.with_gradient()])
def test_a_term_that_is_left_out_is_not_computed_and_has_no_gradient(engine: str, policy: Any) -> None:
    backbone, examples = lora_backbone(), random_batch(2)
    model = jv.LatentVLM(backbone, jv.NextToken() + prediction(policy=policy), engine=engine)
    alone = jv.LatentVLM(backbone, 1.0 * jv.NextToken(), engine=engine)
    batch, plain = model.collator()(examples, without={"latent_prediction"}), alone.collator()(examples)
    tokens: list[int] = []
    decoder = backbone.adapter.decoder(backbone.base)
    hook = decoder.register_forward_hook(lambda _, args, out: tokens.append(out.last_hidden_state.shape[1]))
    terms, gradients = back_propagated(model, batch)
    computed, tokens[:] = list(tokens), []
    expected, expected_gradients = back_propagated(alone, plain)
    assert computed == tokens
    tokens.clear()
    back_propagated(model, model.collator()(examples))
    hook.remove()
    assert sum(tokens) > sum(computed)
    assert terms.skipped == ("latent_prediction",)
    assert terms.counts["latent_prediction"] == terms.raw["latent_prediction"] == terms.sums["latent_prediction"] == 0
    assert terms.latents == {}
    assert torch.equal(terms.total, expected.total)
    own = gradients.pop("objective.terms.latent_prediction.predictor.inputs")
    assert not own.any()  # but there is one: DDP waits for every parameter
    assert gradients.keys() == expected_gradients.keys()
    assert all(torch.equal(gradient, expected_gradients[name]) for name, gradient in gradients.items())


def test_views_that_another_term_reads_are_still_computed() -> None:
    regularizer = jv.NextLatentRegularizer(view=jv.views.TrajectoryOnly())
    model = jv.LatentVLM(lora_backbone(), jv.NextToken() + prediction(policy=jv.with_gradient()) + regularizer)
    collator, examples = model.collator(), random_batch(2)
    batch = collator(examples, without={"latent_prediction"})
    assert model(batch).raw["next_latent"] == model(collator(examples)).raw["next_latent"]
    assert batch.sequences["gradient"].soft_tokens == {}


def test_terms_that_no_step_of_a_short_run_computes_are_named() -> None:
    names, alone = ("next_token", "next_token_2"), [("a", 0.5), ("b", 0.5)]
    stages = tuple(jv.Stage(name=s, share=share, terms=(t,)) for (s, share), t in zip(alone, names, strict=True))
    objective = jv.NextToken() + jv.NextToken()
    assert TermSchedule.of(objective, stages=stages, steps=1, seed=0).never() == ["next_token_2"]
    assert TermSchedule.of(objective, stages=stages, steps=2, seed=0).never() == []
    seed = next(seed for seed in range(99) if skips(0.5, seed, 2) == [True, False])
    dropped = jv.NextToken() + prediction()
    assert TermSchedule.of(dropped, stages=(), steps=1, seed=seed).never() == ["latent_prediction"]
    assert TermSchedule.of(dropped, stages=(), steps=2, seed=seed).never() == []


def test_the_collator_of_a_run_leaves_out_the_terms_of_the_step() -> None:
    model = jv.LatentVLM(lora_backbone(), jv.NextToken() + prediction())
    collator = TrainCollator(
        model.collator(),
        TermSchedule(
            terms=tuple(model.objective.weights),
            stages=(),
            steps=100,
            dropout=LossDropout({"latent_prediction": 0.5}, 0),
        ),
    )
    collator, examples = pickle.loads(pickle.dumps(collator)), tuple(random_batch(1))
    found = [collator([MicroBatch(step, examples)]).skipped for step in range(6)]
    assert found == [("latent_prediction",) if skipped else () for skipped in skips(0.5)[:6]]
    assert () in found
    assert ("latent_prediction",) in found


def test_a_term_that_is_not_there_cannot_be_left_out() -> None:
    collator = jv.LatentVLM(lora_backbone(), 1.0 * jv.NextToken()).collator()
    with pytest.raises(ValueError, match="no term latent_prediction to leave out; known: next_token"):
        collator(random_batch(1), without={"latent_prediction"})


def test_impossible_shares_of_loss_dropout_are_refused() -> None:
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"share of the steps in \[0, 1\)"):
            prediction(share)
    with pytest.raises(ValueError, match="no loss dropout"):
        jv.LatentVLM(lora_backbone(), prediction())


def train(folder: Any, **changed: Any) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    model = small_model(objective=jv.NextToken() + 0.5 * prediction(), dtype=EXACT)
    small_trainer(model, folder, **{"steps": 6, "validate_every": 3, **changed}).train()
    return trained(model), read_metrics(folder / "metrics.jsonl")


def test_a_run_with_loss_dropout_resumes_and_logs_exactly(tmp_path: Any) -> None:
    weights, rows = train(tmp_path / "whole", batch_size=4)
    split, _ = train(tmp_path / "split", batch_size=2, accumulation=2)
    for name, value in weights.items():
        torch.testing.assert_close(split[name], value, rtol=1e-7, atol=1e-7)
    left_out = [step + 1 for step, skipped in enumerate(skips(0.5)[:6]) if skipped]
    assert 0 < len(left_out) < 6
    for row in rows:
        assert row["loss"] == pytest.approx(sum(term["weighted"] for term in row["terms"].values()), rel=1e-5)
        if row["kind"] == "train":
            assert ("latent_prediction" in row["terms"]) == (row["step"] not in left_out)
        else:
            assert row["terms"]["latent_prediction"]["count"] == 5


@pytest.mark.slow
def test_a_log_over_several_steps_shows_the_value_where_it_was_computed(tmp_path: Any) -> None:
    (_, each), (_, sparse) = train(tmp_path / "each"), train(tmp_path / "sparse", log_every=6)
    values = [
        row["terms"]["latent_prediction"]
        for row in each
        if row["kind"] == "train" and row["step"] > 1 and "latent_prediction" in row["terms"]
    ]
    (last,) = [row["terms"]["latent_prediction"] for row in sparse if row["kind"] == "train" and row["step"] == 6]
    assert last["raw"] == pytest.approx(sum(value["raw"] for value in values) / len(values), rel=1e-6)
    assert last["weighted"] == pytest.approx(sum(value["weighted"] for value in values) / 5, rel=1e-6)
