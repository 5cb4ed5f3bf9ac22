"""What a run's steps will take of a GPU's memory: shown before the run begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft import PeftModel
from torch import nn

from jepa_vlm.adapters.inside_peft import belongs_to_adapter
from jepa_vlm.cost import MicroBatchSize, Shape, StepMemory, step_memory
from jepa_vlm.engine import TextEncoder
from jepa_vlm.engine.batch import PackedSequence
from jepa_vlm.errors import JepaVLMError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import NextToken
from jepa_vlm.runs.scan import longest
from jepa_vlm.trajectories import Trajectory


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
    lengths = {name: len(row) for name, row in batch.rows.items()}
    regions = [
        (request.at == "supervised", len(read.index)) for request, read in batch.reads.items() if not request.reads_one
    ]
    return MicroBatchSize(
        tokens=lengths.get("gradient", 0),
        seen=_seen(batch.rows.get("gradient")),
        detached=max((length for name, length in lengths.items() if name != "gradient"), default=0),
        supervised=sum(length for supervised, length in regions if supervised),
        states=sum(length for supervised, length in regions if not supervised),
        patches=len(batch.images["pixel_values"]),
    )


def _seen(row: PackedSequence | None) -> int:
    return 0 if row is None else sum(branch.prefix + branch.length for branch in row.layout.branches)
