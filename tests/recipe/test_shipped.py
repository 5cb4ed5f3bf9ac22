"""The shipped recipes are the compositions that docs/method.md states."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.adapters import Profile
from jepa_vlm.contrib.covt import AheadOfReasoning, AllKinds, AsAnswer, BehindImages, SomeKinds
from jepa_vlm.errors import RecipeError
from jepa_vlm.recipe import list_recipes
from jepa_vlm.runs.settings import RunSettings, training_values
from jepa_vlm.views import Conversation, Question, TrajectoryOnly, stop_gradient

TOKENS = ("<|sam_pad|>", "<|depth_pad|>", "<|pidinet_pad|>")


def resolved(recipe, *names):
    """Return what a run on a backbone without a profile takes."""
    values = training_values(RunSettings(), recipe, Profile())
    return tuple(values[name].value for name in names)


def test_pearl_is_the_papers_setting():
    recipe = jv.load_recipe("pearl")
    objective = recipe.objective
    assert objective.weights == {"next_token": 1.0, "latent_prediction": 0.2, "next_latent": 0.2}
    prediction = objective.terms["latent_prediction"]
    assert isinstance(prediction.loss, jv.SmoothL1Loss)
    assert prediction.predictor.slots == 4
    context, target = prediction.requests()
    assert (context.view, context.at) == (Question(), "last_pred")
    assert (target.view, target.at, target.policy) == (TrajectoryOnly("none"), "last_token", stop_gradient())
    assert resolved(recipe, "lora_rank", "lora_alpha", "lora_dropout") == (64, 128, 0.0)
    assert resolved(recipe, "learning_rate", "warmup", "weight_decay") == (1e-5, 0.05, 0.1)
    assert resolved(recipe, "batch_size", "accumulation", "steps", "schedule") == (4, 4, 2500, "cosine")


def test_pearl_without_tokens_reads_the_question_itself():
    prediction = jv.load_recipe("pearl", tokens=0).objective.terms["latent_prediction"]
    assert isinstance(prediction.predictor, jv.IdentityPredictor)
    assert prediction.requests()[0].at == "last_token"


@pytest.mark.parametrize("name", ["pearl", "pearl_released"])
def test_pearls_latent_terms_have_weights_of_their_own_and_are_left_out_at_zero(name):
    def weights(**parameters):
        return jv.load_recipe(name, **parameters).objective.weights

    full = {"next_token": 1.0, "latent_prediction": 0.2, "next_latent": 0.2}
    assert weights() == full
    assert weights(next_latent=0.1) == {**full, "next_latent": 0.1}
    assert weights(next_latent="0") == {"next_token": 1.0, "latent_prediction": 0.2}
    assert weights(weight=0) == {"next_token": 1.0}
    assert weights(weight=0, next_latent=0.2) == {"next_token": 1.0, "next_latent": 0.2}


def test_pearl_released_is_the_released_codes_setting():
    recipe = jv.load_recipe("pearl_released", trained="last")
    prediction = recipe.objective.terms["latent_prediction"]
    assert isinstance(prediction.loss, jv.CosineLoss)
    context, target = prediction.requests()
    assert (context.at, target.at) == ("turn_end", "turn_end")
    assert target.view == TrajectoryOnly("image")
    assert recipe.objective.terms["next_latent"].requests()[0].view == Conversation(trained="last")
    assert resolved(recipe, "lora_rank", "lora_alpha", "lora_dropout") == (64, 128, 0.1)


def test_sft_is_the_token_loss_alone():
    assert jv.load_recipe("sft").objective.weights == {"next_token": 1.0}


def test_pixel_reasoner_trains_every_turn_of_the_whole_decoder():
    recipe = jv.load_recipe("pixel_reasoner")
    assert recipe.objective.weights == {"next_token": 1.0}
    assert recipe.lora is None
    assert resolved(recipe, "learning_rate", "warmup", "weight_decay") == (1e-6, 0.1, 0.0)
    assert resolved(recipe, "batch_size", "accumulation") == (1, 16)
    assert (recipe.answering, jv.load_recipe("sft").answering) == (jv.Tools(), jv.Plain())
    assert jv.load_recipe("pixel_reasoner", rank=8).lora.sizes() == (8, 16)


def test_covt_is_the_reasoning_stage():
    recipe = jv.load_recipe("covt")
    term = recipe.objective.terms["expert_distillation"]
    assert recipe.objective.terms["next_token"].view == term.view
    assert [(pads.token, pads.count) for pads in term.view.pads] == [
        ("<|sam_pad|>", 1), ("<|depth_pad|>", 1), ("<|pidinet_pad|>", 1),
    ]  # fmt: skip
    assert recipe.objective.terms["next_token"].mean == "examples"
    assert term.view.turns == "last"
    assert recipe.added_tokens == term.view.tokens
    assert recipe.lora == jv.Lora(rank=16, alpha=32, dropout=0.01)
    assert resolved(recipe, "learning_rate", "batch_size", "accumulation") == (5e-5, 1, 8)
    models = jv.load_recipe("covt", experts="models", sentences=True, supervised=False).objective
    term = models.terms["expert_distillation"]
    assert [(e.name, e.pads.count, e.weight, e.rate) for e in term.experts.values()] == [
        ("sam", 8, 1.0, 0.2), ("depth_anything", 4, 0.005, 1.0), ("dinov2", 4, 0.5, 0.2),
    ]  # fmt: skip
    assert not term.view.supervised
    assert term.view.written(range(3)).startswith("Because the segmentation of the image is <|sam_pad|><|sam_pad|>")
    assert ", and the depth map of the image is <|depth_pad|>" in term.view.written(range(3))
    assert recipe.answering == jv.Plain(
        prefix=recipe.objective.terms["next_token"].view.written(range(3)), tokens=TOKENS
    )
    assert jv.load_recipe("covt", supervised=False).answering == jv.Plain()


def test_covt_has_four_stages_in_the_shares_of_the_released_scripts():
    recipe = jv.load_recipe("covt", stages="all", weight=0.5)
    words = [term for name, term in recipe.objective.terms.items() if name.startswith("next_token")]
    understand, generate, reason, efficient = [term.view for term in words]
    assert understand.place == BehindImages()
    assert generate.place == AsAnswer(question="What is the segmentation, depth map, edge map of the image?")
    assert reason.place == efficient.place == AheadOfReasoning(close="\n")
    assert all(view.turns == "last" for view in (understand, generate, reason, efficient))
    assert [view.kinds for view in (understand, generate, reason)] == [AllKinds()] * 3
    assert efficient.kinds == SomeKinds(none=1 / 6)
    steps = [(stage.name, round(stage.share * 16000), stage.terms) for stage in recipe.stages]
    assert steps == [
        ("understand", 6000, ("next_token", "expert_distillation")),
        ("generate", 3000, ("next_token_2", "expert_distillation_2")),
        ("reason", 3000, ("next_token_3", "expert_distillation_3")),
        ("efficient", 2000, ("next_token_4", "expert_distillation_4")),
        ("words alone", 2000, ("next_token_4",)),
    ]
    assert {name: w for name, w in recipe.objective.weights.items() if w != 1} == {
        f"expert_distillation{number}": 0.5 for number in ("", "_2", "_3", "_4")
    }
    assert (*resolved(recipe, "steps"), jv.load_recipe("covt").stages) == (16000, ())
    with pytest.raises(RecipeError, match="needs supervised=True"):
        jv.load_recipe("covt", stages="all", supervised=False)


@pytest.mark.parametrize("name", [file.name for file in list_recipes()])
def test_a_shipped_recipe_runs_on_the_tiny_backbone(name):
    recipe = jv.load_recipe(name)
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=recipe.added_tokens)
    model = jv.LatentVLM(backbone, recipe.objective)
    terms = model(model.collator()(jv.playground.trajectories("visual-search", count=2)))
    assert terms.total.isfinite()
