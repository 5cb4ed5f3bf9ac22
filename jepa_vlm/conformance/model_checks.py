"""Checks of the model: states, engines, LoRA, gradients, generation and export."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from jepa_vlm.adapters.adapter import joined_features
from jepa_vlm.conformance.check import CheckFailed, NotApplicable
from jepa_vlm.conformance.subject import Subject, randomize_lora, two_targets
from jepa_vlm.engine import Batch
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.training import Origin, export, save_weights
from jepa_vlm.training.lora import adapted

Numbers = dict[str, Tensor]


def engines_agree(subject: Subject) -> str:
    """Every loss and gradient of ``one_pass`` equals that of ``separate``, the stock forward of each view.

    Also, those of a window of micro-batches, whose sequences without gradient run as one, equal those of each
    micro-batch by itself.
    """
    adapter = subject.backbone.adapter
    if adapter.separate_because:
        raise NotApplicable(f"only the engine separate: {adapter.separate_because}")
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
        CheckFailed: If it is too large.
    """
    if packed.keys() != stock.keys():
        raise CheckFailed(f"{min(packed.keys() ^ stock.keys())} has a value in one engine only")
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
        raise CheckFailed(f"{worst} differs by {errors[worst]:.2g}, limit {subject.tolerance:g}")
    return errors[worst]


@contextmanager
def _vision_trains(subject: Subject) -> Iterator[None]:
    """Let the vision tower train too, where the model is small enough to be compared in float64."""
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
        raise CheckFailed("the logits are all zero: the model's head or its last norm has no weights")
    error = float((made - logits).norm() / logits.norm())
    if not error <= subject.tolerance:
        raise CheckFailed(f"logits differ by {error:.2g}: the model changes them behind its head")
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
                raise CheckFailed(f"an image has {image.length} tokens and {len(features)} features")
        if not joint.any():
            raise CheckFailed("features are all zero: the model sees nothing of its images")
        error = float((joint - joined_features(apart)).norm() / joint.norm())
        if not error <= subject.tolerance:
            raise CheckFailed(f"features differ by {error:.2g} when images are encoded together")
        compared += len(images)
    return f"{compared} images"


def lora_stays_in_the_decoder(subject: Subject) -> str:
    """LoRA is on every linear layer of the decoder, and nowhere else."""
    backbone = subject.backbone
    adapter, base = backbone.adapter, backbone.base
    prefix, found = adapter.decoder_prefix(base), adapted(backbone)
    strays = [name for name in found if not name.startswith(f"{prefix}.")]
    if strays:
        raise CheckFailed(f"LoRA is on {strays[0]}, outside {prefix}")
    inside = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    own = [name for name in inside if name.startswith(f"{prefix}.") and ".lora_" not in name]
    plain = [name for name in own if not name.endswith(".base_layer")]
    if plain:
        raise CheckFailed(f"LoRA leaves out {len(plain)} linear layers of the decoder, {plain[0]} first")
    trained = [name for name, p in base.named_parameters() if p.requires_grad and ".lora_" not in name]
    if trained:
        raise CheckFailed(f"{trained[0]} trains as well")
    kinds = sorted({name.rpartition(".")[2] for name in found})
    return f"{len(found)} layers: {', '.join(kinds)}"


def pred_gets_gradient(subject: Subject) -> str:
    """The soft tokens and the LoRA weights get gradient, in every engine that the family has."""
    for engine in subject.engines:
        model = subject.model(engine)
        model.zero_grad()
        with subject.exact():
            model(model.collator()(subject.trajectories)).total.backward()
        without = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        model.zero_grad()
        if without:
            raise CheckFailed(f"{len(without)} trained tensors get no gradient under {engine}, {without[0]} first")
    return f"under {' and '.join(subject.engines)}"


def export_reloads(subject: Subject) -> str:
    """Stock transformers reads an export, LoRA merged, as the same model."""
    randomize_lora(subject.backbone)
    model = subject.model()
    # What transformers keeps in float32 whatever the weights are, it does not save: float64 would prove nothing.
    kind = "float32" if subject.dtype == torch.float64 else str(subject.dtype).removeprefix("torch.")
    with tempfile.TemporaryDirectory() as folder:
        save_weights(model, Path(folder) / "best", Origin(subject.name, 0, kind, subject.visual_tokens))
        done = export(folder, to=Path(folder) / "export")
    return f"{done.merged} weights merged, logits differ by {done.difference:.1g}"


def generation_is_unchanged(subject: Subject) -> str:
    """The model generates the same before and after a training step put its hooks and attention on it."""
    inputs = subject.prompt(0)
    base = subject.backbone.base
    base.set_attn_implementation("sdpa")
    with subject.exact():
        before = subject.generate(inputs)
        for engine in subject.engines:
            model = subject.model(engine)
            model(model.collator()(subject.trajectories[-1:])).total.backward()
            model.zero_grad()
            if subject.generate(inputs) != before:
                raise CheckFailed(f"other tokens after a step of {engine}")
    return f"{len(before[0])} tokens"


def padding_changes_nothing(subject: Subject) -> str:
    """Prompts padded on the left, as evaluation pads them, are continued like each prompt alone."""
    asked = [trajectory for trajectory in subject.trajectories if len(trajectory.images) == 1]
    subject.model()  # stock attention
    with subject.exact():
        alone = [subject.generate(subject.prompts([trajectory]))[0] for trajectory in asked]
        together = subject.generate(subject.prompts(asked))
    padding = subject.backbone.tokenizer.pad_token_id
    for trajectory, one, row in zip(asked, alone, together, strict=True):
        if row[: len(one)] != one or any(token != padding for token in row[len(one) :]):
            raise CheckFailed(f"{trajectory.id!r} goes on differently in a batch")
    return f"{len(asked)} prompts"
