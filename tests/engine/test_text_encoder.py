"""A target's own text encoder: what it reads, its rate, that it moves, is resumed exactly, and stays out of exports."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import BertConfig, BertModel, T5Config

import jepa_vlm as jv
from jepa_vlm.adapters.text_model import load_text_encoder
from jepa_vlm.errors import BackboneError, DataError, UnknownNameError
from jepa_vlm.training import export, save_weights
from tests.training.setting import ORIGIN, small_model, small_trainer, trained
from tests.training.test_trainer import StopAfter

TINY = "tiny-random-bert"


def prediction(**changes: Any) -> jv.LatentPrediction:
    parts: dict[str, Any] = {
        "context": jv.ViewEncoder(jv.views.Question(), readout="last_token"),
        "predictor": jv.MLPPredictor(out=24),
        "target": jv.ViewEncoder(jv.views.Answer(), readout="mean", encoder=jv.TextEncoder(name=TINY, rate=0.05)),
        "target_head": jv.MLPPredictor(out=24),
        "loss": jv.InfoNCELoss(symmetric=True, temperature="learned"),
    }
    return jv.LatentPrediction(**{**parts, **changes})


def objective() -> jv.Objective:
    return jv.NextToken() + 0.5 * prediction()


def loaded(name: str = TINY, seed: int = 0) -> jv.TextEncoder:
    encoder = jv.TextEncoder(name=name)
    encoder.setup(64, torch.Generator().manual_seed(seed))
    return encoder


def answers(*texts: str) -> list[jv.Trajectory]:
    examples = jv.playground.trajectories("visual-search", count=len(texts))
    return [replace(example, answer=text) for example, text in zip(examples, texts, strict=True)]


@pytest.mark.parametrize("readout", ["mean", "last_token"])
def test_the_embedding_of_a_text_does_not_depend_on_its_batch(readout: str) -> None:
    """One text at a time without padding, through stock transformers, is the reference."""
    encoder, texts = loaded().double(), ("red", "the small blue circle", "B")
    read = encoder.reader()(answers(*texts))
    together = encoder(**read, readout=readout)
    assert not read["mask"].all()
    for row, text in zip(together, texts, strict=True):
        ids = encoder.reader().tokenizer(text, return_tensors="pt").input_ids
        hidden = encoder.model(input_ids=ids).last_hidden_state[0]
        expected = hidden.mean(dim=0) if readout == "mean" else hidden[-1]
        torch.testing.assert_close(row, expected, rtol=1e-12, atol=1e-12)


def test_weights_of_the_text_encoder_come_from_the_seed_and_leave_the_global_one() -> None:
    before = torch.get_rng_state()
    one, same, other = loaded(), loaded(), loaded(seed=1)
    assert torch.equal(before, torch.get_rng_state())
    state = one.state_dict()
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in state.items())
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in state.items())
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_dropout_stays_off_in_the_text_encoder() -> None:
    encoder = loaded().train()
    assert encoder.training
    assert not any(module.training for module in encoder.model.modules())


def test_a_text_encoder_is_loaded_from_a_folder_without_its_pooler(tmp_path: Any) -> None:
    _, tokenizer = load_text_encoder(TINY)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16)  # fmt: skip
    model = BertModel(config)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = loaded(str(tmp_path))
    assert encoder.width == 16
    assert not any("pooler" in name for name, _ in encoder.named_parameters())
    assert torch.equal(encoder.model.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight)
    latents = encoder(**encoder.reader()(answers("B", "the red circle")), readout="mean")
    latents.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_a_text_encoder_that_cannot_be_loaded_is_refused(tmp_path: Any) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny-random-bert'"):
        loaded("tiny-random-brt")
    with pytest.raises(BackboneError, match=r"Cannot load hub id google/embeddinggemma-300m"):
        loaded("google/embeddinggemma-300m")
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="has no decoder"):
        loaded(str(tmp_path))
    with pytest.raises(BackboneError, match="goes with tiny backbones"):
        jv.TextEncoder(name=TINY).setup(2048, torch.Generator())
    with pytest.raises(RuntimeError, match="call setup"):
        _ = jv.TextEncoder(name=TINY).width


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda own: jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="mean", encoder=own), "text alone"),
        (
            lambda own: jv.ViewEncoder(jv.views.Answer(), readout="turn_end", encoder=own),
            "'last_token' or as the 'mean'",
        ),
        (lambda own: jv.ViewEncoder(jv.views.Answer(), policy=jv.stop_gradient(), encoder=own), "is trained"),
        (lambda own: jv.ViewEncoder(jv.views.Answer(), policy=jv.cached("x"), encoder=own), "is trained"),
        (lambda own: prediction(context=jv.ViewEncoder(jv.views.Answer(), encoder=own)), "only the target"),
        (lambda own: prediction(target_head=jv.PredTokenPredictor()), "4 slots"),
        (lambda own: prediction(predictor=(head := jv.MLPPredictor()), target_head=head), "one object"),
        (lambda own: jv.TextEncoder(name=""), "needs a name"),
        (lambda own: jv.TextEncoder(name=TINY, rate=0.0), "positive multiple"),
        (lambda own: jv.MLPPredictor(out=0), "out must be at least 1"),
    ],
)
def test_impossible_arguments_of_the_text_encoder_are_refused_at_construction(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(jv.TextEncoder(name=TINY))


def test_text_encoder_and_prediction_of_different_sizes_are_refused() -> None:
    with pytest.raises(BackboneError, match=r"prediction has 128 components and the target 32"):
        small_model(objective=prediction(predictor=jv.MLPPredictor(), target_head=None))


def test_answers_that_the_text_encoder_cannot_read_are_refused_before_a_run() -> None:
    collator = small_model(objective=objective()).collator()
    (empty,), (long,) = answers(" "), answers("red circle " * 100)
    with pytest.raises(DataError, match="has an empty answer"):
        collator.check(empty)
    with pytest.raises(DataError, match=r"has 202 tokens, and tiny-random-bert reads 128"):
        collator.check(long)
    small_model().collator().check(empty)  # nobody reads it


def test_extra_inputs_of_the_text_encoder_are_in_the_batch_and_in_no_packed_sequence() -> None:
    model = small_model(objective=objective())
    collator = pickle.loads(pickle.dumps(model.collator()))
    batch = collator(answers("B", "red"))
    assert {name: sorted(made) for name, made in batch.extra.items()} == {"latent_prediction": ["input_ids", "mask"]}
    assert all(read.sequence for read in batch.reads.values())
    assert {encoding.view.name for encoding in collator.encodings} == {"conversation", "question"}
    assert set(model.serialize(answers("B")[0])) == {"conversation", "question"}
    assert len(batch.sequences) == 1


def test_a_step_that_leaves_the_term_out_does_not_run_the_text_encoder() -> None:
    model = small_model(objective=objective())
    batch = model.collator()(answers("B", "red"), without=("latent_prediction",))
    model.objective.terms["latent_prediction"].target.encoder.forward = None
    terms = model(batch)
    terms.total.backward()
    assert terms.counts["latent_prediction"] == 0
    assert all(p.grad is not None for p in model.objective.parameters())  # as DDP asks


def test_the_text_encoder_has_its_own_learning_rate_and_only_matrices_decay(tmp_path: Any) -> None:
    model = small_model(objective=objective())
    groups = small_trainer(model, tmp_path, weight_decay=0.1).create_optimizer().param_groups
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert rate[id(parameter)] == pytest.approx(1e-3 * (0.05 if ".encoder." in name else 1.0)), name
            assert (decay[id(parameter)] == 0) == (parameter.ndim < 2), name


@pytest.mark.slow
def test_the_text_encoder_trains_and_resumes_bit_for_bit(tmp_path: Any) -> None:
    settings = {"steps": 3, "batch_size": 2, "validate_every": 3}
    whole = small_model(objective=objective())
    start = trained(whole)
    # The checks of the first steps are on: gradient reaches it, and it moves by the second update.
    small_trainer(whole, tmp_path / "whole", **settings).train()
    expected = trained(whole)
    assert all(not torch.equal(value, start[name]) for name, value in expected.items())
    small_trainer(small_model(objective=objective()), tmp_path / "half", callbacks=[StopAfter(2)], **settings).train()
    resumed = small_model(objective=objective())
    small_trainer(resumed, tmp_path / "half", **settings).train(str(tmp_path / "half/checkpoints/checkpoint-2"))
    assert all(torch.equal(value, expected[name]) for name, value in trained(resumed).items())


def test_the_text_encoder_is_saved_with_the_heads_and_left_out_of_an_export(tmp_path: Any) -> None:
    model = small_model(objective=objective())
    for parameter in model.backbone.model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.01)
    save_weights(model, tmp_path / "best", ORIGIN)
    with safe_open(tmp_path / "best/heads.safetensors", "pt") as held:
        saved = [key for key in set(held.keys()) if ".target.encoder." in key]
    assert len(saved) == len(load_text_encoder(TINY)[0].state_dict())
    export(tmp_path / "best", to=tmp_path / "export")
    with safe_open(tmp_path / "export/model.safetensors", "pt") as held:
        exported = set(held.keys())
    jv.load_backbone(ORIGIN.backbone).base.save_pretrained(tmp_path / "base")
    with safe_open(tmp_path / "base/model.safetensors", "pt") as held:
        assert exported == set(held.keys())


@pytest.mark.slow
def test_a_trained_text_encoder_tells_held_out_answers_apart() -> None:
    """The answer is what was asked, so that the question tells it: better than a guess among the batch's answers."""

    def asked(count: int, split: str) -> list[jv.Trajectory]:
        found = jv.playground.trajectories("mixture", count=count, seed=0, split=split)
        return [replace(t, answer=t.task.replace("-", " ") + " " + t.question.split("?")[0]) for t in found]

    examples, held_out = asked(96, "train"), asked(16, "validation")
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    backbone.model.requires_grad_(False)
    term = jv.load_recipe("vl_jepa", width=64, rate=1.0).objective.terms["latent_prediction"]
    model = jv.LatentVLM(backbone, term)
    optimizer = torch.optim.AdamW(model.objective.parameters(), lr=3e-3)
    collator = model.collator()
    for step in range(24):
        start = 8 * step % 96
        optimizer.zero_grad()
        model(collator(examples[start : start + 8])).total.backward()
        optimizer.step()
    with torch.no_grad():
        losses = [model(collator(held_out[start : start + 8])).total.item() for start in (0, 8)]
    assert sum(losses) / 2 < 0.9 * math.log(8)


def test_a_small_learning_rate_of_the_text_encoder_raises_no_warning(tmp_path: Any) -> None:
    """Beside a rate that moves everything else, a text encoder whose own is too small to move a norm's ones."""
    slow = jv.ViewEncoder(jv.views.Answer(), readout="mean", encoder=jv.TextEncoder(name=TINY, rate=1e-6))
    model = small_model(objective=jv.NextToken() + prediction(target=slow))
    small_trainer(model, tmp_path, batch_size=4).train()
