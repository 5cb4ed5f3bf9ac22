"""Cached targets: those of ``frozen``, bit for bit, computed once and not again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.cost.counters import FlopCounter
from jepa_vlm.errors import DataError, RunError
from jepa_vlm.serialization.target_store import target_stores
from jepa_vlm.training import target_filling
from tests.factories import back_propagated, lora_backbone, question_prediction, random_batch
from tests.training.setting import EXACT, small_model, small_trainer, trained

EXAMPLES = [example for seed in range(3) for example in random_batch(seed)]


def both(folder: Path, backbone: jv.Backbone, **options: Any) -> tuple[jv.LatentVLM, jv.LatentVLM]:
    """The same objective with three targets, computed in each step and cached."""
    models = []
    for cached in (False, True):
        policies = [jv.cached(folder / name) if cached else jv.frozen() for name in "abc"]
        terms = (
            question_prediction(policies[0])
            + 0.5 * question_prediction(policies[1], readout="mean")
            + 0.5 * question_prediction(policies[2], readout="turn_end", context="image")
        )
        models.append(jv.LatentVLM(backbone, jv.NextToken() + terms, **options))
    return models[0], models[1]


class Calls:
    """Tokens of every call of the decoder."""

    def __init__(self, backbone: jv.Backbone) -> None:
        self.tokens: list[int] = []
        decoder = backbone.adapter.decoder(backbone.base)
        decoder.register_forward_hook(lambda _, args, out: self.tokens.append(out.last_hidden_state.shape[1]))


def run(model: jv.LatentVLM, examples: list[jv.Trajectory]) -> tuple[jv.LossTerms, dict[str, torch.Tensor]]:
    return back_propagated(model, model.collator()(examples))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("engine", ["one_pass", "separate"])
def test_cached_targets_give_the_values_and_gradients_of_a_frozen_target(
    dtype: torch.dtype, engine: Any, tmp_path: Path
) -> None:
    frozen, cached = both(tmp_path, lora_backbone(dtype), engine=engine)
    examples = EXAMPLES[:4]
    jv.fill_targets(cached, examples, batch_size=4)  # the batch that is asked for below: kernels depend on sizes
    calls = Calls(cached.backbone)
    (expected, gradients), (found, found_gradients) = run(frozen, examples), run(cached, examples)
    assert list(found.latents) == ["latent_prediction", "latent_prediction_2", "latent_prediction_3"]
    for name, (_, target) in found.latents.items():
        assert torch.equal(target, expected.latents[name][1]), name
    assert torch.equal(found.total, expected.total)
    assert all(torch.equal(gradient, gradients[name]) for name, gradient in found_gradients.items())
    assert gradients.keys() == found_gradients.keys()
    # A row each with gradient and frozen; or a conversation, three questions and two target views for each example.
    assert len(calls.tokens) == {"one_pass": 2 + 1, "separate": 6 * 4 + 4 * 4}[engine]


def test_cached_targets_do_not_depend_on_how_they_were_batched(pure_float64: None, tmp_path: Path) -> None:
    frozen, cached = both(tmp_path, lora_backbone(torch.float64))
    jv.fill_targets(cached, EXAMPLES, batch_size=3)
    (expected, gradients), (found, found_gradients) = run(frozen, EXAMPLES[:5]), run(cached, EXAMPLES[:5])
    torch.testing.assert_close(found.total, expected.total, rtol=1e-9, atol=0)
    for name, gradient in found_gradients.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-9, atol=1e-12)


def test_the_packed_sequence_of_a_cached_target_is_not_computed(tmp_path: Path) -> None:
    backbone = lora_backbone()
    frozen, cached = (
        jv.LatentVLM(backbone, jv.NextToken() + question_prediction(policy))
        for policy in (jv.frozen(), jv.cached(tmp_path))
    )
    jv.fill_targets(cached, EXAMPLES)
    batch, whole = cached.collator()(EXAMPLES), frozen.collator()(EXAMPLES)
    assert list(batch.sequences) == ["gradient"]
    assert list(whole.sequences) == ["frozen", "gradient"]
    calls, flops = Calls(backbone), []
    for model, each in ((cached, batch), (frozen, whole)):
        with FlopCounter() as counter:
            model(each)
        flops.append(counter.total)
    target, conversation = (len(whole.sequences[name]) for name in ("frozen", "gradient"))
    assert calls.tokens == [conversation, target, conversation]
    weights = sum(p.numel() for layer in backbone.adapter.decoder(backbone.base).layers for p in layer.parameters())
    assert flops[1] - flops[0] > 1.5 * target * weights


def test_an_image_that_only_a_stored_target_shows_is_not_encoded(tmp_path: Path) -> None:
    examples = [example for example in EXAMPLES if example.calls][:2]
    for policy, tools in ((jv.frozen(), True), (jv.cached(tmp_path), False)):
        model = jv.LatentVLM(lora_backbone(), 1.0 * question_prediction(policy))
        jv.fill_targets(model, examples)
        batch = model.collator()(examples)
        for example, shown in zip(examples, batch.shown, strict=True):
            inputs = len(example.images)
            assert None not in shown[:inputs]
            assert [number is not None for number in shown[inputs:]] == [tools] * example.calls
        assert torch.isfinite(model(batch).total)


def test_an_interrupted_filling_continues_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_filling, "SHARD", 2)
    model = jv.LatentVLM(lora_backbone(), jv.NextToken() + question_prediction(jv.cached(tmp_path / "a")))
    examples = [*EXAMPLES[:7], EXAMPLES[2]]
    calls, said, state = Calls(model.backbone), [], torch.get_rng_state()

    def stop(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jv.fill_targets(model, examples, batch_size=1, tell=stop)
    assert len(calls.tokens) == 4
    with pytest.raises(RunError, match="not computed yet"):
        model.collator()(examples[:1])
    jv.fill_targets(model, examples, batch_size=1, tell=said.append)
    assert len(calls.tokens) == 7  # each once, the repeated one too
    assert said == [f"computing targets {n} into {tmp_path / 'a'}" for n in ("2/7", "4/7", "2/3", "3/3")]
    jv.fill_targets(model, examples, tell=said.append)
    assert len(calls.tokens) == 7
    assert len(said) == 4
    assert torch.equal(torch.get_rng_state(), state)  # a run that fills draws what one that reads draws


def test_trajectories_added_after_the_filling_are_refused_not_computed(tmp_path: Path) -> None:
    model = jv.LatentVLM(lora_backbone(), jv.NextToken() + question_prediction(jv.cached(tmp_path / "a")))
    jv.fill_targets(model, EXAMPLES[:3])
    calls = Calls(model.backbone)
    with pytest.raises(DataError, match=rf"2 of 5 trajectories have no target in .*'{EXAMPLES[3].id}' first"):
        jv.fill_targets(model, EXAMPLES[:5])
    with pytest.raises(DataError, match=r"1 of 2 trajectories"):
        model.collator()(EXAMPLES[2:4])
    assert calls.tokens == []


def test_cached_targets_of_another_model_are_refused_with_both_values(tmp_path: Path) -> None:
    objective = jv.NextToken() + question_prediction(jv.cached(tmp_path / "a"))
    first = jv.LatentVLM(lora_backbone(), objective)
    jv.fill_targets(first, EXAMPLES[:2])
    other = lora_backbone()
    with torch.no_grad():
        other.base.get_input_embeddings().weight[0, 0] += 1
    (store,), (asked,) = first.target_stores.values(), jv.LatentVLM(other, objective).target_stores.values()
    sides = rf"weights: stored {store.key['weights']}, asked {asked.key['weights']}\. Give"
    for ask in (lambda m: jv.fill_targets(m, EXAMPLES[:2]), lambda m: m.collator()(EXAMPLES[:2])):
        with pytest.raises(RunError, match=sides):
            ask(jv.LatentVLM(other, objective))


def test_without_an_adapter_the_targets_are_those_of_the_untrained_weights(tmp_path: Path) -> None:
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    objective = jv.NextToken() + question_prediction(jv.cached(tmp_path / "a"))
    model, late = jv.LatentVLM(backbone, objective), jv.LatentVLM(backbone, objective)
    jv.fill_targets(model, EXAMPLES[:2])
    with torch.no_grad():
        backbone.base.get_input_embeddings().weight += 0.1
    model.collator()(EXAMPLES[:2])
    late.target_stores[next(iter(late.target_stores))].folder = tmp_path / "b"
    with pytest.raises(RunError, match="have been trained since"):
        jv.fill_targets(late, EXAMPLES[:2])


@pytest.mark.slow
def test_a_run_with_cached_targets_equals_one_with_frozen_ones(tmp_path: Path) -> None:
    weights = []
    for policy in (jv.frozen(), jv.cached(tmp_path / "a")):
        model = small_model(objective=jv.NextToken() + question_prediction(policy), dtype=EXACT)
        trainer = small_trainer(model, tmp_path / policy.weights, accumulation=2, workers=len(weights))
        seen = [*jv.playground.trajectories("visual-search", count=10), *trainer.validation.examples]
        jv.fill_targets(model, seen)
        trainer.train()
        weights.append({**trained(model), "held out": torch.tensor(trainer.evaluate()["eval_loss"])})
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-7, atol=1e-7)


def test_targets_that_cannot_be_cached_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one trajectory"):
        jv.fill_targets(jv.LatentVLM(lora_backbone(), jv.NextToken() + question_prediction(jv.cached(tmp_path))), [])
    with pytest.raises(ValueError, match="name of a folder"):
        jv.cached("")
    for options in ({"at": "all"}, {"at": "last_pred", "slots": jv.views.Slots("term", 2)}):
        request = jv.views.Request(view=jv.views.Question(), policy=jv.cached(tmp_path), **options)
        with pytest.raises(ValueError, match="one state per example"):
            target_stores(lora_backbone(), [request])
