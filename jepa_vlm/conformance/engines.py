"""Checks of the engines: both ways give the same numbers, and the states are what the head reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from jepa_vlm.adapters.feeding import flat
from jepa_vlm.conformance.result import Failure, NotApplicable
from jepa_vlm.conformance.subject import Subject, two_targets
from jepa_vlm.encoders import Batch
from jepa_vlm.latent_vlm import LatentVLM

Numbers = dict[str, Tensor]


def engines_agree(subject: Subject) -> str:
    """Every loss and every gradient of ``one_pass`` equals that of ``separate``, the stock forward for each view; and
    that of a window of micro-batches, whose rows without gradient run as one, equals that of each by itself.
    """
    adapter = subject.backbone.adapter
    if adapter.separate_because:
        raise NotApplicable(f"separate passes only: {adapter.separate_because}")
    with subject.exact(), _vision_trains(subject):
        models = (subject.model(engine) for engine in ("one_pass", "separate"))
        packed, stock = (_numbers(model, [model.collator()(subject.trajectories)]) for model in models)
    error = _largest(packed, stock, subject)
    with subject.exact():
        model = LatentVLM(subject.backbone, two_targets())
        window = [model.collator()(part) for part in (subject.trajectories[:1], subject.trajectories[1:])]
        _largest(_numbers(model, model.run_ahead(window)), _numbers(model, window), subject)
    return f"{len(stock)} losses and gradients, largest difference {error:.1g}"


def _largest(packed: Numbers, stock: Numbers, subject: Subject) -> float:
    """Return the largest relative difference.

    Raises:
        Failure: If it is too large.
    """
    if packed.keys() != stock.keys():
        raise Failure(f"{min(packed.keys() ^ stock.keys())} has a value in one engine only")
    # A gradient that is zero up to rounding has no relative size; it is measured against the median one.
    floor = 1e-6 * torch.stack([value.norm() for value in stock.values()]).median()
    errors = {
        name: 0.0
        if torch.equal(packed[name], value)  # zeros too, which have no relative difference
        else float((packed[name] - value).norm() / torch.maximum(value.norm(), floor))
        for name, value in stock.items()
    }
    worst = max(errors, key=lambda name: math.inf if math.isnan(errors[name]) else errors[name])
    if not errors[worst] <= subject.tolerance:
        raise Failure(f"{worst} differs by {errors[worst]:.2g}, limit {subject.tolerance:g}")
    return errors[worst]


@contextmanager
def _vision_trains(subject: Subject) -> Iterator[None]:
    """Let the vision tower take part, where the model is small enough to be compared in float64."""
    small = subject.dtype == torch.float64
    parameters = subject.backbone.adapter.vision_parameters(subject.backbone.base) if small else []
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)


def _numbers(model: LatentVLM, batches: Sequence[Batch]) -> Numbers:
    """Return each batch's losses, and the gradients of all of them together."""
    model.zero_grad()
    losses: Numbers = {}
    for number, batch in enumerate(batches, start=1):
        terms = model(batch)
        terms.total.backward()
        losses.update({f"{name} of batch {number}": value.detach() for name, value in terms.raw.items()})
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return {**losses, **gradients}


def head_reads_the_state(subject: Subject) -> str:
    """The logits of the stock model are the head's product with ``last_hidden_state``."""
    inputs, base = subject.prompt(0), subject.backbone.base
    head = base.get_output_embeddings()
    with torch.no_grad(), subject.exact():
        subject.model()  # stock attention
        logits = base(**inputs, use_cache=False).logits[0]
        state = base.base_model(**inputs, use_cache=False).last_hidden_state[0]
        made = torch.nn.functional.linear(state, head.weight, getattr(head, "bias", None))
    if not logits.any():
        raise Failure("the logits are all zero: the model's head or its last norm has no weights")
    error = float((made - logits).norm() / logits.norm())
    if not error <= subject.tolerance:
        raise Failure(f"logits differ by {error:.2g}: the model changes them behind its head")
    return f"largest difference {error:.1g}"


def images_encode_alone(subject: Subject) -> str:
    """An image's features are the same with others and by itself, and as many as its tokens."""
    backbone = subject.backbone
    adapter, base, processor = backbone.adapter, backbone.base, backbone.processor
    if adapter.feature_id < 0:
        raise NotApplicable("its images are not placed among the tokens")
    compared = 0
    for trajectory in subject.trajectories:
        images = trajectory.all_images
        made = [adapter.process_image(processor, image.load(), together=len(images)) for image in images]
        tokens = [adapter.image_tokens(processor, *image.size, together=len(images)) for image in images]
        with torch.no_grad(), subject.exact():
            joint = adapter.encode_images(base, adapter.collate_images(made))
            apart = [adapter.encode_images(base, adapter.collate_images([one])) for one in made]
        for features, image in zip(apart, tokens, strict=True):
            if len(features) != image.length:
                raise Failure(f"an image has {image.length} tokens and {len(features)} features")
        if not joint.any():
            raise Failure("features are all zero: the model sees nothing of its images")
        error = float((joint - flat(apart)).norm() / joint.norm())
        if not error <= subject.tolerance:
            raise Failure(f"features differ by {error:.2g} when images are encoded together")
        compared += len(images)
    return f"{compared} images"
