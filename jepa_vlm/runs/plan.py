"""Everything a run needs, resolved and loaded, but not yet begun: what ``--dry-run`` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import islice
from typing import Any, cast, final

import torch
from peft import PeftModel
from torch import nn
from transformers.integrations.integration_utils import get_available_reporting_integrations

from jepa_vlm.adapters import Backbone, Profile, load_backbone
from jepa_vlm.adapters.backbone import HALF
from jepa_vlm.adapters.inside_peft import belongs_to_adapter
from jepa_vlm.cost import MicroBatchSize, Shape, StepMemory, step_memory
from jepa_vlm.engine import TextEncoder
from jepa_vlm.engine.batch import PackedSequence
from jepa_vlm.errors import DataError, JepaVLMError, RecipeError, UnknownNameError
from jepa_vlm.evaluation import commit, versions
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import NextToken
from jepa_vlm.objectives.latent_reconstruction import feeding_head
from jepa_vlm.recipe import Recipe, load_recipe
from jepa_vlm.runs.data import RunData, load_data
from jepa_vlm.runs.environment import device, prepare, processes
from jepa_vlm.runs.scan import (
    Alone,
    Fitted,
    RowCounter,
    Scanned,
    TermRows,
    comparing_terms,
    count_alone,
    longest,
    scan,
    warnings,
)
from jepa_vlm.runs.settings import FROM_RECIPE, Resolved, RunSettings, run_values, training_values
from jepa_vlm.serialization import check_template
from jepa_vlm.terms import Objective
from jepa_vlm.training import Part, apply_lora, parts
from jepa_vlm.training.order import Filling, Passes, count_tokens, filling, micro_batch_starts
from jepa_vlm.training.term_schedule import TermSchedule
from jepa_vlm.trajectories import Trajectory

COMPOSED = "composed"  # recorded as the name of a recipe that is composed in Python
SAMPLED = 32  # trajectories whose length a plan reports


@final
@dataclass(frozen=True)
class Plan:
    """A run before its first step.

    Args:
        settings: What the user set.
        values: Every value and its origin.
        recipe: With those values in place.
        backbone: Its adapter on.
        model: The backbone and the objective.
        data: As loaded.
        scanned: What is used of it.
        parts: What trains and what does not.
        tokens: Mean and largest length of the longest view, over the first training trajectories.
        decoded: Tokens that the decoder computes for each training trajectory, where micro-batches are cut by them.
        term_rows: For each term that needs something of a trajectory, how many have it.
        alone: Micro-batches of one trajectory, where a term compares trajectories.
        notes: What must be known before the run begins.
    """

    settings: RunSettings
    values: Mapping[str, Resolved]
    recipe: Recipe
    backbone: Backbone
    model: LatentVLM
    data: RunData
    scanned: Scanned
    parts: tuple[Part, ...]
    tokens: Mapping[str, float]
    decoded: Sequence[int] | None = None
    term_rows: Mapping[str, TermRows] = field(default_factory=dict)
    alone: Alone | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    @property
    def train(self) -> Fitted:
        """Trajectories that the run trains on."""
        return self.scanned.train

    @property
    def validation(self) -> Fitted:
        """Held-out trajectories."""
        return self.scanned.validation

    @cached_property
    def step(self) -> tuple[StepMemory | None, str]:
        """Memory of a micro-batch of the longest of the first training trajectories; None and why if not known."""
        if self.decoded is not None:
            return None, "micro-batches are cut by tokens, and the estimate knows those of so many examples only"
        return estimate_memory(self.model, self.train.kept[:SAMPLED], batch_size=self["batch_size"])

    def memory(self) -> dict[str, int]:
        """Return bytes held throughout: weights, gradients and AdamW's two averages; the copies in half precision that
        autocast makes of what trains in full; and, where it can be estimated, the most that a micro-batch takes on top,
        and the total.
        """
        tensors = [*self.model.parameters(), *self.model.buffers()]
        trained = [p for p in self.model.parameters() if p.requires_grad]
        held = {
            "weights": sum(t.numel() * t.element_size() for t in tensors),
            "gradients": sum(p.numel() * p.element_size() for p in trained),
            "optimizer": sum(2 * p.numel() * p.element_size() for p in trained),
        }
        if self.backbone.dtype in HALF and (copied := in_full(self.model)):
            held["half-precision copies"] = sum(p.numel() * self.backbone.dtype.itemsize for p in copied)
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

    @property
    def warnings(self) -> list[str]:
        """Warnings about terms that data, micro-batches or steps do not suit."""
        never = [
            f"{name} is computed in none of the {self['steps']} steps, by loss dropout or its stage's share; give more"
            for name in self.schedule.never()
        ]
        return [*warnings(self.term_rows), *(self.alone.warnings if self.alone is not None else []), *never]

    @property
    def schedule(self) -> TermSchedule:
        """Which terms each step computes."""
        stages = self.recipe.stages
        return TermSchedule.of(self.model.objective, stages=stages, steps=self["steps"], seed=self["seed"])

    def config(self) -> dict[str, Any]:
        """Return what config.json holds: the values by name, and beside them what else defines the run."""
        return {
            **{name: _recorded(value) for name, value in self.values.items()},
            "overruled": {name: _recorded(one.over) for name, one in self.values.items() if one.over is not None},
            "objective": str(self.model.objective),
            "terms": {term.name: f"{w:g} * {term!r}" for w, term in cast("Objective", self.recipe.objective).parts()},
            "inference": self.recipe.answering.name,
            "data_rule": self.data.rule,
            "data_digests": dict(self.data.digests),
            "examples": {"train": len(self.train.kept), "validation": len(self.validation.kept)},
            "dropped": [*self.train.dropped, *self.validation.dropped],
            "shrunk": [*self.train.shrunk, *self.validation.shrunk],
            "bad_rows": dict(self.scanned.sources),
            "tokens": dict(self.tokens),
            "micro_batches": asdict(self.filling) if self.filling is not None else None,
            "term_rows": {name: asdict(one) for name, one in self.term_rows.items()},
            "micro_batches_of_one": asdict(self.alone) if self.alone is not None else None,
            "memory": self.memory(),
            "parts": [asdict(part) for part in self.parts],
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "commit": commit(),
            "command": list(self.settings.command),
        }


def plan_run(recipe: Recipe | str, settings: RunSettings) -> Plan:
    """Resolve and load a run.

    Args:
        recipe: A recipe, or the name or file of one, which is loaded with ``settings.parameters``.
        settings: What the user sets.

    Raises:
        JepaVLMError: If anything that is named does not exist or does not fit.
    """
    name = recipe if isinstance(recipe, str) else COMPOSED
    recipe = load_recipe(recipe, **(settings.parameters or {})) if isinstance(recipe, str) else recipe
    _check_trackers(settings.report_to or ())
    values = run_values(name, settings, gpu=torch.cuda.is_available())
    seed = values["seed"].value
    prepare(seed, backbone=values["backbone"].value)
    backbone = _load(recipe, recipe.rates if settings.rates is None else settings.rates, values)
    recipe.answering.check(backbone)  # refused before training, not after
    values |= training_values(settings, recipe, _profile(backbone, recipe))
    recipe = _in_place(recipe, values)
    nn.Module.to(backbone.model, device())
    apply_lora(backbone, recipe.lora, seed=seed, train=recipe.rates)
    model = LatentVLM(backbone, recipe.objective, engine=str(recipe.engine), seed=seed)
    if recipe.answering.head is not None:
        backbone.latent_head = feeding_head(model.objective)
    for store in model.target_stores.values():
        store.is_complete()  # refuses other targets' folders before any work is done
    data = load_data(values["data"].value, seed=seed)
    notes = check_template(backbone.processor, backbone.adapter, calls=0)
    rows = RowCounter(model.objective)
    scanned = scan(model, data, limit=values["max_tokens"].value, policy=values["too_long"].value, count=rows.add)
    train, validation = scanned.train.kept, scanned.validation.kept
    if any(trajectory.calls for trajectory in islice(train, SAMPLED)):
        check_template(backbone.processor, backbone.adapter, calls=2)
    decoded = None
    if values["batch_tokens"].value is not None:
        decoded = count_tokens(model.collator(), train, workers=values["workers"].value)
    return Plan(
        settings=settings,
        values=values,
        recipe=recipe,
        backbone=backbone,
        model=model,
        data=data,
        scanned=scanned,
        parts=parts(backbone, model.objective),
        tokens=_lengths(model, train),
        decoded=decoded,
        term_rows=rows.found(recipe.stages),
        alone=_alone(model.objective, values, train, validation, decoded),
        notes=notes,
    )


def _alone(
    objective: Objective,
    values: Mapping[str, Resolved],
    train: Sequence[Trajectory],
    validation: Sequence[Trajectory],
    decoded: Sequence[int] | None,
) -> Alone | None:
    """Return how many of the run's micro-batches hold one trajectory, where that matters."""
    if not (terms := comparing_terms(objective)):
        return None
    steps, accumulation, size, budget = (
        values[name].value for name in ("steps", "accumulation", "batch_size", "batch_tokens")
    )
    starts = micro_batch_starts(
        Passes(examples=train, seed=values["seed"].value),
        micro_batches=steps * accumulation * processes(),
        batch_size=size,
        tokens=decoded,
        budget=budget,
    )
    return count_alone(terms, starts=starts, examples=len(train), held_out=len(validation) // processes())


def _recorded(value: Resolved) -> dict[str, Any]:
    return {"value": value.value, "origin": value.origin}


def _load(recipe: Recipe, rates: Mapping[str, float], values: Mapping[str, Resolved]) -> Backbone:
    names = ("seed", "dtype", "visual_tokens", "quantize")
    in_full = recipe.lora is None or set(rates) != {"language"}
    return load_backbone(
        values["backbone"].value,
        **{name: values[name].value for name in names},
        exact=in_full and not values["quantize"].value,
        added_tokens=recipe.added_tokens,
    )


def _profile(backbone: Backbone, recipe: Recipe) -> Profile:
    """Return the backbone's profile, with the rate of its own for recipes that answer behind latent steps alone."""
    profile = backbone.profile
    if not recipe.answering.forced or profile.forced_learning_rate is None:
        return profile
    return replace(profile, learning_rate=profile.forced_learning_rate)


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


def estimate_memory(
    model: LatentVLM, trajectories: Sequence[Trajectory], *, batch_size: int
) -> tuple[StepMemory | None, str]:
    """Return what a micro-batch of the longest of these trajectories takes, or None and why it is not known.

    Args:
        model: Its adapter on.
        trajectories: A sample of the data.
        batch_size: Examples of a micro-batch; fewer if the sample is smaller.
    """
    if not isinstance(model.backbone.model, PeftModel):
        return None, "the estimate knows adapters only, and this decoder is trained in full"
    if in_full(model):
        return None, "the estimate knows adapters only, and the vision tower or the projector trains in full"
    if model.backbone.added is not None:
        return None, "the estimate does not know the rows of added tokens, for which the vocabulary is copied"
    if not model.engine.shares_passes:
        return None, "the estimate knows the one-pass engine only"
    if any(isinstance(module, TextEncoder) for module in model.objective.modules()):
        return None, "the estimate knows the backbone only, and this objective has a text encoder beside it"
    config: Any = model.backbone.model.peft_config["default"]
    largest = sorted(trajectories, key=lambda trajectory: -longest(model, trajectory))[:batch_size]
    try:
        shape, batch = Shape.of(model.config, lora_rank=config.r), micro_batch(model, largest)
    except (ValueError, JepaVLMError) as err:
        return None, str(err)
    chunks = [term.chunk for _, term in model.objective.parts() if isinstance(term, NextToken)]
    estimate = step_memory(
        shape,
        batch,
        width=next(model.backbone.base.parameters()).element_size(),
        chunk=max(chunks, default=1),
        checkpointing=model.is_activation_checkpointing,
    )
    return estimate, ""


def in_full(model: LatentVLM) -> list[nn.Parameter]:
    """Return the backbone's parameters that train and are no adapter's."""
    named = model.backbone.base.named_parameters()
    return [p for name, p in named if p.requires_grad and not belongs_to_adapter(name)]


def micro_batch(model: LatentVLM, trajectories: Sequence[Trajectory]) -> MicroBatchSize:
    """Return the sizes of what a one-pass model computes of these trajectories at once, whatever its objective."""
    batch = model.collator()(trajectories)
    lengths = {name: len(row) for name, row in batch.sequences.items()}
    regions = [
        (request.at == "supervised", len(read.index)) for request, read in batch.reads.items() if not request.reads_one
    ]
    return MicroBatchSize(
        tokens=lengths.get("gradient", 0),
        seen=_seen(batch.sequences.get("gradient")),
        detached=max((length for name, length in lengths.items() if name != "gradient"), default=0),
        supervised=sum(length for supervised, length in regions if supervised),
        states=sum(length for supervised, length in regions if not supervised),
        patches=len(batch.images["pixel_values"]),
    )


def _seen(row: PackedSequence | None) -> int:
    return 0 if row is None else sum(suffix.prefix + suffix.length for suffix in row.layout.suffixes)
