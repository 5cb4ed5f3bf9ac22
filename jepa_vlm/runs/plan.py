"""Everything a run needs, resolved and loaded, but not yet begun: what ``--dry-run`` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import chain, islice
from typing import Any, cast, final

import torch
from torch import nn
from transformers.integrations.integration_utils import get_available_reporting_integrations

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.cost import StepMemory
from jepa_vlm.errors import DataError, RecipeError, UnknownNameError
from jepa_vlm.evaluation import commit, versions
from jepa_vlm.generation.answering import ANSWERS
from jepa_vlm.generation.latent_feedback import marks
from jepa_vlm.latent_vlm import Engine, LatentVLM
from jepa_vlm.recipe import Recipe, load_recipe
from jepa_vlm.runs.data import RunData, load_data
from jepa_vlm.runs.environment import device, prepare
from jepa_vlm.runs.length import Fitted, fit, longest
from jepa_vlm.runs.memory import estimate_memory
from jepa_vlm.runs.settings import FROM_RECIPE, Asked, Resolved, run_values, training_values
from jepa_vlm.serialization import check_template
from jepa_vlm.terms import Objective
from jepa_vlm.training import Part, apply_lora, parts
from jepa_vlm.training.order import Passes
from jepa_vlm.training.token_budget import Filling, count_tokens, filling

SAMPLED = 32  # trajectories whose length a plan reports


@final
@dataclass(frozen=True)
class Plan:
    """A run before its first step.

    Args:
        asked: What the user said.
        values: Every value and its origin.
        recipe: With those values in place.
        backbone: Its adapter on.
        model: The backbone and the objective.
        data: As loaded.
        train, validation: What is left of it under the token limit.
        parts: What trains and what does not.
        tokens: Mean and largest length of the longest view, over the first training trajectories.
        decoded: Tokens that the decoder computes for each training trajectory, where micro-batches are cut by them.
        notes: What must be known before the run begins.
    """

    asked: Asked
    values: Mapping[str, Resolved]
    recipe: Recipe
    backbone: Backbone
    model: LatentVLM
    data: RunData
    train: Fitted
    validation: Fitted
    parts: tuple[Part, ...]
    tokens: Mapping[str, float]
    decoded: Sequence[int] | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    @cached_property
    def step(self) -> tuple[StepMemory | None, str]:
        """What a micro-batch of the longest of the first training trajectories takes; None, and why, if not known."""
        if self.decoded is not None:
            return None, "micro-batches are cut by tokens, and the estimate knows those of so many examples only"
        return estimate_memory(self.model, self.train.kept[:SAMPLED], batch_size=self["batch_size"])

    def memory(self) -> dict[str, int]:
        """Return bytes held throughout: weights, gradients and AdamW's two averages; and, where it can be estimated,
        the most that a micro-batch takes on top, and the total.
        """
        tensors = [*self.model.parameters(), *self.model.buffers()]
        trained = [p for p in self.model.parameters() if p.requires_grad]
        held = {
            "weights": sum(t.numel() * t.element_size() for t in tensors),
            "gradients": sum(p.numel() * p.element_size() for p in trained),
            "optimizer": sum(2 * p.numel() * p.element_size() for p in trained),
        }
        step, _ = self.step
        if step is not None:
            held["micro-batch"] = step.peak
            held["total"] = sum(held.values())
        return held

    @property
    def filling(self) -> Filling | None:
        """How ``batch_tokens`` cuts a pass over the training set, if it does."""
        if self.decoded is None:
            return None
        passes = Passes(examples=self.train.kept, seed=self["seed"])
        return filling(passes, self.decoded, budget=self["batch_tokens"])

    def config(self) -> dict[str, Any]:
        """Return what config.json holds: the values by name, and beside them what else defines the run."""
        return {
            **{name: asdict(value) for name, value in self.values.items()},
            "objective": str(self.model.objective),
            "terms": {term.name: f"{w:g} * {term!r}" for w, term in cast("Objective", self.recipe.objective).parts()},
            "inference": self.recipe.inference,
            "data_rule": self.data.rule,
            "data_digests": dict(self.data.digests),
            "examples": {"train": len(self.train.kept), "validation": len(self.validation.kept)},
            "dropped": [*self.train.dropped, *self.validation.dropped],
            "shrunk": [*self.train.shrunk, *self.validation.shrunk],
            "tokens": dict(self.tokens),
            "micro_batches": asdict(self.filling) if self.filling is not None else None,
            "memory": self.memory(),
            "parts": [asdict(part) for part in self.parts],
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "commit": commit(),
            "command": list(self.asked.command),
        }


def plan_run(asked: Asked, recipe: Recipe | None = None) -> Plan:
    """Resolve and load a run.

    Args:
        asked: What the user said.
        recipe: A composed one; None loads ``asked.recipe`` with ``asked.parameters``.

    Raises:
        JepaVLMError: If anything that is named does not exist or does not fit.
    """
    recipe = load_recipe(asked.recipe, **asked.parameters) if recipe is None else recipe
    _ = ANSWERS[recipe.inference]  # refused before training, not after
    _check_trackers(asked.report_to or ())
    seed = asked.seed or 0
    values = run_values(asked, gpu=torch.cuda.is_available())
    prepare(seed, backbone=values["backbone"].value)
    backbone = load_backbone(
        values["backbone"].value,
        seed=seed,
        dtype=values["dtype"].value,
        visual_tokens=values["visual_tokens"].value,
        quantize=values["quantize"].value,
        added_tokens=recipe.added_tokens,
    )
    if recipe.decoding is not None:
        marks(backbone, recipe.decoding)  # refused before training, not after
    values |= training_values(asked, recipe, backbone.profile)
    recipe = _in_place(recipe, values)
    nn.Module.to(backbone.model, device())
    apply_lora(backbone, recipe.lora, seed=seed, train=recipe.rates)
    model = LatentVLM(backbone, recipe.objective, engine=cast("Engine", recipe.engine), seed=seed)
    for store in model.target_stores.values():
        store.is_complete()  # refuses other targets' folders before any work is done
    data = load_data(values["data"].value, seed=seed)
    called = any(trajectory.calls for trajectory in islice(data.train, SAMPLED))
    notes = check_template(backbone.processor, backbone.adapter, calls=2 if called else 0)
    collator = model.collator()
    for trajectory in chain(data.train, data.validation):  # one at a time: they may not fit in memory
        collator.check(trajectory)
    limit, policy = values["max_tokens"].value, values["too_long"].value
    train = fit(model, data.train, limit=limit, policy=policy)
    validation = fit(model, data.validation, limit=limit, policy=policy)
    return Plan(
        asked=asked,
        values=values,
        recipe=recipe,
        backbone=backbone,
        model=model,
        data=data,
        train=train,
        validation=validation,
        parts=parts(backbone, model.objective),
        tokens=_lengths(model, train.kept),
        decoded=count_tokens(collator, train.kept, workers=values["workers"].value)
        if values["batch_tokens"].value is not None
        else None,
        notes=notes,
    )


def _check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that is not there before anything is written."""
    installed = get_available_reporting_integrations()
    for name in names:
        if name not in installed:
            raise UnknownNameError("tracker", name, known=installed, hint="Another one needs its package installed.")


def _in_place(recipe: Recipe, values: Mapping[str, Resolved]) -> Recipe:
    """Return the recipe with the resolved values, each checked again by the recipe itself."""
    lora = recipe.lora
    if lora is not None:
        lora = replace(lora, **{item.name: values[f"lora_{item.name}"].value for item in fields(lora)})
    try:
        return replace(recipe, lora=lora, **{name: values[name].value for name in FROM_RECIPE})
    except ValueError as err:
        raise RecipeError(str(err)) from None


def _lengths(model: LatentVLM, trajectories: Sequence[Any]) -> dict[str, float]:
    lengths = [longest(model, trajectory) for trajectory in trajectories[:SAMPLED]]
    if not lengths:
        raise DataError("The data set is empty; a run needs at least one trajectory to train on.")
    return {"mean": round(sum(lengths) / len(lengths), 1), "max": max(lengths), "of": len(lengths)}
