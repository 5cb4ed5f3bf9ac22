from __future__ import annotations

import torch

import jepa_vlm as jv
from jepa_vlm.engine.batch import Suffix
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import lora_backbone, pearl_objective, random_trajectory


def rows(objective: jv.Objective, calls: tuple[int, ...] = (1, 2)) -> tuple[dict, LatentVLM, list[jv.Trajectory]]:
    model = LatentVLM(lora_backbone(), objective)
    generator = torch.Generator().manual_seed(0)
    examples = [random_trajectory(generator, str(i), calls=count) for i, count in enumerate(calls)]
    return model.collator()(examples).sequences, model, examples


def test_pearl_is_one_packed_sequence_with_gradient_and_one_without() -> None:
    found, model, examples = rows(pearl_objective(tokens=3))
    assert list(found) == ["current", "gradient"]  # forward only first, while no activation is held
    views = [model.serialize(example) for example in examples]
    assert found["gradient"].layout.segments == tuple(len(view["conversation"]) for view in views)
    prefixes = [view["question"].readouts["last_token"] + 1 for view in views]
    assert found["gradient"].layout.suffixes == (
        Suffix(0, prefixes[0], 3),
        Suffix(len(views[0]["conversation"]), prefixes[1], 3),
    )
    # Behind the last reasoning's last token nobody reads the target view.
    assert found["current"].layout.segments == tuple(view["trajectory"].readouts["last_token"] + 1 for view in views)


def test_a_target_with_gradient_joins_the_packed_sequence_with_gradient() -> None:
    target = jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=jv.with_gradient())
    term = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question()), predictor=jv.IdentityPredictor(), target=target
    )
    found, _, _ = rows(jv.NextToken() + term)
    assert list(found) == ["gradient"]
    assert len(found["gradient"].layout.segments) == 4


def test_without_soft_tokens_the_question_view_adds_no_tokens() -> None:
    term = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question()),
        predictor=jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=jv.stop_gradient()),
    )
    found, _, _ = rows(jv.NextToken() + term)
    assert found["gradient"].layout.suffixes == ()
    assert len(found["gradient"].layout.segments) == 2


def test_a_prediction_alone_computes_no_trajectory_with_gradient() -> None:
    found, model, examples = rows(1.0 * dict(pearl_objective().terms)["latent_prediction"])
    lengths = tuple(model.serialize(example)["question"].readouts["last_pred"] + 1 for example in examples)
    assert found["gradient"].layout.segments == lengths


def test_a_detached_conversation_is_read_from_the_packed_sequence_with_gradient() -> None:
    target = jv.ViewEncoder(jv.views.TrajectoryOnly(context="question"), readout="turn_end", policy=jv.stop_gradient())
    term = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question()), predictor=jv.IdentityPredictor(), target=target
    )
    found, model, examples = rows(jv.NextToken() + term)
    assert list(found) == ["gradient"]
    ends = tuple(model.serialize(example)["trajectory"].readouts["turn_end"] + 1 for example in examples)
    assert found["gradient"].layout.segments == ends  # one token longer than the token loss alone needs


def test_token_only_training_stops_at_the_last_supervised_token() -> None:
    found, model, examples = rows(1.0 * jv.NextToken())
    assert list(found) == ["gradient"]
    for length, example in zip(found["gradient"].layout.segments, examples, strict=True):
        view = model.serialize(example)["conversation"]
        assert length == int((view.labels != -100).nonzero()[-1])
