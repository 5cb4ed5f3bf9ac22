"""Latent generation feeds the embedding that the loss compared with the target of the same latent token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import jepa_vlm as jv
from jepa_vlm.engine import one_pass
from jepa_vlm.errors import BackboneError, ExportError, RunError
from jepa_vlm.generation.answering import Latents
from jepa_vlm.generation.greedy import inference, prompt_inputs, user_turn
from jepa_vlm.generation.latent_feedback import generate_latent
from jepa_vlm.objectives.latent_reconstruction import feeding_head
from jepa_vlm.recipe import list_recipes
from jepa_vlm.runs.questions import load_model
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, Term, TermValue
from jepa_vlm.training import Origin, apply_lora, export, save_weights
from jepa_vlm.training.checkpoint import HEADS
from jepa_vlm.views import LatentConversation, PictureFeatures, Request
from tests.factories import latent_backbone

COMPOSED = LatentConversation(PictureFeatures())
RECIPES = {
    "lvr": jv.load_recipe("lvr"),
    "lvr mlp": jv.load_recipe("lvr", head="mlp"),
    "lvr gated": jv.load_recipe("lvr", head="gated", width=24),
    "mirage": jv.load_recipe("mirage"),
    "coconut": jv.load_recipe("coconut", thoughts=2),
    "composed": jv.Recipe(
        objective=jv.LatentReconstruction(view=COMPOSED, predictor=jv.MLPPredictor(layers=1), loss=jv.CosineLoss()),
        added_tokens=COMPOSED.tokens,
        answering=Latents(),
    ),
}


@pytest.fixture(scope="module")
def backbone() -> jv.Backbone:
    every = dict.fromkeys(token for recipe in RECIPES.values() for token in recipe.added_tokens)
    return latent_backbone(torch.float64, tokens=tuple(every))


@pytest.fixture(scope="module")
def silent() -> jv.Trajectory:
    """One call in a step without words, so that START comes right behind the prompt, as in forced decoding."""
    found = next(t for t in jv.playground.trajectories("visual-search", count=8, seed=0) if t.calls == 1)
    look, last = found.steps
    call = replace(look.call, box=jv.Box(0.0, 0.0, 0.25, 0.25, relative=True))
    return replace(found, steps=(replace(look, text="", call=call), last))


def decoded(backbone: jv.Backbone, trajectory: jv.Trajectory, decoding: Latents) -> Tensor:
    """Return what generation embeds at the positions between START and END."""
    seen: list[Tensor] = []

    def keep(module: Any, args: Any, given: dict[str, Any]) -> None:
        seen.append(given["inputs_embeds"][0])

    inputs = prompt_inputs(backbone, [[user_turn(trajectory.question, [trajectory.images[0].load()])]])
    decoder = backbone.adapter.decoder(backbone.base)
    handle = decoder.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with inference(backbone.model):
            (found,) = generate_latent(backbone, inputs, 1, decoding)
    finally:
        handle.remove()
    assert found.steps == decoding.steps
    return torch.cat(seen[2 : 2 + decoding.steps])  # the prompt, START, then the steps


class BeforeSlots(Term):
    """Reads the states before a view's slots, whether or not the slots have targets."""

    name = "before"

    def __init__(self, view: LatentConversation) -> None:
        super().__init__()
        self.request = Request(view=view, at="before_latents")

    def requests(self) -> tuple[Request, ...]:
        return (self.request,)

    def denominator(self) -> Denominator:
        return Denominator("tokens", self.request)

    def forward(self, states: States) -> TermValue:
        return TermValue(states.regions[self.request].hidden.sum())


@pytest.mark.parametrize("name", RECIPES)
def test_input_embeddings_of_latent_steps_are_the_predictions_that_the_loss_compared(
    name: str, backbone: jv.Backbone, silent: jv.Trajectory, pure_float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every view that is trained. Slots that training feeds their targets get what decoding fed, in the targets'
    place: then the states before them are those of decoding.
    """
    recipe = RECIPES[name]
    assert isinstance(recipe.answering, Latents)
    objective = jv.LatentVLM(backbone, recipe.objective).objective
    terms = {term.view: term for term in objective.terms.values()}  # a reconstruction comes behind its token loss
    steps = []
    for view, term in terms.items():
        model = jv.LatentVLM(backbone, BeforeSlots(view))
        batch = model.collator()([silent])
        steps.append(batch.counts["before"])
        if not steps[-1]:
            continue
        backbone.latent_head = feeding_head(objective)
        fed = decoded(backbone, silent, replace(recipe.answering, steps=steps[-1], leave="count", entry="forced"))
        monkeypatch.setattr(one_pass, "slot_targets", lambda *given, fed=fed: fed)
        with torch.no_grad():
            states = model._states(batch)
            compared = term(states).predicted if isinstance(term, jv.LatentReconstruction) else None
        monkeypatch.undo()
        ((_, region),) = states.regions.items()
        torch.testing.assert_close(region.hidden if compared is None else compared, fed, rtol=0, atol=1e-9)
    assert max(steps) >= 3


def test_every_shipped_recipe_with_latent_steps_is_in_this_test() -> None:
    decoding = {file.name for file in list_recipes() if isinstance(jv.load_recipe(file.name).answering, Latents)}
    assert decoding == {name.split()[0] for name in RECIPES} - {"composed"}


def test_a_backbone_without_the_head_that_was_trained_is_refused(backbone: jv.Backbone) -> None:
    inputs = prompt_inputs(backbone, [[user_turn("Which?", [])]])
    for head, decoding in (
        (None, RECIPES["lvr gated"].answering),
        (jv.GatedPredictor(hidden=9), RECIPES["lvr gated"].answering),
        (jv.MLPPredictor(), RECIPES["lvr"].answering),
    ):
        backbone.latent_head = head
        with pytest.raises(BackboneError, match="through the head that training compared"):
            generate_latent(backbone, inputs, 1, decoding)


def test_latent_steps_that_feed_other_embeddings_than_the_loss_compared_are_refused() -> None:
    class Own(jv.Predictor):
        def forward(self, context: Tensor) -> Tensor:
            return -context

    def term(fed: str = "target", **given: Any) -> jv.LatentReconstruction:
        return jv.LatentReconstruction(view=LatentConversation(PictureFeatures(), fed=fed), **given)

    mlp = jv.MLPPredictor()
    for objective, said in (
        (jv.NextToken(view=LatentConversation(PictureFeatures(), fed="token")), "one token's embedding"),
        (term("state", state="at"), "state='before'"),
        (term() + term(predictor=mlp), "one head, but 2 reconstructions"),
        (term("state", predictor=mlp), "leave the head out"),
        (term(predictor=mlp) + jv.NextToken(view=LatentConversation(PictureFeatures(), fed="state")), "leave the head"),
        (term(predictor=Own()), "must be one of GatedPredictor, MLPPredictor; got Own"),
    ):
        jv.Recipe(objective=objective)
        with pytest.raises(ValueError, match=said):
            jv.Recipe(objective=objective, answering=Latents())
        borders = Latents(start="<|other|>")  # of no view of the objective
        assert jv.Recipe(objective=objective, answering=borders).answering == borders
    with pytest.raises(ValueError, match="features of size 8"):
        term(predictor=jv.MLPPredictor(out=4)).setup(8, torch.Generator())


def test_checkpoint_and_export_hold_the_head_of_the_latent_steps(tmp_path: Path) -> None:
    recipe, name = RECIPES["lvr mlp"], "tiny-random-qwen2.5-vl"
    assert isinstance(recipe.answering, Latents)
    live = jv.load_backbone(name, added_tokens=recipe.added_tokens)
    apply_lora(live, jv.Lora(rank=2, alpha=4), seed=0)
    model = jv.LatentVLM(live, recipe.objective, seed=5)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * weight.requires_grad
    live.latent_head = feeding_head(model.objective)
    origin = Origin(name, 0, "float32", None, recipe.added_tokens, recipe.answering)
    save_weights(model, tmp_path / "checkpoint", origin)
    export(tmp_path / "checkpoint", to=tmp_path / "export")
    fed, decoding = [], replace(recipe.answering, entry="forced")
    for backbone in (live, load_model(str(tmp_path / "checkpoint")), load_model(str(tmp_path / "export"))):
        fed.append(decoded(backbone, jv.playground.trajectories("visual-search", count=1)[0], decoding))
        assert backbone.latent_head is not None
        for key, tensor in backbone.latent_head.state_dict().items():
            assert torch.equal(tensor, live.latent_head.state_dict()[key])
    torch.testing.assert_close(fed[1], fed[0], rtol=0, atol=0)
    torch.testing.assert_close(fed[2], fed[0], rtol=1e-4, atol=1e-4)  # the adapter is merged
    (tmp_path / "export" / "latent_head.safetensors").unlink()
    with pytest.raises(ExportError, match="Export the run again"):
        load_model(str(tmp_path / "export"))
    held = load_file(tmp_path / "checkpoint" / HEADS)
    save_file({key: tensor for key, tensor in held.items() if "norm" not in key}, tmp_path / "checkpoint" / HEADS)
    with pytest.raises(RunError, match="must hold the latent head"):
        load_model(str(tmp_path / "checkpoint"))
