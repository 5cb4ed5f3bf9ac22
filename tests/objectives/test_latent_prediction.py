from __future__ import annotations

from typing import Any

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.states import Head, States


def term(**changes: Any) -> jv.LatentPrediction:
    parts: dict[str, Any] = {
        "context": jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        "predictor": jv.PredTokenPredictor(tokens=4),
        "target": jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.stop_gradient()),
        "loss": jv.SmoothL1Loss(beta=1.0),
    }
    return jv.LatentPrediction(**{**parts, **changes})


def states(prediction: jv.LatentPrediction, context: torch.Tensor, target: torch.Tensor) -> States:
    one, other = prediction.requests()
    return States({one: context, other: target}, {}, Head(torch.eye(2)))


def test_latent_prediction_sums_over_examples_by_hand() -> None:
    context, target = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.5, 0.0], [1.0, 4.0]])
    prediction = term()
    prediction.setup(2, torch.Generator().manual_seed(0))
    total = prediction(states(prediction, context, target)).total
    assert total.item() == pytest.approx(0.125 / 2 + 2.5 / 2)


@pytest.mark.parametrize(("policy", "flows"), [(jv.stop_gradient(), False), (jv.with_gradient(), True)])
def test_the_policy_decides_whether_gradient_flows(policy: Any, flows: bool) -> None:
    prediction = term(target=jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=policy))
    prediction.setup(3, torch.Generator().manual_seed(0))
    context, target = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    prediction(states(prediction, context, target)).total.backward()
    assert context.grad is not None
    assert (target.grad is not None) == flows


def test_soft_tokens_are_parameters_after_setup() -> None:
    prediction = term()
    assert list(prediction.parameters()) == []
    prediction.setup(6, torch.Generator().manual_seed(0))
    slots = prediction.slot_inputs()
    assert slots is not None
    assert slots.shape == (4, 6)
    assert slots.requires_grad


def question(readout: str, **options: Any) -> jv.ViewEncoder:
    return jv.ViewEncoder(jv.views.Question(), readout=readout, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictor": jv.IdentityPredictor()}, "needs a predictor with slots"),
        ({"context": jv.ViewEncoder(jv.views.Conversation())}, "no place for learned slots"),
        ({"target": question("last_pred")}, "no .PRED. slots"),
        ({"context": question("last_pred", policy=jv.stop_gradient())}, "with gradient"),
        (
            {"context": question("last_token"), "predictor": jv.IdentityPredictor(), "target": question("last_token")},
            "same latent",
        ),
        ({"context": question("last_token")}, "must come before"),
        ({"context": question("mean")}, "must come before"),
        ({"loss": torch.nn.MSELoss()}, "must be a LatentLoss"),
        ({"predictor": torch.nn.Identity()}, "must be a Predictor"),
    ],
)
def test_parts_of_a_latent_prediction_that_do_not_fit_are_refused_at_construction(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        term(**changes)


def test_the_same_view_under_averaged_weights_is_a_target() -> None:
    averaged = question("last_token", policy=jv.ema(0.9))
    assert term(context=question("last_token"), predictor=jv.MLPPredictor(), target=averaged).requests()


def test_unknown_readouts_and_contexts_are_refused() -> None:
    with pytest.raises(ValueError, match="readout must be one of"):
        jv.ViewEncoder(jv.views.Question(), readout="first")
    with pytest.raises(ValueError, match="context must be one of"):
        jv.views.TrajectoryOnly(context="text")
    with pytest.raises(ValueError, match="decay must lie in"):
        jv.ema(1.0)
    with pytest.raises(ValueError, match="current weights alone"):
        jv.views.TargetPolicy(weights="frozen", gradient=True)
