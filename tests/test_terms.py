from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from tests.factories import pearl_objective


def test_sums_and_scales_of_terms_add_up() -> None:
    objective = 2.0 * (jv.NextToken() + 0.5 * jv.NextLatentRegularizer()) + jv.NextToken()
    assert objective.weights == {"next_token": 2.0, "next_latent": 1.0, "next_token_2": 1.0}


def test_equal_requests_are_made_once() -> None:
    objective = jv.NextToken() + jv.NextToken()
    assert len(objective.requests()) == 1


def test_two_predictors_never_share_soft_tokens() -> None:
    prediction = dict(pearl_objective().terms)["latent_prediction"]
    owners = {request.slots.owner for request in (prediction + prediction).requests() if request.slots}
    assert owners == {"latent_prediction", "latent_prediction_2"}


def test_an_objective_copies_its_parts() -> None:
    regularizer = jv.NextLatentRegularizer()
    objective = jv.NextToken() + regularizer
    objective.setup(4, torch.Generator().manual_seed(0))
    assert list(regularizer.parameters()) == []
    assert list(objective.parameters()) != []


def test_setup_of_an_objective_depends_on_the_generator_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        objective = pearl_objective()
        objective.setup(4, torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in objective.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_weights_of_terms_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        _ = weight * jv.NextToken()


@pytest.mark.parametrize("left", [jv.NextToken(), 1.0 * jv.NextToken()])
def test_what_is_no_term_is_not_added_and_what_is_no_number_does_not_scale(left) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = left + 3
    with pytest.raises(TypeError, match=r"unsupported operand|can't multiply"):
        _ = left * "half"
