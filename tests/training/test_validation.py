"""Validation is the same however the set is cut into batches and over processes: by hand, and on tiny models."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

import jepa_vlm as jv
from jepa_vlm.latent_vlm import LossTerms
from jepa_vlm.terms import Shuffled
from jepa_vlm.training import validation
from jepa_vlm.training.monitors import latent_figures, within_kinds
from jepa_vlm.training.validation import Validation
from jepa_vlm.trajectories import LazyImage, Step, Trajectory
from jepa_vlm.trajectories.rows import Mixture, Source
from tests.factories import lora_backbone, pearl_objective

TASKS = "aabbbaac"


def example(number: int, task: str) -> Trajectory:
    image = LazyImage(pixels=Image.new("RGB", (8, 8)))
    return Trajectory(str(number), (image,), "What?", (Step("red"),), "red", task=task)


class Given(nn.Module):
    """A model whose states are given: a latent of each example, a few slots of each, and what others' maps cost."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(1))
        draw = torch.Generator().manual_seed(0)
        self.predicted, self.target = torch.randn(2, 8, 4, generator=draw, dtype=torch.float64).unbind()
        self.slots = [torch.randn(i % 3, 4, generator=draw, dtype=torch.float64) for i in range(8)]
        weights = {"prediction": 1.0, "slots": 0.5, "experts": 1.0}
        terms = [(weight, SimpleNamespace(name=name, by_direction=False)) for name, weight in weights.items()]
        self.objective = SimpleNamespace(weights=weights, parts=lambda: terms)

    def collate(self, trajectories, others):
        return SimpleNamespace(
            ids=[int(one.id) for one in trajectories], others=[other and int(other.id) for other in others]
        )

    def forward(self, batch):
        ids = torch.tensor(batch.ids)
        pairs = [(i, other) for i, other in zip(batch.ids, batch.others, strict=True) if other is not None]
        costs = [torch.tensor([float(one), 10.0 * other]) for one, other in pairs]
        slots = torch.cat([self.slots[i] for i in batch.ids])
        document = torch.cat([torch.full((len(self.slots[i]),), at) for at, i in enumerate(batch.ids)])
        return LossTerms(
            torch.zeros(()),
            {},
            {},
            {"prediction": ids.sum(), "slots": slots.sum(), "experts": ids.sum()},
            {"prediction": len(ids), "slots": len(slots), "experts": len(ids)},
            latents={"prediction": (self.predicted[ids], self.target[ids]), "slots": (slots, 2 * slots)},
            documents={"slots": document},
            shuffled={"experts/depth": Shuffled(*sum(costs), len(pairs))} if pairs else {},
        )


def validated(monkeypatch, examples, *, batch_size, processes=1):
    """Return what the first of several processes finds, with what the others would hand over."""
    model = Given()
    run = Validation(examples=examples, collator=model.collate, batch_size=batch_size)
    if processes == 1:
        return run(model, Accelerator(cpu=True))
    handed = [[] for _ in range(processes)]  # by process, of each source
    cpu = torch.device("cpu")
    places = [SimpleNamespace(process_index=i, num_processes=processes, device=cpu) for i in range(processes)]
    for place, own in zip(places, handed, strict=True):
        monkeypatch.setattr(validation, "gather_object", lambda found, own=own: own.extend(found) or found)
        run(model, place)
    whole = iter(list(zip(*handed, strict=True)))
    monkeypatch.setattr(validation, "gather_object", lambda found: list(next(whole)))
    return run(model, places[0])


def same(found, expected):
    for name, figures in expected["monitors"].items():
        assert found["monitors"][name] == pytest.approx(figures, rel=1e-12), name
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    for name, term in expected["terms"].items():
        assert found["terms"][name] == pytest.approx(term, rel=1e-12), name


@pytest.mark.parametrize(("batch_size", "processes"), [(1, 1), (3, 1), (8, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("mixed", [False, True])
def test_no_figure_depends_on_batches_or_processes(monkeypatch, mixed, batch_size, processes):
    examples = [example(i, task) for i, task in enumerate(TASKS)]
    given = Mixture([Source("x", examples[:5]), Source("y", examples[5:])]) if mixed else examples
    found = validated(monkeypatch, given, batch_size=batch_size, processes=processes)
    same(found, validated(monkeypatch, given, batch_size=5))
    kinds = [f"{'xxxxxyyy'[i]} {task}" if mixed else task for i, task in enumerate(TASKS)]
    model = Given()
    expected = latent_figures(model.predicted, model.target) | within_kinds(model.predicted, model.target, kinds)
    assert found["monitors"]["prediction"] == pytest.approx(expected, rel=1e-12)
    # Examples 1 and 5 (a), 2 and 4 (b) and 7 (c) have a first slot, 2 and 5 a second one; 1 and 5 are of two sources.
    slots = found["monitors"]["slots"]
    assert (slots["kinds"], slots["compared"], slots["alone"]) == ((1, 2, 5) if mixed else (2, 4, 3))
    # Held against the next of their kind: 0 -> 1 -> 5 -> 6 -> 0 and 2 -> 3 -> 4 -> 2, or 0 -> 1 -> 0, 5 -> 6 -> 5.
    experts = {"matched_loss_depth": 21 / 7, "shuffled_loss_depth": 210 / 7, "compared_depth": 7}
    assert found["monitors"]["experts"] == experts


def test_of_more_examples_those_that_lie_evenly_are_watched(monkeypatch):
    monkeypatch.setattr(validation, "ROWS", 4)
    examples = [example(i, task) for i, task in enumerate(TASKS)]
    model, odd = Given(), [1, 3, 5, 7]
    for batch_size in (1, 3):
        found = validated(monkeypatch, examples, batch_size=batch_size)
        expected = latent_figures(model.predicted[odd], model.target[odd])
        assert {key: found["monitors"]["prediction"][key] for key in expected} == pytest.approx(expected)
        assert found["terms"]["prediction"]["count"] == 8  # losses are of all


def test_a_model_s_figures_do_not_depend_on_its_batches():
    model = jv.LatentVLM(lora_backbone(torch.float64), pearl_objective())
    examples = jv.playground.trajectories("visual-search", count=7, split="validation")
    found = [
        Validation(examples=examples, collator=model.collator(), batch_size=size)(model, Accelerator(cpu=True))
        for size in (7, 2)
    ]
    one, other = (each["monitors"]["latent_prediction"] for each in found)
    assert one == pytest.approx(other, rel=1e-9)
    assert one["compared"] + one["alone"] == 7
    assert one["kinds"] > 1


def test_no_batch_is_of_one_example_where_there_are_two():
    assert validation._batches(5, 2) == [[0, 1], [2, 3, 4]]
    assert validation._batches(6, 4) == [[0, 1, 2, 3], [4, 5]]
    assert (validation._batches(1, 4), validation._batches(0, 4)) == ([[0]], [])
