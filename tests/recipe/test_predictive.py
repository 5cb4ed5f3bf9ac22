"""llm_jepa, next_latent and vl_jepa: what they are made of, their losses by hand on two tokens, and that they learn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import jepa_vlm as jv
from jepa_vlm.adapters.loading import WEIGHTS
from jepa_vlm.runs import data
from jepa_vlm.states import Head, RegionStates, States
from jepa_vlm.views import Answer, Question, TrajectoryOnly, with_gradient

LATENT = {"llm_jepa": "latent_prediction", "next_latent": "next_latent", "vl_jepa": "latent_prediction"}


def filled(objective: jv.Objective, latents: dict, hidden: torch.Tensor, labels: list[int], extra=None) -> States:
    """States of two tokens of one conversation: the same for every region that is asked for."""
    inputs = torch.zeros_like(hidden)
    region = RegionStates(hidden, torch.tensor(labels), torch.zeros(2, dtype=torch.long), inputs)
    regions = {request: region for request in objective.requests() if not request.reads_one}
    return States(latents, regions, Head(torch.eye(2)), extra or {})


def weighted(objective: jv.Objective, states: States, counts: dict[str, int]) -> dict[str, float]:
    return {term.name: weight * term(states).total.item() / counts[term.name] for weight, term in objective.parts()}


def ready(name: str, dim: int = 2, **parameters: object) -> jv.Objective:
    objective = jv.load_recipe(name, **parameters).objective
    objective.setup(dim, torch.Generator().manual_seed(0))
    return objective


HIDDEN, LABELS = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), [0, 1]
# logits = states: token 0 of (0, 0) costs log 2, token 1 of (1, 0) costs log(1 + e)
TOKENS = math.log(2) + math.log(1 + math.e)


def test_llm_jepa_by_hand():
    objective = ready("llm_jepa", tokens=2, weight=2.0, gamma=0.5)
    context, target = objective.terms["latent_prediction"].requests()
    assert (context.view, context.at, context.slots.count) == (Question(), "last_pred", 2)
    assert (target.view, target.at, target.policy) == (TrajectoryOnly("none"), "last_token", with_gradient())
    latents = {context: torch.tensor([[3.0, 4.0]]), target: torch.tensor([[4.0, 3.0]])}
    found = weighted(objective, filled(objective, latents, HIDDEN, LABELS), {"next_token": 2, "latent_prediction": 1})
    assert found["next_token"] == pytest.approx(0.5 * TOKENS / 2)
    assert found["latent_prediction"] == pytest.approx(2.0 * (1 - 24 / 25))


def test_llm_jepa_lets_gradient_into_both_sides():
    term = ready("llm_jepa").terms["latent_prediction"]
    one, other = (torch.tensor([pair], requires_grad=True) for pair in ([3.0, 4.0], [4.0, 3.0]))
    context, target = term.requests()
    term(States({context: one, target: other}, {}, Head(torch.eye(2)))).total.backward()
    assert one.grad.abs().sum() > 0
    assert other.grad.abs().sum() > 0


def test_llm_jepa_accepts_no_soft_tokens_loss_dropout_and_no_adapter():
    term = jv.load_recipe("llm_jepa", tokens=0, dropout=0.75).objective.terms["latent_prediction"]
    assert isinstance(term.predictor, jv.IdentityPredictor)
    assert term.requests()[0].at == "last_token"
    assert term.loss_dropout == 0.75
    assert jv.load_recipe("llm_jepa", rank=0).lora is None


def test_next_latent_by_hand():
    objective = ready("next_latent", state_weight=2.0, kl_weight=0.5)
    for parameter in objective.terms["next_latent"].parameters():
        torch.nn.init.zeros_(parameter)  # f = 0: the next state is taken to be this one
    states = filled(objective, {}, HIDDEN, LABELS)
    found = weighted(objective, states, {"next_token": 2, "next_latent": 1})
    assert found["next_token"] == pytest.approx(TOKENS / 2)
    # predicted (0, 0), true (1, 0): SmoothL1 is 1/2 and 0; p = (e, 1) / (e + 1) against (1, 1) / 2
    share = math.e / (math.e + 1)
    divergence = share * math.log(2 * share) + (1 - share) * math.log(2 * (1 - share))
    assert found["next_latent"] == pytest.approx(2.0 * 0.25 + 0.5 * divergence, rel=1e-5)


def test_next_latent_reads_the_whole_conversation_and_rolls_out():
    term = jv.load_recipe("next_latent", horizon=3).objective.terms["next_latent"]
    (request,) = term.requests()
    assert (request.view, request.at) == (jv.views.Conversation(), "all")
    assert (term.horizon, term.condition, term.denominator().horizon) == (3, "token", 3)


def test_vl_jepa_by_hand():
    objective = ready("vl_jepa", layers=1, width=2, temperature=1.0, weight=0.5)
    term = objective.terms["latent_prediction"]
    (context,), target = term.requests(), term.target
    assert (context.view, target.view, target.policy) == (Question(), Answer(), with_gradient())
    assert (target.encoder.name, target.encoder.rate) == ("tiny-random-bert", 0.05)
    with torch.no_grad():
        term.predictor.linears[0].weight.copy_(torch.eye(2))
        term.predictor.linears[0].bias.zero_()
        term.target_head.linears[0].weight.copy_(torch.eye(2, 32))  # the first two components
        term.target_head.linears[0].bias.zero_()
    answers = torch.zeros(2, 32)
    answers[0, 0] = answers[1, 0] = 5.0  # both (1, 0) after the head and the normalisation
    target.encoder.forward = lambda tokens, readout: answers if tokens == "theirs" else None
    extra = {term.name: {"tokens": "theirs"}}
    latents = {context: torch.tensor([[2.0, 0.0], [0.0, 3.0]])}
    found = weighted(
        objective, filled(objective, latents, HIDDEN, LABELS, extra), {"next_token": 2, "latent_prediction": 2}
    )
    # cosines [[1, 1], [0, 0]]. rows: log 2 each. columns: (1, 0) has its own at 1, then at 0
    rows, columns = 2 * math.log(2), math.log(1 + math.exp(-1)) + math.log(1 + math.e)
    assert found["latent_prediction"] == pytest.approx(0.5 * (rows + columns) / 2 / 2)
    assert found["next_token"] == pytest.approx(TOKENS / 2)


def test_vl_jepa_takes_its_parameters_as_the_command_line_gives_them():
    term = jv.load_recipe("vl_jepa", temperature="learned", layers="1", width="8").objective.terms["latent_prediction"]
    assert (term.loss.temperature, term.loss.symmetric) == ("learned", True)
    assert (term.predictor.out, term.target_head.out, term.predictor.layers) == (8, 8, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", LATENT)
def test_each_predictive_recipe_trains_evaluates_and_exports(name, tmp_path, monkeypatch):
    """Its latent loss falls on held-out trajectories; plain generate answers; the export has the base's keys."""
    monkeypatch.setattr(data, "TRAIN", 64)
    monkeypatch.setattr(data, "VALIDATION", 16)
    parameters = {"width": 64} if name == "vl_jepa" else {}
    given = {"steps": 30, "batch_size": 8, "validate_every": 30, "questions": 8, "parameters": parameters}
    found = jv.train(name, output=tmp_path / "run", **given)
    held_out = found.terms[LATENT[name]]
    assert held_out["best"] < 0.95 * held_out["first"]
    assert set(found.accuracy["after"]) == set(found.accuracy["before"])
    files = [folder / "model.safetensors" for folder in (Path(found.export), WEIGHTS / "tiny-qwen2.5-vl")]
    exported, base = (set(safe_open(file, "pt").keys()) for file in files)
    assert exported == base
    assert json.loads((Path(found.run) / "config.json").read_text())["recipe"]["value"] == name
