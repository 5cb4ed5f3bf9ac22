"""Experts are distilled at their expert tokens: by hand, by both engines, and on held-out trajectories."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.contrib.covt import (
    AsAnswer,
    BehindImages,
    Expert,
    ExpertDistillation,
    ExpertHead,
    ExpertTarget,
    MeanLoss,
    PaddedConversation,
    Pads,
    Seen,
    SomeKinds,
    true_depth,
    true_edges,
    true_segmentation,
)
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.states import Head, RegionStates, States
from jepa_vlm.training import apply_lora

TINY = "tiny-random-qwen2.5-vl"
A, B = Pads("<|a|>", 1), Pads("<|b|>", 1)


class Twice(ExpertHead):
    """Answers with the state times a weight of 2."""

    def setup(self, dim, generator):
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, states):
        return self.weight * states


class Given(ExpertTarget):
    """Knows what it is handed."""

    @property
    def inputs(self):
        return len

    def __call__(self, inputs):
        assert not torch.is_grad_enabled()
        return Seen(inputs)


def hand_made(name, pads, power, weight):
    return Expert(name=name, pads=pads, target=Given(), head=Twice(), loss=MeanLoss(power=power), weight=weight)


def test_loss_of_two_expert_tokens_by_hand():
    view = PaddedConversation(pads=(A, B))
    term = ExpertDistillation(view=view, experts=[hand_made("one", A, 1, 0.5), hand_made("two", B, 2, 3.0)])
    term.setup(2, torch.Generator())
    (request,) = term.requests()
    hidden = torch.tensor([[1.0, -1.0], [0.5, 0.0]], requires_grad=True)  # at <|a|>, at <|b|>
    region = RegionStates(hidden, torch.tensor([7, 8]), torch.tensor([0, 0]), hidden)
    inputs = {
        **{"one": torch.tensor([[[1.0, 1.0]]]), "at.one": torch.tensor([[0]])},
        **{"two": torch.tensor([[[0.0, 2.0]]]), "at.two": torch.tensor([[1]])},
    }
    states = States({}, {request: region}, Head(torch.eye(2)), extra={term.name: inputs})
    value = term(states)
    # one: 2h = (2, -2), off by (1, 3), mean 2, times 0.5; two: 2h = (1, 0), off by (1, 2), squares' mean 2.5, times 3
    assert value.total.item() == pytest.approx(1.0 + 7.5)
    assert {name: part.item() for name, part in value.parts.items()} == {"one": 1.0, "two": 7.5}
    assert (value.each.tolist(), value.document.tolist()) == ([1.0, 7.5], [0, 0])  # both of one example
    value.total.backward()
    # d one / dh = 0.5 * sign / 2 * 2; d two / dh = 3 * (2 * off / 2) * 2
    torch.testing.assert_close(hidden.grad, torch.tensor([[0.5, -0.5], [6.0, -12.0]]))


def test_loss_of_some_of_the_expert_tokens_by_hand():
    view = PaddedConversation(pads=(A, B), kinds=SomeKinds())
    term = ExpertDistillation(view=view, experts=[hand_made("one", A, 1, 0.5), hand_made("two", B, 2, 3.0)])
    term.setup(2, torch.Generator())
    (request,) = term.requests()
    hidden = torch.tensor([[0.0, 0.5], [1.0, -1.0]], requires_grad=True)  # at <|b|> of one example, of another
    region = RegionStates(hidden, torch.tensor([8, 8]), torch.tensor([0, 2]), hidden)
    inputs = {"two": torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]]), "at.two": torch.tensor([[0], [1]])}
    value = term(States({}, {request: region}, Head(torch.eye(2)), extra={term.name: inputs}))
    # two: 2h = (0, 1), off by (0, 1), squares' mean 0.5; 2h = (2, -2), off by (0, -2), 2; 2.5 times 3; one: no example
    assert {name: part.item() for name, part in value.parts.items()} == {"one": 0.0, "two": 7.5}
    assert (value.each.tolist(), value.document.tolist()) == ([1.5, 6.0], [0, 2])
    value.total.backward()
    assert [expert.head.weight.grad is not None for expert in term.experts.values()] == [True, True]


def test_loss_against_the_target_of_another_example_by_hand():
    term = ExpertDistillation(view=PaddedConversation(pads=(A,)), experts=[hand_made("one", A, 1, 0.5)])
    term.setup(2, torch.Generator())
    (request,) = term.requests()
    hidden = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0]])
    region = RegionStates(hidden, torch.arange(3), torch.arange(3), hidden)
    extra = {"one": torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]], [[0.0, 4.0]]]), "at.one": torch.arange(3)[:, None]}
    plain = term(States({}, {request: region}, Head(torch.eye(2)), extra={term.name: extra}))
    assert plain.shuffled == {}
    others = {"other.one": torch.tensor([[[0.0, 4.0]], [[2.0, 0.0]]]), "other.at.one": torch.tensor([0, 2])}
    value = term(States({}, {request: region}, Head(torch.eye(2)), extra={term.name: {**extra, **others}}))
    found = value.shuffled["one"]
    # 2h = (2, 0) and (0, 2): off by (0, 0) and (0, 2) from the own, (2, 4) and (2, 2) from the other's; means, halved
    assert (found.matched.item(), found.shuffled.item(), found.count) == (0.5, 2.5, 2)
    assert value.total == plain.total


def test_expert_tokens_of_each_expert_are_found_among_all():
    pads = (true_segmentation().pads, true_depth().pads, true_edges().pads)
    view = PaddedConversation(pads=pads, kinds=SomeKinds(none=0.4))
    experts = [true_segmentation(), true_depth(), true_edges()]
    trajectories = jv.playground.trajectories("visual-search", count=12)
    found = ExpertDistillation(view=view, experts=experts).extra_inputs()(trajectories)
    chosen = [view.chosen(trajectory.id) for trajectory in trajectories]
    assert {len(own) for own in chosen} == {0, 1, 2, 3}
    owners = [
        (example, number) for example, own in enumerate(chosen) for number in own for _ in range(pads[number].count)
    ]
    for number, expert in enumerate(experts):
        at = found[f"at.{expert.name}"]
        asked = [example for example, own in enumerate(chosen) if number in own]
        assert [[owners[place] for place in row] for row in at.tolist()] == [
            [(example, number)] * expert.pads.count for example in asked
        ]
        read = [expert.target.inputs(trajectories[example].images[0]) for example in asked]
        assert torch.equal(found[expert.name], torch.stack(read))


@pytest.mark.usefixtures("pure_float64")
def test_the_loss_against_another_image_does_not_depend_on_the_batch():
    model = covt_model(dtype="float64").eval()
    trajectories = jv.playground.trajectories("visual-search", count=4)
    others = [trajectories[2], None, trajectories[3], trajectories[0]]
    collator = pickle.loads(pickle.dumps(model.collator()))
    with torch.no_grad():
        whole = model(collator(trajectories, others=others)).shuffled
        apart = [model(collator([t], others=[o])).shuffled for t, o in zip(trajectories, others, strict=True)]
    assert apart[1] == {}
    assert set(whole) == {f"expert_distillation/{name}" for name in ("segmentation", "depth", "edges")}
    for name, found in whole.items():
        parts = [one[name] for one in apart if one]
        assert found.count == len(parts) == 3
        torch.testing.assert_close(found.matched, sum(one.matched for one in parts), rtol=1e-9, atol=0)
        torch.testing.assert_close(found.shuffled, sum(one.shuffled for one in parts), rtol=1e-9, atol=0)
        assert found.shuffled != found.matched


def covt_model(*, engine="one_pass", dtype="float32", backbone=TINY, **parameters):
    recipe = jv.load_recipe("covt", **parameters)
    loaded = jv.load_backbone(backbone, dtype=dtype, added_tokens=recipe.added_tokens)
    apply_lora(loaded, jv.Lora(rank=4, alpha=8))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
                parameter.data = parameter.data.to(getattr(torch, dtype))
    return jv.LatentVLM(loaded, recipe.objective, engine=engine)


@pytest.mark.usefixtures("pure_float64")
@pytest.mark.parametrize("parameters", [{"supervised": False}, {"stages": "all", "sentences": True}])
def test_expert_distillation_in_one_pass_equals_separate_values_and_gradients(parameters):
    found = {}
    for engine in ("one_pass", "separate"):
        model = covt_model(engine=engine, dtype="float64", **parameters)
        terms = model(model.collator()(jv.playground.trajectories("sequential-crops", count=3)))
        terms.total.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        assert all(grad is not None and grad.any() for grad in gradients.values())
        found[engine] = {**terms.raw, **terms.parts, **gradients}
    for name, value in found["one_pass"].items():
        torch.testing.assert_close(value, found["separate"][name], rtol=1e-9, atol=1e-11, msg=name)


def test_expert_distillation_reads_the_states_at_the_expert_tokens():
    model = covt_model()
    trajectories = jv.playground.trajectories("visual-search", count=2)
    collator = pickle.loads(pickle.dumps(model.collator()))
    seen = {}

    def spy(module, args):
        seen["at"] = args[0]

    term = model.objective.terms["expert_distillation"]
    term.experts["depth"].register_forward_pre_hook(spy)
    model(collator(trajectories))
    adapter, base, processor = model.backbone.adapter, model.backbone.base, model.backbone.processor
    for number, trajectory in enumerate(trajectories):
        view = model.serialize(trajectory)["padded_conversation"]
        pads = (view.input_ids == model.backbone.added.ids["<|depth_pad|>"]).nonzero()[:, 0]
        assert len(pads) == 1
        images = adapter.collate_images([adapter.process_image(processor, i.load()) for i in trajectory.images])
        with torch.no_grad():
            fed = adapter.embed(base, view.input_ids)
            fed = fed.index_copy(0, view.image_tokens.nonzero()[:, 0], adapter.encode_images(base, images))
            expected = adapter.reference(base, view.input_ids, fed, view.image_tokens, images)
        torch.testing.assert_close(seen["at"][number], expected[pads], rtol=1e-4, atol=1e-4)


def test_expert_distillation_lowers_its_loss_on_held_out_trajectories():
    model = covt_model(backbone="tiny-qwen2.5-vl")
    collator = model.collator()
    held_out = collator(jv.playground.trajectories("visual-search", count=8, split="validation"))
    examples = jv.playground.trajectories("visual-search", count=80)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)

    def loss():
        with torch.no_grad():
            return model(held_out).raw["expert_distillation"].item()

    before = loss()
    for step in range(20):
        optimizer.zero_grad()
        model(collator(examples[4 * step : 4 * step + 4])).total.backward()
        optimizer.step()
    assert loss() < 0.8 * before


def test_borrowed_experts_share_their_heads():
    model = covt_model(stages="all")
    names = {name.split(".")[1] for name, _ in model.objective.named_parameters()}
    assert names == {"expert_distillation"}
    assert not any("expert_distillation_" in name for name in model.state_dict())
    first, *others = [term for _, term in model.objective.parts() if isinstance(term, ExpertDistillation)]
    assert len(others) == 3
    for other in others:
        assert all(one is own for one, own in zip(other._each(), first.experts.values(), strict=True))


def test_a_stage_computes_its_own_view_alone_and_trains_the_shared_heads():
    model = covt_model(stages="all")
    heads = list(model.objective.parameters())
    trajectories = jv.playground.trajectories("sequential-crops", count=3)
    for stage in jv.load_recipe("covt", stages="all").stages:
        without = set(model.objective.weights) - set(stage.terms)
        batch = model.collator()(trajectories, without=without)
        terms = model(batch)
        assert {name for name, value in terms.raw.items() if value.item()} == set(stage.terms)
        model.zero_grad()
        terms.total.backward()
        moved = [head.grad is not None and bool(head.grad.any()) for head in heads]
        assert all(moved) if stage.name != "words alone" else not any(moved)


def test_experts_that_cannot_be_borrowed_are_refused():
    depth, edges = true_depth(), true_edges()
    view = PaddedConversation(pads=(depth.pads,), place=BehindImages())
    borrower = ExpertDistillation(view=view, experts="expert_distillation")
    backbone = jv.load_backbone(TINY, added_tokens=view.tokens)
    for objective in (borrower, jv.NextToken() + borrower, borrower + borrower):
        with pytest.raises(ValueError, match=r"borrows the experts of .* add both"):
            jv.LatentVLM(backbone, objective)
    other = PaddedConversation(pads=(edges.pads,), place=AsAnswer(question="What?"))
    with pytest.raises(ValueError, match="in order"):
        jv.LatentVLM(backbone, ExpertDistillation(view=other, experts=[edges]) + borrower)


def test_view_and_experts_must_agree():
    depth, edges = true_depth(), true_edges()
    view = PaddedConversation(pads=(depth.pads, edges.pads))
    with pytest.raises(ValueError, match="in order"):
        ExpertDistillation(view=view, experts=[edges, depth])
    with pytest.raises(ValueError, match="in order"):
        ExpertDistillation(view=view, experts=[depth])
    with pytest.raises(ValueError, match="PaddedConversation"):
        ExpertDistillation(view=jv.views.Conversation(), experts=[depth])
    twin = Expert(name="depth", pads=edges.pads, target=edges.target, head=edges.head, loss=edges.loss)
    with pytest.raises(ValueError, match="different names"):
        ExpertDistillation(view=view, experts=[depth, twin])


def test_words_around_expert_tokens_belong_to_the_view_alone():
    segmentation = true_segmentation()
    told = replace(segmentation.pads, words="the masks are ")
    assert ExpertDistillation(view=PaddedConversation(pads=(told,)), experts=[segmentation])


def test_a_backbone_without_the_tokens_and_an_image_without_truth_are_refused():
    objective = jv.load_recipe("covt").objective
    plain = jv.LatentVLM(jv.load_backbone(TINY), objective)
    with pytest.raises(BackboneError, match=r"declare them.*added_tokens"):
        plain.collator()(jv.playground.trajectories("visual-search", count=1))
    model = covt_model()
    (maze,) = jv.playground.trajectories("maze", count=1)
    with pytest.raises(DataError, match=rf"{maze.id}.*no true segmentation"):
        model.collator()([maze])
