"""The recipes with latent tokens: their settings, hand-computed losses, and the files of their runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.recipe.stage import stage_at
from jepa_vlm.runs import data
from jepa_vlm.states import Head, RegionStates, States
from jepa_vlm.training.checkpoint import answering_of
from jepa_vlm.views import LatentConversation, PooledFeatures, RegionFeatures, Request, Thoughts

VIEW = LatentConversation(RegionFeatures())


def states_of(region: str, hidden: torch.Tensor, targets: torch.Tensor, view: LatentConversation = VIEW) -> States:
    count = len(hidden)
    none = torch.full((count,), -100)
    states = RegionStates(hidden, none, torch.zeros(count, dtype=torch.long), None, targets)
    return States({}, {Request(view=view, at=region): states}, Head(torch.zeros(1, hidden.shape[1])))


def test_reconstruction_of_two_tokens_by_hand():
    """LVR: ((1 + 9) / 2 + (4 + 0) / 2) summed; Mirage: 1 - cos of a right angle and of parallels."""
    hidden, targets = torch.tensor([[1.0, 3.0], [2.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    squared = jv.LatentReconstruction(view=VIEW)(states_of("before_latents", hidden, targets))
    assert float(squared.total) == 5.0 + 2.0
    targets = torch.tensor([[-3.0, 1.0], [5.0, 0.0]])
    cosine = jv.LatentReconstruction(view=VIEW, loss=jv.CosineLoss())(states_of("before_latents", hidden, targets))
    assert float(cosine.total) == pytest.approx(1.0 + 0.0, abs=1e-6)
    token = LatentConversation(RegionFeatures(), fed="token")
    at = jv.LatentReconstruction(view=token, loss=jv.L1Loss(), state="at")
    assert float(at(states_of("latents", hidden, targets, token)).total) == (4 + 2) / 2 + 3 / 2


def test_an_example_without_latent_tokens_adds_nothing_and_keeps_its_graph():
    term = jv.LatentReconstruction(view=VIEW, predictor=jv.GatedPredictor())
    term.setup(2, torch.Generator().manual_seed(0))
    value = term(states_of("before_latents", torch.zeros(0, 2), torch.zeros(0, 2)))
    assert float(value.total.detach()) == 0
    value.total.backward()
    assert all(p.grad is not None and not p.grad.any() for p in term.parameters())


def test_reconstruction_refuses_what_does_not_fit():
    for wrong, said in (
        ({"view": jv.views.Conversation()}, "nothing to reconstruct"),
        ({"view": LatentConversation(Thoughts(), fed="state")}, "nothing to reconstruct"),
        ({"view": VIEW, "state": "at"}, "must not predict it from there"),
        ({"view": VIEW, "predictor": jv.PredTokenPredictor(tokens=2)}, "has its slots already"),
        ({"view": VIEW, "loss": jv.InfoNCELoss()}, "slots are no examples"),
    ):
        with pytest.raises(ValueError, match=said):
            jv.LatentReconstruction(**wrong)
    with pytest.raises(ValueError, match="no target that could be fed"):
        LatentConversation(Thoughts())


def test_lvr_is_the_released_supervised_stage():
    recipe = jv.load_recipe("lvr")
    assert recipe.objective.weights == {"next_token": 1.0, "latent_reconstruction": 0.1}
    term = recipe.objective.terms["latent_reconstruction"]
    assert (term.view.slots, term.view.fed, term.state) == (RegionFeatures(), "target", "before")
    assert isinstance(term.loss, jv.MSELoss)
    assert recipe.added_tokens == ("<|lvr_start|>", "<|lvr_end|>")
    assert recipe.answering == jv.Latents(steps=4, start="<|lvr_start|>", end="<|lvr_end|>", entry="model")
    assert jv.load_recipe("lvr", rank=0).lora is None
    gated = jv.load_recipe("lvr", head="gated", width=11008).objective.terms["latent_reconstruction"]
    assert (type(gated.predictor), gated.predictor.hidden) == (jv.GatedPredictor, 11008)
    simple = jv.load_recipe("lvr", head="mlp").objective.terms["latent_reconstruction"].predictor
    assert simple.arguments == {"hidden": None, "layers": 2, "norm": "layer", "out": None}


def test_mirage_has_two_stages_and_coconut_a_curriculum():
    mirage = jv.load_recipe("mirage", first=0.25)
    assert mirage.objective.weights == {"next_token": 0.1, "latent_reconstruction": 1.0, "next_token_2": 1.0}
    views = [term.view for term in mirage.objective.terms.values()]
    assert [view.fed for view in views] == ["target", "target", "state"]
    assert {view.slots for view in views} == {PooledFeatures(4)}
    assert [(s.share, s.terms) for s in mirage.stages] == [
        (0.25, ("next_token", "latent_reconstruction")),
        (0.75, ("next_token_2",)),
    ]
    assert jv.load_recipe("mirage", first=1.0).stages == ()
    coconut = jv.load_recipe("coconut", steps_replaced=2, thoughts=3)
    contents = [*(Thoughts(k, 3) for k in range(3)), Thoughts(2, 3, words="answer")]
    assert [term.view.slots for term in coconut.objective.terms.values()] == contents
    assert [stage.terms for stage in coconut.stages] == [(name,) for name in coconut.objective.weights]
    assert {stage.optimizer for stage in coconut.stages} == {"new"}
    assert coconut.answering == jv.Latents(steps=6)
    assert [stage_at(coconut.stages, step, 12) for step in range(12)] == [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3]
    assert [stage_at(coconut.stages, step, 4) for step in range(4)] == [0, 1, 2, 3]
    assert [stage_at(coconut.stages, step, 2) for step in range(2)] == [0, 1]


def test_the_end_of_latent_steps_is_a_parameter_of_lvr_mirage_and_coconut():
    for name, own in (("lvr", (4, "count")), ("mirage", (8, "end")), ("coconut", (2, "count"))):
        decoding = jv.load_recipe(name).answering
        assert (decoding.steps, decoding.leave) == own
        asked = jv.load_recipe(name, latents=3, leave="end" if own[1] == "count" else "count").answering
        assert (asked.steps, asked.leave != decoding.leave) == (3, True)


# By stage: slots and words left of an example with three steps and of one with one step, as get_cot_latent_dataset of
# facebookresearch/coconut@27273cb (dataset.py) makes them with max_latent_stage 2, c_thought 2 and pad_latent_to_max.
RELEASED = [
    [(0, "s1 s2 s3 A"), (0, "s1 A")],
    [(2, "s2 s3 A"), (2, "A")],
    [(4, "s3 A"), (4, "A")],
    [(4, "A"), (4, "A")],
]


def test_coconut_s_sequences_are_the_released_ones():
    recipe = jv.load_recipe("coconut", thoughts=2)
    model = jv.LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl", added_tokens=recipe.added_tokens), recipe.objective)
    tokenizer, decoding = model.backbone.tokenizer, recipe.answering
    looked = next(t for t in jv.playground.trajectories("sequential-crops", count=20) if t.calls == 3)
    texts = ("s1", "s2", "s3", "A")
    long = dataclasses.replace(
        looked,
        steps=tuple(dataclasses.replace(s, text=t) for s, t in zip(looked.steps, texts, strict=True)),
        answer="A",
    )
    short = dataclasses.replace(long, steps=(long.steps[0], long.steps[3]))
    views = [list(model.serialize(example).values()) for example in (long, short)]
    for stage, released in enumerate(RELEASED):
        for (slots, words), view in zip(released, (own[stage] for own in views), strict=True):
            start, end = (
                view.input_ids.tolist().index(tokenizer.convert_tokens_to_ids(token))
                for token in (decoding.start, decoding.end)
            )
            assert end - start - 1 == int(view.slots.sum()) == slots
            behind = tokenizer.encode(f"{decoding.after}{words}", add_special_tokens=False)
            first = end + 1 + len(tokenizer.encode(decoding.after, add_special_tokens=False))
            trained = [*behind[first - end - 1 :], tokenizer.eos_token_id]
            assert view.input_ids[end + 1 : end + 1 + len(behind)].tolist() == behind
            assert view.labels[:first].eq(-100).all()
            assert view.labels[first : first + len(trained)].tolist() == trained
            assert view.labels[first + len(trained) :].eq(-100).all()


def test_every_stage_has_at_least_one_step_however_small_its_share():
    stages = [jv.Stage(name=str(share), share=share, terms=("next_token",)) for share in (0.9, 0.06, 0.04)]
    assert [stage_at(stages, step, 10) for step in range(10)] == [0] * 8 + [1, 2]  # 9 and 9.6 steps are too many
    assert [stage_at(stages, step, 100) for step in range(100)].count(2) == 4


def test_stages_must_cover_exactly_the_terms_of_the_objective():
    objective = jv.NextToken() + jv.NextToken(view=VIEW)
    one = jv.Stage(name="a", share=0.5, terms=("next_token",))
    for stages, said in (
        ((one,), "sum to 1"),
        ((one, jv.Stage(name="b", share=0.5, terms=("other",))), "other"),
        ((one, jv.Stage(name="b", share=0.5, terms=("next_token",))), "in none: next_token_2"),
    ):
        with pytest.raises(ValueError, match=said):
            jv.Recipe(objective=objective, stages=stages)
    context, target = jv.ViewEncoder(jv.views.Question()), jv.ViewEncoder(jv.views.TrajectoryOnly())
    dropped = jv.LatentPrediction(context=context, predictor=jv.MLPPredictor(), target=target, loss_dropout=0.5)
    two = jv.Stage(name="b", share=0.5, terms=("latent_prediction",))
    with pytest.raises(ValueError, match="stage 'b' must have no loss dropout"):
        jv.Recipe(objective=jv.NextToken() + dropped, stages=(one, two))
    for wrong, said in (({"share": 0.0}, r"\(0, 1\]"), ({"optimizer": "old"}, "'kept' or 'new'")):
        with pytest.raises(ValueError, match=said):
            jv.Stage(**{"name": "a", "share": 1.0, "terms": ("x",), **wrong})


def terms_by_row(folder: Path) -> list[set[str]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [set(row["terms"]) for row in rows if row["kind"] == "train"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lvr", "mirage", "coconut"])
def test_a_run_lowers_its_own_loss_and_answers_through_its_latents(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(data, "TRAIN", 180)
    monkeypatch.setattr(data, "VALIDATION", 32)
    asked = {"steps": 45, "batch_size": 4, "accumulation": 1, "validate_every": 45, "questions": 24}
    result = jv.train(name, output=tmp_path / "run", seed=0, **asked)
    for term in result.terms.values():
        assert term["best"] < 0.95 * term["first"]
    decoding = jv.load_recipe(name).answering
    assert isinstance(decoding, jv.Latents)
    ways = [result.accuracy[key]["letter-logits"]["latent_use"] for key in ("after", "other_entry")]
    forced, own = ways if decoding.entry == "forced" else ways[::-1]
    assert forced["answers"] == 24
    assert decoding.leave == "end" or forced["steps"] == 24 * decoding.steps
    assert own["answers"] <= 24
    trained = terms_by_row(tmp_path / "run")
    stages = jv.load_recipe(name).stages
    if stages:
        assert (trained[0], trained[-1]) == (set(stages[0].terms), set(stages[-1].terms))
    for folder in ("best", "export"):
        assert answering_of(tmp_path / "run" / folder) == decoding
    tokens = json.loads((tmp_path / "run" / "export" / "tokenizer.json").read_text())["added_tokens"]
    assert {decoding.start, decoding.end} <= {token["content"] for token in tokens}
