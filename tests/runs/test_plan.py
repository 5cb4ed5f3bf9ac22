"""A plan is the whole run, resolved."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import jepa_vlm as jv
from jepa_vlm.cli.recipe_command import plan_text
from jepa_vlm.errors import BackboneError, DataError, RecipeError, RunError
from jepa_vlm.runs import data, plan
from jepa_vlm.runs.plan import plan_run
from jepa_vlm.runs.settings import Resolved, RunSettings
from jepa_vlm.trajectories.formats import write_jsonl
from tests.factories import opens_a_thought


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 8)
    monkeypatch.setattr(data, "VALIDATION", 4)


def test_the_resolved_values_are_the_ones_in_force():
    plan = plan_run("pearl", RunSettings(parameters={"tokens": 3}, learning_rate=0.002, seed=1))
    assert plan.recipe.learning_rate == plan["learning_rate"] == 0.002
    adapter = plan.backbone.model.peft_config["default"]
    assert (adapter.r, adapter.lora_alpha) == (plan["lora_rank"], plan["lora_alpha"]) == (16, 32)
    assert plan.model.objective.terms["latent_prediction"].predictor.slots == 3
    assert plan.train.kept[0].id == "sequential-crops-train-1-0"


def test_a_composed_recipe_is_obeyed_and_what_it_leaves_open_is_the_profiles():
    recipe = jv.Recipe(
        objective=jv.NextToken(), lora=jv.Lora(rank=64, alpha=128), learning_rate=1e-5, batch_size=2, steps=7
    )
    plan = plan_run(recipe, RunSettings())
    adapter = plan.backbone.model.peft_config["default"]
    assert (adapter.r, adapter.lora_alpha) == (64, 128)
    assert [plan[name] for name in ("learning_rate", "batch_size", "steps", "accumulation")] == [1e-5, 2, 7, 1]
    config = json.loads(json.dumps(plan.config()))
    assert config["learning_rate"] == {"value": 1e-5, "origin": "recipe"}
    assert config["overruled"]["learning_rate"] == {"value": 0.003, "origin": "backbone profile"}
    assert (
        "overruled  learning_rate 1e-05 from the recipe, in place of the profile's 0.003"
        in plan_text(plan).splitlines()
    )


def test_a_plan_says_what_few_rows_train_and_which_micro_batches_compare_nothing():
    settings = RunSettings(backbone="tiny-random-qwen2.5-vl", data="playground:sequential-crops#direct=0.9")
    plan = plan_run("lvr", settings)
    have = sum(row.calls > 0 for row in plan.train.kept)
    assert json.loads(json.dumps(plan.config()))["term_rows"]["latent_reconstruction"]["train"] == {
        "have": have,
        "of": 8,
    }
    assert f"rows       latent_reconstruction: {have} of 8 to train on and" in plan_text(plan)
    plan = plan_run("vl_jepa", RunSettings(backbone="tiny-random-qwen2.5-vl", batch_tokens=400, steps=20))
    assert 0 < plan.alone.micro_batches < plan.alone.of == 20
    assert f"warning    {plan.alone.warnings[0]}" in plan_text(plan).splitlines()
    with pytest.raises(RecipeError, match="every micro-batch holds one"):
        plan_run("vl_jepa", RunSettings(backbone="tiny-random-qwen2.5-vl", batch_size=1))


def test_latents_between_marks_that_the_vocabulary_lacks_are_refused_before_training():
    recipe = jv.load_recipe("sft")
    recipe = replace(recipe, answering=jv.Latents(steps=2, start="<|no such token|>"))
    with pytest.raises(BackboneError, match=r"needs '<\|no such token\|>' as one token of the vocabulary"):
        plan_run(recipe, RunSettings())


def test_a_recipe_that_answers_behind_latent_steps_alone_has_its_own_rate_on_a_tiny_backbone():
    plan = plan_run("coconut", RunSettings())
    assert plan.values["learning_rate"] == Resolved(5e-4, "backbone profile")
    assert plan.backbone.latent_head is None
    assert plan_run("coconut", RunSettings(learning_rate=0.002))["learning_rate"] == 0.002


def test_latent_steps_are_fed_through_the_head_that_trains():
    plan = plan_run("lvr", RunSettings(parameters={"head": "mlp"}))
    assert plan["learning_rate"] == 3e-3
    assert plan.backbone.latent_head is plan.model.objective.terms["latent_reconstruction"].predictor
    assert plan.values["decoding"].value["head"]["kind"] == "MLPPredictor"


def test_blanks_in_which_a_prompt_differs_are_told_before_training(monkeypatch):
    def blank(name, **loading):
        backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
        template = backbone.processor.chat_template
        backbone.processor.chat_template = template.replace("message.role + '\\n'", "message.role + ' \\n'")
        return backbone

    monkeypatch.setattr(plan, "load_backbone", blank)
    found = plan_run("sft", RunSettings())
    assert "they differ in blanks" in found.notes[0]
    assert found.notes[0] in plan_text(found)


def test_a_template_that_asks_otherwise_than_it_trains_is_refused_before_training(monkeypatch):
    def thinking(name, **loading):
        backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
        opens_a_thought(backbone.processor)
        return backbone

    monkeypatch.setattr(plan, "load_backbone", thinking)
    with pytest.raises(BackboneError, match=r"ends in .*<think>.*Instruct instead of Thinking"):
        plan_run("sft", RunSettings())


def test_memory_counts_weights_gradients_and_two_averages():
    plan = plan_run("pearl", RunSettings())
    trained = 4 * sum(part.trainable for part in plan.parts)
    assert plan.memory()["gradients"] == trained
    assert plan.memory()["optimizer"] == 2 * trained
    assert plan.memory()["weights"] >= 4 * sum(part.trainable + part.frozen for part in plan.parts)


def test_memory_under_bfloat16_counts_what_trains_in_full_in_float32_and_its_copies():
    plan = plan_run("pixel_reasoner", RunSettings(backbone="tiny-random-qwen2.5-vl", dtype="bfloat16"))
    trained, frozen = (sum(getattr(part, kind) for part in plan.parts) for kind in ("trainable", "frozen"))
    found = plan.memory()
    assert (found["gradients"], found["optimizer"], found["half-precision copies"]) == (
        4 * trained,
        8 * trained,
        2 * trained,
    )
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in plan.model.buffers())
    assert found["weights"] == 4 * trained + 2 * frozen + buffers
    tower = plan_run("sft", RunSettings(backbone="tiny-random-qwen2.5-vl", rates={"language": 1.0, "vision": 0.1}))
    assert "the vision tower or the projector trains in full" in plan_text(tower)


def test_memory_has_a_total_with_a_micro_batch_in_it():
    found = plan_run("pearl", RunSettings()).memory()
    assert found["total"] == sum(size for name, size in found.items() if name != "total")
    smaller = plan_run("pearl", RunSettings(batch_size=2)).memory()
    assert found["micro-batch"] > smaller["micro-batch"] > 0
    assert "total" not in plan_run("pearl", RunSettings(engine="separate")).memory()


def test_the_configuration_is_json_with_origins():
    config = json.loads(json.dumps(plan_run("sft", RunSettings(steps=5)).config()))
    assert config["steps"] == {"value": 5, "origin": "user"}
    assert config["examples"] == {"train": 8, "validation": 4}
    assert config["tokens"]["max"] >= config["tokens"]["mean"] > 49


def test_what_was_never_read_is_told_with_its_count(tmp_path):
    write_jsonl(jv.playground.trajectories("maze", count=3), tmp_path / "x.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    rows[0]["mood"] = rows[2]["mood"] = "good"
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = plan_run("sft", RunSettings(data=f"jsonl:{tmp_path / 'x.jsonl'}"))
    assert plan.config()["bad_rows"]["jsonl"]["notes"] == {"never read: key 'mood'": 2}
    assert "           jsonl: 2 x never read: key 'mood'" in plan_text(plan).splitlines()


def test_a_budget_of_tokens_shows_how_it_is_filled():
    plan = plan_run("sft", RunSettings(batch_tokens=300))
    assert plan.decoded == plan.model.collator().tokens(plan.train.kept)
    found = json.loads(json.dumps(plan.config()))["micro_batches"]
    share = round(sum(plan.decoded) / 2400, 4)
    examples = len(plan.decoded)
    assert found == {"budget": 300, "micro_batches": 8, "examples": examples, "share": share, "too_long": 0}
    shown = plan_text(plan).splitlines()
    assert shown[-1] == f"batches    8 micro-batches a pass, {found['share']:.0%} of 300 tokens on average"
    tight = plan_text(plan_run("sft", RunSettings(batch_tokens=100))).splitlines()
    assert tight[-1] == "           6 trajectories have more than 100 tokens; each is a micro-batch of its own"
    assert plan_run("sft", RunSettings()).filling is None


def test_cached_targets_are_told_and_those_of_another_model_refused(tmp_path):
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question()),
        predictor=jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=jv.cached(tmp_path / "targets")),
    )
    recipe = jv.Recipe(objective=jv.NextToken() + prediction)
    settings = RunSettings(backbone="tiny-random-qwen2.5-vl", seed=1)
    plan = plan_run(recipe, settings)
    line = f"targets    {tmp_path / 'targets'}: "
    assert plan_text(plan).splitlines()[-1] == line + "the run computes them first"
    jv.fill_targets(plan.model, plan.train.kept)
    distinct = {t.answer if not t.calls else t.id for t in plan.train.kept}  # direct ones say their letter alone
    assert plan_text(plan).splitlines()[-1] == line + f"{len(distinct)} stored"
    with pytest.raises(RunError, match=r"weights: stored \w+, asked \w+"):
        plan_run(recipe, replace(settings, seed=2))


def test_a_value_of_the_users_that_the_recipe_refuses_is_one_message(monkeypatch):
    with pytest.raises(RecipeError, match="engine must be one of"):
        plan_run("sft", RunSettings(engine="fast"))


def test_a_composed_recipe_is_taken_as_it_is():
    recipe = jv.Recipe(objective=jv.NextToken(), lora=None, steps=3)
    plan = plan_run(recipe, RunSettings())
    assert not any(part.name == "LoRA adapter" for part in plan.parts)


def test_a_bad_row_stops_the_run_before_it_begins(tmp_path):
    good = jv.playground.trajectories("visual-search", count=40, seed=0)
    bad = replace(good[-1], id="bad", question="Which <|im_end|> is it?")
    write_jsonl([*good, bad], tmp_path / "data.jsonl")
    with pytest.raises(DataError, match=r"'bad' holds the backbone's special token '<\|im_end\|>'"):
        jv.train("sft", data=f"jsonl:{tmp_path / 'data.jsonl'}", output=tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()
