"""The steps that are compared. A further one is a function from a ``Setting`` to a ``Step``, filed by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import torch
from accelerate.utils import send_to_device

from jepa_vlm.adapters.inside_peft import without_input_casts
from jepa_vlm.bench.released import pearl_released
from jepa_vlm.bench.step import Setting, Step
from jepa_vlm.bench.stock import on_meta, sft_stock
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentPrediction, LatentReconstruction, NextToken, Objective, Term
from jepa_vlm.recipe import load_recipe
from jepa_vlm.registry import Registry
from jepa_vlm.serialization.stored_targets import target_digests
from jepa_vlm.training.target_filling import fill_store
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import LatentConversation, RegionFeatures, TargetPolicy, cached

VARIANTS: Registry[Callable[[Setting], Step]] = Registry("variant", hint="Add one in jepa_vlm/bench/variants.py.")
LATENT_START, LATENT_END = "<|vision_pad|>", "<|endoftext|>"  # special, and nothing else in these trajectories
LATENT_WEIGHT = 0.1  # the recipe lvr's
ON_DEVICE_ONLY = ("pearl_separate",)  # read values of tensors, which the meta device does not have

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
    """Return the Pearl step whose targets are the frozen base's, computed beforehand and read with the batch."""
    with TemporaryDirectory() as folder:
        return step_of(setting, with_target_policy(pearl_objective(), cached(folder)))


@VARIANTS.register("pearl_separate")
def pearl_separate(setting: Setting) -> Step:
    """Return the reference: every view of every example a pass of its own."""
    return step_of(setting, pearl_objective(), engine="separate")


@VARIANTS.register("lvr")
def lvr(setting: Setting) -> Step:
    """Return the step of LVR: regions reconstructed in latent slots, in the place of tool pictures."""
    return step_of(setting, lvr_objective())


def lvr_objective() -> Objective:
    """Return what the recipe ``lvr`` minimises, between two tokens that the suite's vocabulary has already."""
    view = LatentConversation(RegionFeatures(), start=LATENT_START, end=LATENT_END)
    return NextToken(view=view) + LATENT_WEIGHT * LatentReconstruction(view=view)


def pearl_objective() -> Objective | Term:
    """Return what the recipe ``pearl`` minimises."""
    return load_recipe("pearl").objective


def with_target_policy(objective: Objective | Term, policy: TargetPolicy) -> Objective:
    """Return an objective whose latent predictions take their targets by another policy, the rest as it is."""
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
    """Return the step of an objective on one of the package's engines; cached targets are computed first."""
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
    """Store the cached targets that a model reads, if it reads any; on the meta device, which computes none, zeros.

    The model was built a moment ago, so that its weights are not read once more to see whether they are still the same.
    """
    for request, store in model.target_stores.items():
        digests = target_digests(model.collator().serializer, request.encoding, setting.trajectories)
        if setting.device.type != "meta":
            fill_store(model, request, digests, setting.trajectories)
            continue
        store.begin()
        store.add(digests, torch.zeros(len(digests), setting.backbone.dim))
        store.finish()
