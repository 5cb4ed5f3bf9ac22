"""A step is the same however it is split; a resumed run is the same as one that never stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

import jepa_vlm as jv
from jepa_vlm.training import apply_lora, trainer
from jepa_vlm.training.checkpoint import ADAPTER, HEADS
from jepa_vlm.training.lora import adapted
from jepa_vlm.training.metrics import read_metrics
from tests.training.setting import BACKBONE, EXACT, cheap_trainer, small_mixture, small_model, small_trainer, trained

ROOT = Path(__file__).resolve().parents[2]


def run(folder, **changed):
    model = small_model(dtype=EXACT)
    trainer = small_trainer(model, folder, **changed)
    trainer.train()
    return trained(model), read_metrics(folder / "metrics.jsonl")


def close(one, other):
    """Stock norms round to float32 inside, so that equality is a little wider than float64's."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-7, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")


@pytest.fixture(scope="module")
def four_by_one(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"), batch_size=4, accumulation=1)


@pytest.mark.parametrize(("batch", "accumulation"), [pytest.param(2, 2, marks=pytest.mark.slow), (1, 4)])
def test_gradient_accumulation_changes_no_result(four_by_one, tmp_path, batch, accumulation):
    weights, rows = run(tmp_path, batch_size=batch, accumulation=accumulation)
    close(weights, four_by_one[0])
    for row, expected in zip(rows, four_by_one[1], strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        for name, term in row["terms"].items():
            assert term["raw"] == pytest.approx(expected["terms"][name]["raw"], rel=1e-7), (row["step"], name)


def test_packed_sequences_without_gradient_run_once_a_step_and_change_no_result(tmp_path, monkeypatch):
    adapter = type(small_model().backbone.adapter)
    rows, stock = [], adapter.decode
    monkeypatch.setattr(adapter, "decode", lambda *given: rows.append(torch.is_grad_enabled()) or stock(*given))
    settings = {"steps": 2, "batch_size": 2, "accumulation": 3, "validate_every": 2}
    joined, _ = run(tmp_path / "joined", **settings)
    fewer = rows.copy()
    rows.clear()
    monkeypatch.setattr(jv.LatentVLM, "run_ahead", lambda self, batches: batches)
    apart, _ = run(tmp_path / "apart", **settings)
    assert sum(rows) == sum(fewer) == 2 * 3
    assert len(rows) - len(fewer) == 2 * (3 - 1)
    close(joined, apart)


def test_adapters_keep_no_copies_in_float32_of_a_half_precision_run(tmp_path, monkeypatch):
    def trained_in_half(folder):
        backbone = jv.load_backbone(BACKBONE, dtype="bfloat16")
        apply_lora(backbone, jv.Lora(rank=4, alpha=8))
        model = jv.LatentVLM(backbone, jv.load_recipe("pearl").objective)
        layers = list(adapted(backbone).values())
        seen = set()
        layers[0].register_forward_hook(lambda layer, given, out: seen.add(layer.cast_input_dtype_enabled))
        small_trainer(model, folder, steps=2, validate_every=2).train()
        assert all(layer.cast_input_dtype_enabled for layer in layers)
        return seen, trained(model)

    seen, without = trained_in_half(tmp_path / "without")
    assert seen == {False}
    monkeypatch.setattr(trainer, "without_input_casts", lambda model, active: nullcontext())
    seen, casting = trained_in_half(tmp_path / "casting")
    assert seen == {True}
    assert all(torch.equal(value, casting[name]) for name, value in without.items())


def test_the_loss_is_the_sum_of_the_weighted_terms(four_by_one):
    for row in four_by_one[1]:
        assert row["loss"] == pytest.approx(sum(term["weighted"] for term in row["terms"].values()), rel=1e-5)


@pytest.mark.slow
def test_two_processes_train_like_one_and_only_one_writes(four_by_one, tmp_path):
    found = in_two_processes(tmp_path, "2", "1")
    close(found, {saved_name(name): value for name, value in four_by_one[0].items()})
    rows, alone = read_metrics(tmp_path / "metrics.jsonl"), four_by_one[1]
    assert [(row["kind"], row["step"]) for row in rows] == [(row["kind"], row["step"]) for row in alone]
    for row, one in zip(rows, alone, strict=True):
        assert row["loss"] == pytest.approx(one["loss"], rel=1e-6)
        for name, figures in row.get("monitors", {}).items():
            assert figures == pytest.approx(one["monitors"][name], rel=1e-3, abs=1e-5), name
        counts = [{name: term.get("count") for name, term in each["terms"].items()} for each in (row, one)]
        assert counts[0] == counts[1]  # no example is validated twice


def in_two_processes(folder, *words):
    script = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *script, str(ROOT / "tests/training/setting.py"), str(folder), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    return {**load_file(folder / "final" / ADAPTER), **load_file(folder / "final" / HEADS)}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("mixed"), batch_size=4, accumulation=1, examples=small_mixture())[1]


def by_source(rows):
    """The training rows' values and counts, by step, source and term."""
    return {
        (row["step"], source, name): (term["raw"], term["count"])
        for row in rows
        if row["kind"] == "train"
        for source, own in row["sources"].items()
        for name, term in own["terms"].items()
    }


@pytest.mark.slow
def test_a_sources_losses_are_the_same_however_a_step_is_split(mixed, tmp_path):
    expected = by_source(mixed)
    assert {source for _, source, _ in expected} == {"visual-search", "sequential-crops"}
    split = run(tmp_path / "split", batch_size=1, accumulation=4, examples=small_mixture())[1]
    in_two_processes(tmp_path / "two", "2", "1", "mixed")
    for rows in (split, read_metrics(tmp_path / "two" / "metrics.jsonl")):
        found = by_source(rows)
        assert found.keys() == expected.keys()
        for key, (raw, count) in found.items():
            assert count == expected[key][1]
            assert raw == pytest.approx(expected[key][0], rel=1e-7), key


TOKENS = 450  # two to four examples


@pytest.fixture(scope="module")
def cheap(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cheap")
    trainer = cheap_trainer(folder, TOKENS, 2)
    trainer.train()
    return trained(trainer.model), read_metrics(folder / "metrics.jsonl")


@pytest.mark.slow
def test_with_batches_of_tokens_each_process_takes_as_many_micro_batches(cheap, tmp_path):
    weights, rows = cheap
    found = in_two_processes(tmp_path, str(TOKENS), "1", "cheap")
    close(found, {saved_name(name): value for name, value in weights.items()})
    keys = [(row["kind"], row["step"], row["passes"]) for row in rows]
    assert keys == [(row["kind"], row["step"], row["passes"]) for row in read_metrics(tmp_path / "metrics.jsonl")]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_with_batches_of_tokens_a_resumed_run_equals_the_uninterrupted_one(cheap, tmp_path, workers):
    cheap_trainer(tmp_path, TOKENS, 2, callbacks=[StopAfter(2)], workers=workers).train()
    resumed = cheap_trainer(tmp_path, TOKENS, 2, workers=workers)
    resumed.train(str(tmp_path / "checkpoints/checkpoint-2"))
    assert all(torch.equal(value, cheap[0][name]) for name, value in trained(resumed.model).items())
    assert [(row["kind"], row["step"], row["loss"]) for row in cheap[1]] == [
        (row["kind"], row["step"], row["loss"]) for row in read_metrics(tmp_path / "metrics.jsonl")
    ]


def saved_name(name):
    return name.removeprefix("model.").replace(".default.", ".") if name.startswith("model.") else name


def test_the_same_seed_gives_the_same_losses(four_by_one, tmp_path):
    weights, rows = run(tmp_path, batch_size=4, accumulation=1)
    assert all(torch.equal(value, four_by_one[0][name]) for name, value in weights.items())
    keys = ("kind", "step", "loss", "terms")
    assert [[row[k] for k in keys] for row in rows] == [[row[k] for k in keys] for row in four_by_one[1]]


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


@pytest.mark.parametrize("dropout", [pytest.param(0.0, marks=pytest.mark.slow), 0.5])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, dropout):
    settings = {"steps": 5, "accumulation": 2, "validate_every": 5}
    whole = small_model(dropout=dropout)
    small_trainer(whole, tmp_path / "whole", **settings).train()
    stopped = small_trainer(small_model(dropout=dropout), tmp_path / "halves", callbacks=[StopAfter(2)], **settings)
    stopped.train()
    assert stopped.state.global_step == 2
    with (tmp_path / "halves/metrics.jsonl").open("a") as file:  # as if it had been killed at step 3
        file.write('{"kind": "train", "step": 3, "loss": 9.0}\n')
    resumed = small_model(dropout=dropout, seed=0)
    small_trainer(resumed, tmp_path / "halves", **settings).train(str(tmp_path / "halves/checkpoints/checkpoint-2"))
    expected = trained(whole)
    assert all(torch.equal(value, expected[name]) for name, value in trained(resumed).items())
    rows = {name: read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "halves")}
    assert [(r["kind"], r["step"], r["loss"]) for r in rows["whole"]] == [
        (r["kind"], r["step"], r["loss"]) for r in rows["halves"]
    ]


def test_the_best_checkpoint_is_loaded_at_the_end(tmp_path):
    model = small_model()
    trainer = small_trainer(model, tmp_path, steps=4, validate_every=1, learning_rate=5.0)  # soon diverges
    trainer.train()
    held_out = {
        row["step"]: row["loss"] for row in read_metrics(tmp_path / "metrics.jsonl") if row["kind"] == "validation"
    }
    best = min((step for step in held_out if step), key=held_out.__getitem__)
    assert trainer.state.best_global_step == best < 4
    assert trainer.evaluate()["eval_loss"] == pytest.approx(held_out[best], rel=1e-6)


def test_training_leaves_the_backbones_configuration_alone(tmp_path):
    model = small_model()
    before = model.config.to_dict()
    small_trainer(model, tmp_path, steps=1, validate_every=1)
    assert model.config.to_dict() == before


def test_validation_is_exact_whatever_the_batch(tmp_path):
    model = small_model()
    losses = [small_trainer(model, tmp_path / str(b), batch_size=b).evaluate()["eval_loss"] for b in (1, 2, 5)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)
    held_out = jv.playground.trajectories("visual-search", count=5, split="validation")
    with torch.no_grad():
        at_once = model.eval()(model.collator()(held_out))
    assert losses[0] == pytest.approx(at_once.total.item(), rel=1e-5)


def test_validation_runs_without_dropout_and_leaves_the_modes_alone(tmp_path):
    model = small_model(dropout=0.5)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data.fill_(0.05)
    trainer = small_trainer(model, tmp_path)
    model.train()
    assert trainer.evaluate()["eval_loss"] == trainer.evaluate()["eval_loss"]
    assert all(module.training for module in model.modules())


def test_parts_of_a_term_are_in_every_line_of_metrics_and_sum_to_it(tmp_path):
    trainer = small_trainer(small_model(recipe="next_latent"), tmp_path, steps=2, validate_every=2, log_every=2)
    trainer.train()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["kind"] for row in rows] == ["validation", "train", "train", "validation"]
    for row in rows:
        term = row["terms"]["next_latent"]
        assert set(term["parts"]) == {"state", "kl"}
        assert all(part > 0 for part in term["parts"].values())
        assert sum(term["parts"].values()) == pytest.approx(term["raw"], rel=1e-5)
        assert "parts" not in row["terms"]["next_token"]
