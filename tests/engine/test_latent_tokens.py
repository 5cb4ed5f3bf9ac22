"""Latent tokens: both engines agree, targets follow their definition, and no setting disables them silently."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.engine.one_pass import slot_targets
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.views import (
    IGNORED,
    LatentConversation,
    PictureFeatures,
    PooledFeatures,
    RegionFeatures,
    SlotContent,
    Thoughts,
)
from tests.factories import back_propagated, latent_backbone, random_trajectory

CONTENTS = (RegionFeatures(), PooledFeatures(chunks=3), PictureFeatures(), Thoughts(steps=2, each=2))


def looking(seed: int, count: int = 3) -> list[jv.Trajectory]:
    """Trajectories of random words with 0 to 3 looks, at boxes of their input images and of earlier pictures."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number in range(count):
        plain = random_trajectory(generator, f"{seed}-{number}", calls=number % 4)
        steps = []
        for i, step in enumerate(plain.steps):
            if step.image is not None:
                low, span = (torch.rand(2, generator=generator).double() * 0.6).tolist(), 0.3
                box = jv.Box(low[0], low[1], low[0] + span, low[1] + span, relative=True)
                which = i % (len(plain.images) + i)
                step = jv.Step(step.text, jv.ToolCall("crop", {}, box, image=which), step.image)
            steps.append(step)
        found.append(jv.Trajectory(plain.id, plain.images, plain.question, tuple(steps), plain.answer))
    return found


def objective(content: SlotContent, fed: Any) -> jv.Objective:
    view = LatentConversation(content, fed=fed)
    token = 1.0 * jv.NextToken(view=view)
    return token + 0.1 * jv.LatentReconstruction(view=view) if content.has_target else token


def losses_and_gradients(model: LatentVLM, batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    terms, gradients = back_propagated(model, batch)
    return terms.raw, gradients


@pytest.mark.parametrize("fed", ["target", "token", "state"])
@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: type(content).__name__)
def test_one_pass_equals_separate_with_latent_tokens(content: SlotContent, fed: Any, pure_float64: None) -> None:
    if fed == "target" and not content.has_target:
        pytest.skip("slots without a target cannot be fed it")
    backbone, trajectories = latent_backbone(torch.float64), looking(1)
    found = []
    for engine in ("one_pass", "separate"):
        model = LatentVLM(backbone, objective(content, fed), engine=engine)
        found.append(losses_and_gradients(model, model.collator()(trajectories)))
    (losses, gradients), (slow_losses, slow_gradients) = found
    for name, loss in slow_losses.items():
        assert float((losses[name] - loss).detach().abs() / loss.detach().abs()) < 1e-9
    assert gradients.keys() == slow_gradients.keys()
    for name, gradient in slow_gradients.items():
        assert float((gradients[name] - gradient).norm() / gradient.norm()) < 1e-9, name


def test_latent_tokens_of_several_views_share_a_packed_sequence(pure_float64: None) -> None:
    whole = (
        jv.NextToken()
        + objective(RegionFeatures(), "target")
        + objective(PooledFeatures(2), "target")
        + objective(PooledFeatures(2), "token")
        + objective(Thoughts(1, 2), "token")
        + objective(Thoughts(1, 2), "state")
    )
    backbone, results = latent_backbone(torch.float64), []
    for engine in ("one_pass", "separate"):
        model = LatentVLM(backbone, whole, engine=engine)
        batch = model.collator()(looking(2))
        results.append(losses_and_gradients(model, batch))
    assert len(model.objective.parts()) == 9
    for name, loss in results[1][0].items():
        assert float((results[0][0][name] - loss).detach().abs()) < 1e-9, name
    for name, gradient in results[1][1].items():
        assert float((results[0][1][name] - gradient).norm() / gradient.norm()) < 1e-9, name


def test_lvr_loss_equals_its_definition(pure_float64: None) -> None:
    """The loss and the index sets, made anew here: several boxes, several images, one example after the other."""
    backbone, trajectories = latent_backbone(torch.float64), looking(3, count=4)
    assert any(len(t.images) > 1 for t in trajectories)
    assert max(t.calls for t in trajectories) == 3
    view = LatentConversation(RegionFeatures())
    model = LatentVLM(backbone, jv.LatentReconstruction(view=view))
    terms = model(model.collator()(trajectories))
    processor, base, total, count = backbone.processor, backbone.base, 0.0, 0
    start, end = (backbone.tokenizer.convert_tokens_to_ids(token) for token in (view.start, view.end))
    with torch.no_grad():
        for trajectory in trajectories:
            features, grids = [], []
            for image in trajectory.all_images:
                made = processor.image_processor(images=[image.load()], return_tensors="pt")
                out = base.base_model.get_image_features(
                    made["pixel_values"].double(), made["image_grid_thw"], return_dict=True
                )
                features.append(torch.cat(list(out.pooler_output)))
                grids.append(made["image_grid_thw"][0].tolist())
            targets, text = [], ""
            for step in trajectory.steps:
                text += (" " if text and not text.endswith("\n") else "") + step.text
                if step.call is None:
                    continue
                box, which = step.call.box, step.call.image
                _, rows, columns = grids[which]
                left, right = math.floor(box.left * columns) // 2, (math.ceil(box.right * columns) + 1) // 2
                top, bottom = math.floor(box.top * rows) // 2, (math.ceil(box.bottom * rows) + 1) // 2
                inside = [y * (columns // 2) + x for y in range(top, bottom) for x in range(left, right)]
                targets.append(features[which][inside])
                text += view.start + view.end + "\n"
            pictures = [image.load() for image in trajectory.images]
            content = [*({"type": "image"} for _ in pictures), {"type": "text", "text": trajectory.question}]
            turns = [
                {"role": "user", "content": content},
                {"role": "assistant", "content": [{"type": "text", "text": text}]},
            ]
            made = processor(text=[processor.apply_chat_template(turns)], images=pictures, return_tensors="pt")
            ids, waiting = [], iter(targets)
            for token in made["input_ids"][0].tolist():
                ids += [-1] * len(next(waiting)) if token == end and targets else []
                ids.append(token)
            slots = torch.tensor([i for i, token in enumerate(ids) if token == -1], dtype=torch.long)
            goal = torch.cat([*targets, features[0][:0]])
            plain = torch.tensor(ids).masked_fill(torch.tensor(ids) == -1, backbone.tokenizer.pad_token_id)
            fed = base.get_input_embeddings()(plain).index_copy(0, slots, goal)
            fed[plain == base.config.image_token_id] = torch.cat(features[: len(pictures)])
            kinds = (plain == base.config.image_token_id).int()[None]
            places, _ = base.base_model.get_rope_index(
                plain[None], mm_token_type_ids=kinds, image_grid_thw=torch.tensor(grids[: len(pictures)])
            )
            states = base.base_model.language_model(inputs_embeds=fed[None], position_ids=places).last_hidden_state[0]
            assert plain[slots - 1].tolist().count(start) == len(targets)
            total += float((states[slots - 1] - goal).square().mean(dim=1).sum())
            count += len(slots)
    assert terms.counts == {"latent_reconstruction": count}
    assert float(terms.total.detach()) == pytest.approx(total / count, rel=1e-9)


def test_words_and_border_tokens_are_supervised_and_latent_tokens_are_not() -> None:
    backbone = latent_backbone()
    view = LatentConversation(PooledFeatures(chunks=2))
    model = LatentVLM(backbone, jv.NextToken(view=view))
    (trajectory,) = looking(4, count=3)[2:]
    shown = model.serialize(trajectory)["latent_conversation"]
    assert int(shown.slots.sum()) == 2 * trajectory.calls
    assert bool((shown.labels[shown.slots] == IGNORED).all())
    trained = shown.labels[shown.labels != IGNORED].tolist()
    for token in (view.start, view.end):
        assert trained.count(backbone.tokenizer.convert_tokens_to_ids(token)) == trajectory.calls == 2
    assert trajectory.steps[0].call is not None
    assert trajectory.steps[0].call.text() not in shown.text
    assert shown.images == tuple(range(len(trajectory.images)))


def test_latent_thoughts_are_equally_many_in_every_example_and_never_replace_the_answer() -> None:
    trajectory = looking(5, count=4)[3]
    texts = [step.text for step in trajectory.steps]
    assert trajectory.calls == 3
    backbone = latent_backbone()
    for slots, left in (
        (Thoughts(0, 2), texts),
        (Thoughts(2, 2), texts[2:]),
        (Thoughts(9, 2), texts[3:]),
        (Thoughts(1, 2, words="answer"), texts[3:]),
    ):
        model = LatentVLM(backbone, jv.NextToken(view=LatentConversation(slots, fed="state")))
        shown = model.serialize(trajectory)["latent_conversation"]
        assert int(shown.slots.sum()) == slots.steps * 2
        assert shown.text.rpartition("<|latent_end|>\n")[2].startswith(" ".join(left))
    for wrong in ({"steps": -1}, {"each": 0}, {"words": "x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Thoughts(**wrong)


@pytest.mark.parametrize("after", ["\n", "", "Now:\n"])
def test_border_tokens_that_are_given_are_not_supervised(after: str) -> None:
    trajectory, backbone = looking(2)[2], latent_backbone()
    border = backbone.tokenizer.encode(f"<|latent_start|><|latent_end|>{after}", add_special_tokens=False)
    labels = {}
    for name in ("trained", "given"):
        view = LatentConversation(PooledFeatures(2), after=after, borders=name)
        shown = LatentVLM(backbone, jv.NextToken(view=view)).serialize(trajectory)["latent_conversation"]
        labels[name] = shown.labels[~shown.slots].tolist()
    expected, found = labels["trained"], 0
    for at in range(len(expected)):
        if expected[at : at + len(border)] == border:
            expected[at : at + len(border)] = [-100] * len(border)
            found += 1
    assert found == trajectory.calls == 2
    assert labels["given"] == expected
    with pytest.raises(ValueError, match="borders must be"):
        LatentConversation(PooledFeatures(2), borders="x")


def test_features_of_a_picture_averaged_in_equal_runs_by_hand() -> None:
    features = torch.tensor([[1.0], [3.0], [5.0], [7.0], [100.0]])
    rows, slot = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1])  # two runs of two; the fifth is left over
    assert slot_targets(features, rows, slot, 2).tolist() == [[2.0], [6.0]]
    model = LatentVLM(latent_backbone(), objective(PooledFeatures(chunks=2), "token"))
    trajectory = looking(6, count=2)[1]
    length = model.collator().serializer.images(trajectory)[-1].length
    sources = model.serialize(trajectory)["latent_conversation"].slot_sources
    assert sources is not None
    assert length == 3  # one is left over
    assert sources.tolist() == [[0, trajectory.calls + len(trajectory.images) - 1, 0], [1, len(trajectory.images), 1]]


def test_pictures_that_only_the_tools_showed_are_not_encoded() -> None:
    backbone, trajectories = latent_backbone(), looking(7, count=4)
    inputs = sum(len(trajectory.images) for trajectory in trajectories)
    looks = sum(trajectory.calls for trajectory in trajectories)
    for content, images in ((Thoughts(1), inputs), (PictureFeatures(), inputs + looks)):
        batch = LatentVLM(backbone, jv.NextToken(view=LatentConversation(content, fed="token"))).collator()(
            trajectories
        )
        assert len(batch.images["image_grid_thw"]) == images


def test_an_accumulation_window_with_latent_tokens_equals_each_micro_batch_alone(pure_float64: None) -> None:
    """Sequences without gradient run ahead as one; slots that are fed back have gradient and must not be among them."""
    backbone = latent_backbone(torch.float64)
    target = jv.ViewEncoder(jv.views.TrajectoryOnly(), policy=jv.stop_gradient())
    context = jv.ViewEncoder(jv.views.Question(), readout="last_pred")
    prediction = jv.LatentPrediction(context=context, predictor=jv.PredTokenPredictor(tokens=2), target=target)
    model = LatentVLM(backbone, objective(PooledFeatures(2), "state") + 0.2 * prediction)
    collator = model.collator()
    alone = [losses_and_gradients(model, collator(looking(seed))) for seed in (11, 12)]
    window = model.run_ahead([collator(looking(seed)) for seed in (11, 12)])
    for (losses, gradients), batch in zip(alone, window, strict=True):
        again, found = losses_and_gradients(model, batch)
        assert all(float((again[name] - loss).detach().abs()) < 1e-12 for name, loss in losses.items())
        assert all(float((found[name] - gradient).norm()) < 1e-12 for name, gradient in gradients.items())


def test_latent_feedback_refuses_settings_that_would_disable_it() -> None:
    backbone = latent_backbone()
    model = LatentVLM(backbone, objective(PooledFeatures(2), "state"))
    batch = model.collator()(looking(8))
    model.activation_checkpointing_enable()
    with pytest.raises(BackboneError, match="activation checkpointing"):
        model(batch)
    model.activation_checkpointing_disable()
    assert torch.isfinite(model(batch).total)


def test_a_run_checks_latent_segments_before_it_begins() -> None:
    backbone = latent_backbone()
    collator = LatentVLM(backbone, jv.NextToken(view=LatentConversation(RegionFeatures()))).collator()
    collator.check(looking(1)[1])
    without_box = random_trajectory(torch.Generator().manual_seed(0), "boxless", calls=1)
    with pytest.raises(DataError, match="'boxless': step 1 looks at a picture, but has no box"):
        collator.check(without_box)
    with pytest.raises(DataError, match="special token"):
        collator.check(replace(without_box, question="a <|latent_end|> b"))
    LatentVLM(backbone, jv.NextToken(view=LatentConversation(PooledFeatures(2)))).collator().check(without_box)


def test_views_with_latent_tokens_that_do_not_fit_are_refused() -> None:
    backbone = latent_backbone()
    view = LatentConversation(RegionFeatures())
    plain = LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl"), jv.NextToken(view=view))
    with pytest.raises(BackboneError, match="added_tokens"):
        plain.serialize(looking(1)[0])
    without_box = random_trajectory(torch.Generator().manual_seed(0), "boxless", calls=1)
    with pytest.raises(DataError, match="'boxless': step 1 looks at a picture, but has no box"):
        LatentVLM(backbone, jv.NextToken(view=view)).serialize(without_box)
    for which in (-1, len(without_box.images)):
        box = jv.ToolCall("crop", {}, jv.Box(0.0, 0.0, 0.5, 0.5, relative=True), image=which)
        step, answer = without_box.steps
        wrong = replace(without_box, steps=(replace(step, call=box), answer))
        collator = LatentVLM(backbone, jv.NextToken(view=view)).collator()
        with pytest.raises(DataError, match=f"step 1 calls a tool on image {which}, counted from 0"):
            collator([wrong])
    hostile = jv.Trajectory("h", without_box.images, "a <|latent_start|> b", (jv.Step("x"),), answer="x")
    with pytest.raises(DataError, match="special token"):
        LatentVLM(backbone, jv.NextToken(view=view)).serialize(hostile)
    onevision = jv.load_backbone("tiny-random-llava-onevision")
    borders = LatentConversation(PooledFeatures(), start="<|im_start|>", end="<|im_end|>")
    with pytest.raises(BackboneError, match="single images"):
        LatentVLM(onevision, jv.NextToken(view=borders)).serialize(without_box)
