"""Packed sequences without gradient run once for an accumulation window, and the gradient stays the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import jepa_vlm as jv
from jepa_vlm.conformance import Subject
from jepa_vlm.engine import Batch
from jepa_vlm.engine.attention import kernel_indices
from jepa_vlm.engine.batch import Layout, PackedSequence, SoftTokens, Suffix
from jepa_vlm.engine.join import join
from jepa_vlm.engine.planner import latent_tokens
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.terms import Denominator, Term, TermValue
from jepa_vlm.views import Request
from tests.engine.kernel import Kernel
from tests.factories import gradients_of, lora_backbone, pearl_objective, question_prediction, random_trajectory


class Drift(Term):
    """A term of one's own: how far each token of the question is from where the detached trajectory's tokens are."""

    name = "drift"

    def _requests(self) -> tuple[Request, Request]:
        detached = Request(jv.views.TrajectoryOnly(), policy=jv.stop_gradient())
        return Request(jv.views.Question(), at="mean"), detached

    def requests(self) -> tuple[Request, ...]:
        return self._requests()

    def denominator(self) -> Denominator:
        return Denominator("examples")

    def forward(self, states: Any) -> TermValue:
        question, trajectory = self._requests()
        region = states.regions[trajectory]
        assert not region.hidden.requires_grad
        goal = (region.hidden + region.inputs.detach()).new_zeros(states.latents[question].shape)
        goal = goal.index_add(0, region.document, region.hidden + region.inputs.detach())
        return TermValue((states.latents[question] - goal).pow(2).sum())


OBJECTIVES: dict[str, Callable[[], Any]] = {
    "pearl": lambda: pearl_objective(horizon=2),
    "a mean": lambda: jv.NextToken() + question_prediction(jv.stop_gradient(), readout="mean", context="none"),
    "frozen and ema": lambda: (
        jv.NextToken()
        + question_prediction(jv.frozen(), readout="last_token", context="none")
        + question_prediction(jv.ema(0.9), readout="mean", context="image")
    ),
    "views that share a prefix": lambda: (
        question_prediction(jv.frozen(), readout="last_token", context="image")
        + question_prediction(jv.frozen(), readout="turn_end", context="question")
    ),
    "a region": lambda: jv.NextToken() + Drift(),
}


def window(model: LatentVLM, sizes: tuple[int, ...] = (2, 1, 3), *, seed: int = 7) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    collate = model.collator()
    return [collate([random_trajectory(generator, f"{i}") for i in range(size)]) for size in sizes]


def gradients(model: LatentVLM, batches: list[dict[str, Any]]) -> dict[str, Tensor]:
    model.zero_grad()
    counts = {name: sum(batch.counts[name] for batch in batches) for name in batches[0].counts}
    for batch in batches:
        model(batch, counts).total.backward()
    return gradients_of(model)


def made(objective: Any, **options: Any) -> LatentVLM:
    model = LatentVLM(lora_backbone(torch.float64), objective, **options)
    for average in model.target_weights.buffers():
        average.mul_(0.5)
    return model


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_an_accumulation_window_are_the_same_when_targets_run_ahead(
    name: str, checkpointing: bool, pure_float64: None
) -> None:
    model = made(OBJECTIVES[name]())
    if checkpointing:
        model.activation_checkpointing_enable()
    batches = window(model)
    plain, found = gradients(model, batches), gradients(model, model.run_ahead(batches))
    assert plain.keys() == found.keys()
    for parameter, gradient in plain.items():
        assert (found[parameter] - gradient).norm() <= 1e-9 * gradient.norm(), parameter


def test_gradients_of_an_accumulation_window_are_the_same_on_the_kernel(kernel: Kernel, pure_float64: None) -> None:
    model = made(OBJECTIVES["views that share a prefix"]())
    batches = window(model)
    assert any(batch.sequences["frozen"].layout.suffixes for batch in batches)
    plain, found = gradients(model, batches), gradients(model, model.run_ahead(batches))
    for parameter, gradient in plain.items():
        assert (found[parameter] - gradient).norm() <= 1e-9 * gradient.norm(), parameter


def test_deeper_features_stay_with_their_tokens() -> None:
    """Qwen3-VL's decoder is handed them by the order of the tokens; suffixes with images lie behind all segments."""
    subject = Subject.load("tiny-random-qwen3-vl", torch.float64)
    model = LatentVLM(subject.backbone, OBJECTIVES["views that share a prefix"]())
    batches = window(model, (2, 1), seed=2)
    with subject.exact():
        plain, found = gradients(model, batches), gradients(model, model.run_ahead(batches))
    for parameter, gradient in plain.items():
        assert (found[parameter] - gradient).norm() <= 1e-9 * gradient.norm(), parameter


def rows_run(model: LatentVLM, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the length of each row that the decoder runs."""
    lengths: list[int] = []
    stock = type(model.backbone.adapter).decode

    def counted(self: Any, base: Any, inputs: Tensor, *rest: Any) -> Tensor:
        lengths.append(len(inputs))
        return stock(self, base, inputs, *rest)

    monkeypatch.setattr(type(model.backbone.adapter), "decode", counted)
    return lengths


def test_one_packed_sequence_runs_for_the_whole_window(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(pearl_objective())
    batches = window(model)
    lengths = {name: [len(batch.sequences[name].input_ids) for batch in batches] for name in ("current", "gradient")}
    seen = rows_run(model, monkeypatch)
    ready = model.run_ahead(batches)
    assert seen == [sum(lengths["current"])]
    gradients(model, ready)
    assert seen[1:] == lengths["gradient"]


def test_the_vision_tower_runs_once_and_only_states_that_are_read_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(pearl_objective())
    batches = window(model)
    calls: list[Any] = []
    stock = type(model.backbone.adapter).encode_images
    monkeypatch.setattr(
        type(model.backbone.adapter), "encode_images", lambda *given: calls.append(given) or stock(*given)
    )
    ready = model.run_ahead(batches)
    gradients(model, ready)
    assert len(calls) == len(batches)
    for batch in ready:
        (kept,) = batch.ahead.read.values()
        assert kept.hidden.shape == (len(batch), model.backbone.dim)
        assert kept.hidden.untyped_storage().nbytes() == kept.hidden.nbytes  # not a view that keeps the row alive
        assert not batch.ahead.features.requires_grad


@pytest.mark.parametrize("case", ["separate", "tower trains", "nothing detached", "one batch"])
def test_batches_without_shared_work_are_left_unchanged(case: str) -> None:
    objective = jv.NextToken() if case == "nothing detached" else pearl_objective()
    model = made(objective, engine="separate" if case == "separate" else "one_pass")
    if case == "tower trains":
        model.backbone.adapter.vision(model.backbone.base).requires_grad_(True)
    batches = window(model, (2,) if case == "one batch" else (1, 2))
    assert all(batch.ahead is None for batch in model.run_ahead(batches))


def test_joined_packed_sequences_by_hand() -> None:
    def row(ids: list[int], layout: Layout, image_at: list[int], slot_at: list[int]) -> PackedSequence:
        tokens = torch.tensor(ids)
        own = SoftTokens(torch.tensor(slot_at), torch.arange(len(slot_at)))
        return PackedSequence(
            input_ids=tokens,
            positions=torch.stack([tokens, tokens + 1]),
            groups=torch.tensor([0 if place in image_at else -1 for place in range(len(ids))]),
            image_at=torch.tensor(image_at),
            image_rows=torch.arange(len(image_at)),
            soft_tokens={"one": own} if slot_at else {},
            latent=latent_tokens([]),
            layout=layout,
            indices=kernel_indices(layout),
        )

    one = row([10, 11, 12, 13, 14], Layout((2, 1), (Suffix(0, 2, 2),)), [1, 3], [4])
    other = row([20, 21, 22, 23, 24], Layout((2,), (Suffix(0, 1, 2), Suffix(0, 2, 1))), [0, 4], [])
    joined, (first, second) = join([one, other], [6, 4])
    assert joined.input_ids.tolist() == [10, 11, 12, 20, 21, 13, 14, 22, 23, 24]
    assert joined.positions[1].tolist() == [11, 12, 13, 21, 22, 14, 15, 23, 24, 25]
    assert joined.layout == Layout((2, 1, 2), (Suffix(0, 2, 2), Suffix(3, 1, 2), Suffix(3, 2, 1)))
    assert joined.groups.tolist() == [-1, 0, -1, 1, -1, 0, -1, -1, -1, 1]
    assert joined.image_at.tolist() == [1, 3, 5, 9]  # in the order of the tokens, not of the rows
    assert joined.image_rows.tolist() == [0, 6, 1, 7]
    found = joined.soft_tokens["one"]
    assert (found.at.tolist(), found.rows.tolist()) == ([6], [0])
    assert first(torch.arange(5)).tolist() == [0, 1, 2, 5, 6]
    assert second(torch.arange(5)).tolist() == [3, 4, 7, 8, 9]
