"""Checks of training: where LoRA lands, what gets gradient, what an export is, and that generation stays as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from jepa_vlm.conformance.result import Failure
from jepa_vlm.conformance.subject import Subject, disturb
from jepa_vlm.training import Origin, export, save_weights
from jepa_vlm.training.lora import adapted


def lora_stays_in_the_decoder(subject: Subject) -> str:
    """The adapter is on every linear layer of the decoder that the family names, and nowhere else."""
    backbone = subject.backbone
    adapter, base = backbone.adapter, backbone.base
    prefix, found = adapter.decoder_prefix(base), adapted(backbone)
    strays = [name for name in found if not name.startswith(f"{prefix}.")]
    if strays:
        raise Failure(f"LoRA is on {strays[0]}, outside {prefix}")
    inside = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    own = [name for name in inside if name.startswith(f"{prefix}.") and ".lora_" not in name]
    plain = [name for name in own if not name.endswith(".base_layer")]
    if plain:
        raise Failure(f"LoRA leaves out {len(plain)} linear layers of the decoder, {plain[0]} first")
    trained = [name for name, p in base.named_parameters() if p.requires_grad and ".lora_" not in name]
    if trained:
        raise Failure(f"{trained[0]} trains as well")
    kinds = sorted({name.rpartition(".")[2] for name in found})
    return f"{len(found)} layers: {', '.join(kinds)}"


def pred_gets_gradient(subject: Subject) -> str:
    """The learned inputs and the adapter receive gradient, in every engine that the family has."""
    engines = ("separate",) if subject.backbone.adapter.separate_because else ("separate", "one_pass")
    for engine in engines:
        model = subject.model(engine)
        model.zero_grad()
        with subject.exact():
            model(model.collator()(subject.trajectories)).total.backward()
        without = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        model.zero_grad()
        if without:
            raise Failure(f"{len(without)} trained tensors get no gradient under {engine}, {without[0]} first")
    return f"under {' and '.join(engines)}"


def export_reloads(subject: Subject) -> str:
    """The adapter merged, stock transformers reads the folder back as the same model."""
    disturb(subject.backbone)
    model = subject.model()
    # What transformers keeps in float32 whatever the weights are, it does not save: float64 would prove nothing.
    kind = "float32" if subject.dtype == torch.float64 else str(subject.dtype).removeprefix("torch.")
    with tempfile.TemporaryDirectory() as folder:
        save_weights(model, Path(folder) / "best", Origin(subject.name, 0, kind, subject.visual_tokens))
        done = export(folder, to=Path(folder) / "export")
    return f"{done.merged} weights merged, logits differ by {done.difference:.1g}"


def generation_is_unchanged(subject: Subject) -> str:
    """What the model generates is the same before and after a training step's hooks and attention were on it."""
    inputs = subject.prompt(0)
    base = subject.backbone.base
    base.set_attn_implementation("sdpa")
    with subject.exact():
        before = subject.generate(inputs)
        for engine in ("separate",) if subject.backbone.adapter.separate_because else ("separate", "one_pass"):
            model = subject.model(engine)
            model(model.collator()(subject.trajectories[-1:])).total.backward()
            model.zero_grad()
            if subject.generate(inputs) != before:
                raise Failure(f"other tokens after a step of {engine}")
    return f"{len(before[0])} tokens"


def padding_changes_nothing(subject: Subject) -> str:
    """Prompts padded on the left, as evaluation pads them, are continued as each alone."""
    asked = [trajectory for trajectory in subject.trajectories if len(trajectory.images) == 1]
    subject.model()  # stock attention
    with subject.exact():
        alone = [subject.generate(subject.prompts([trajectory]))[0] for trajectory in asked]
        together = subject.generate(subject.prompts(asked))
    padding = subject.backbone.tokenizer.pad_token_id
    for trajectory, one, row in zip(asked, alone, together, strict=True):
        if row[: len(one)] != one or any(token != padding for token in row[len(one) :]):
            raise Failure(f"{trajectory.id!r} goes on differently in a batch")
    return f"{len(asked)} prompts"
