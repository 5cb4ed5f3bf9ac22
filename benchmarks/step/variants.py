"""The steps that are compared: functions from a ``Setting`` to a ``Step``, registered by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import torch
from accelerate.utils import send_to_device

from benchmarks.shapes import LATENT_END, LATENT_START
from benchmarks.step.baselines import on_meta, pearl_released, sft_stock
from benchmarks.step.training_step import Setting, Step
from jepa_vlm.adapters.inside_peft import without_input_casts
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentPrediction, LatentReconstruction, NextToken, Objective, Term
from jepa_vlm.recipe import load_recipe
from jepa_vlm.registry import Registry
from jepa_vlm.serialization.target_store import target_digests
from jepa_vlm.training.target_filling import fill_store
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import LatentConversation, RegionFeatures, TargetPolicy, cached

VARIANTS: Registry[Callable[[Setting], Step]] = Registry("variant", hint="Add one in benchmarks/step/variants.py.")
LATENT_WEIGHT = 0.1  # the recipe lvr's
ON_DEVICE_ONLY = ("pearl_separate",)  # reads values of tensors; the meta device has none

VARIANTS.register("sft_stock")(sft_stock)
VARIANTS.register("pearl_released")(pearl_released)


@VARIANTS.register("sft")
def sft(setting: Setting) -> Step:
    """Return the next-token step of this package."""
    return step_of(setting, NextToken())


@VARIANTS.register("pearl")
def pearl(setting: Setting) -> Step:
    """Return the exact one-pass Pearl step."""
    return step_of(setting, pearl_objective())


@VARIANTS.register("pearl_cached")
def pearl_cached(setting: Setting) -> Step:
    """Return the Pearl step with targets of the frozen base, computed beforehand and read with the batch."""
    with TemporaryDirectory() as folder:
        return step_of(setting, with_target_policy(pearl_objective(), cached(folder)))


@VARIANTS.register("pearl_separate")
def pearl_separate(setting: Setting) -> Step:
    """Return the Pearl step of the reference engine, one pass for each view of each example."""
    return step_of(setting, pearl_objective(), engine="separate")


@VARIANTS.register("lvr")
def lvr(setting: Setting) -> Step:
    """Return the step of LVR: regions are reconstructed in latent tokens, which replace tool pictures."""
    return step_of(setting, lvr_objective())


def lvr_objective() -> Objective:
    """Return the objective of the recipe ``lvr``, with two start and end tokens that the suite's vocabulary has."""
    view = LatentConversation(RegionFeatures(), start=LATENT_START, end=LATENT_END)
    return NextToken(view=view) + LATENT_WEIGHT * LatentReconstruction(view=view)


def pearl_objective() -> Objective | Term:
    """Return the objective of the recipe ``pearl``."""
    return load_recipe("pearl").objective


def with_target_policy(objective: Objective | Term, policy: TargetPolicy) -> Objective:
    """Return the objective with another target policy in its latent predictions."""
    whole = objective if isinstance(objective, Objective) else 1.0 * objective

    def changed(term: Term) -> Term:
        if not isinstance(term, LatentPrediction):
            return term
        return LatentPrediction(
            context=term.context,
            predictor=term.predictor,
            target=ViewEncoder(term.target.view, readout=term.target.readout, policy=policy),
            loss=term.loss,
            loss_dropout=term.loss_dropout,
        )

    return Objective(tuple((weight, changed(term)) for weight, term in whole.parts()))


def step_of(setting: Setting, objective: Objective | Term, *, engine: str = "one_pass") -> Step:
    """Return the step of an objective on an engine of the package; cached targets are computed first."""
    model = LatentVLM(setting.backbone, objective, engine=engine, seed=setting.seed)
    _fill(model, setting)
    batch = model.collator()(setting.trajectories)
    batch = on_meta(batch) if setting.device.type == "meta" else send_to_device(batch, setting.device)

    @contextmanager
    def around() -> Iterator[None]:
        if setting.checkpointing:
            model.activation_checkpointing_enable()
        try:
            with without_input_casts(setting.backbone.model, active=setting.half):
                yield
        finally:
            if setting.checkpointing:
                model.activation_checkpointing_disable()

    return Step(setting=setting, loss=lambda: model(batch).total, module=model, around=around)


def _fill(model: LatentVLM, setting: Setting) -> None:
    """Store the cached targets that a model reads, if it reads any. The meta device computes none and stores zeros.

    The model was just built, so its weights are not checked against the store again.
    """
    for request, store in model.target_stores.items():
        digests = target_digests(model.collator().serializer, request.encoding, setting.trajectories)
        if setting.device.type != "meta":
            fill_store(model, request, digests, setting.trajectories)
            continue
        store.begin()
        store.add(digests, torch.zeros(len(digests), setting.backbone.dim))
        store.finish()
