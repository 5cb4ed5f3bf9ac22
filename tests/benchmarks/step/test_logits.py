"""No tensor of all logits is ever alive: what every allocation of a whole step takes, kernels' own included."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.clocks import ProcessClock
from benchmarks.mixes import make_trajectories
from benchmarks.shapes import SHAPES, build_backbone
from benchmarks.step.training_step import PhaseMeter, Setting, Step
from benchmarks.step.variants import VARIANTS, step_of
from jepa_vlm.objectives import NextToken
from jepa_vlm.serialization import Serializer

VOCAB, CHUNK = 200_000, 4


@pytest.fixture(scope="module")
def wide_head():
    """A head so wide that a chunk's logits are larger than anything else in the step."""
    shape = SHAPES["tiny"]
    text = {**shape.text, "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    shape = replace(shape, text=text)
    backbone = build_backbone(shape, device=torch.device("cpu"), dtype=torch.float32)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    return Setting(
        backbone=backbone, trajectories=make_trajectories("lvr", serializer=serializer, count=2, scale=1 / 3)
    )


def largest_allocation(step: Step) -> int:
    """The largest single allocation of a step, by the allocator's own report."""
    step.run(PhaseMeter(backbone=step.setting.backbone, gauge=ProcessClock()))  # the optimiser's averages are made here
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step.run(PhaseMeter(backbone=step.setting.backbone, gauge=ProcessClock()))
    events = profiler.profiler.kineto_results.events()
    return max(event.nbytes() for event in events if event.name() == "[memory]")


def test_no_allocation_is_larger_than_a_chunks_logits(wide_head):
    found = largest_allocation(step_of(wide_head, NextToken(chunk=CHUNK)))
    assert found == CHUNK * VOCAB * 4


@pytest.mark.slow
def test_a_planted_larger_chunk_and_the_stock_step_are_detected(wide_head):
    assert largest_allocation(step_of(wide_head, NextToken(chunk=2 * CHUNK))) == 2 * CHUNK * VOCAB * 4
    tokens = 2 * 185  # two conversations of that many tokens on average, padded to the longer
    assert largest_allocation(VARIANTS["sft_stock"](wide_head)) > tokens * VOCAB * 4
