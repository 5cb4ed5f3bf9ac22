"""The page on performance: its tables of bounds and of memory are what the closed forms say today."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import torch

from jepa_vlm.bench.mixes import MIXES, make_trajectories
from jepa_vlm.bench.shapes import SHAPES, build_backbone, lora_rank
from jepa_vlm.bench.suite import closed_forms
from jepa_vlm.bench.variants import VARIANTS, pearl_objective
from jepa_vlm.cost import MicroBatch, Shape, step_memory
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.serialization import Serializer

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "performance.md").read_text(encoding="utf-8")
CARDS, LEFT, GB = (24, 48, 80, 141), 2, 10**9
SLOTS = 4


@functools.cache
def backbone_of(name):
    return build_backbone(SHAPES[name], device=torch.device("meta"), dtype=torch.bfloat16)


def price(name, mix, *, checkpointing):
    backbone = backbone_of(name)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    found = closed_forms(backbone, make_trajectories(mix, serializer=serializer, count=4), checkpointing=checkpointing)
    return found["pearl"].total / found["sft"].total


def bound_rows():
    for mix, size in MIXES_BY_LENGTH:
        cells = [f"{price(name, mix, checkpointing=flag):.2f}" for name in ("3b", "7b") for flag in (False, True)]
        yield f"| {mix}: {size.context} + {size.trajectory} | " + " | ".join(cells) + " |"


def largest(name, mix, card, *, checkpointing):
    backbone, size = backbone_of(name), MIXES[mix]
    model = LatentVLM(backbone, pearl_objective())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(p.numel() * p.element_size() for p in model.parameters()) + 3 * 4 * trained
    shape, count = Shape.of(backbone.base.config, lora_rank=lora_rank(backbone)), 0
    while True:
        batch = MicroBatch(
            tokens=round((count + 1) * (size.context + size.trajectory + SLOTS)),
            seen=round((count + 1) * (size.context + SLOTS)),
            detached=(count + 1) * size.trajectory,
            supervised=round((count + 1) * (1 - size.shown) * size.trajectory),
            states=(count + 1) * size.trajectory,
            patches=round((count + 1) * 4 * (size.seen * size.context + size.shown * size.trajectory)),
        )
        peak = step_memory(shape, batch, checkpointing=checkpointing).peak
        if held + peak + LEFT * GB > card * GB:
            return count
        count += 1


def card_rows():
    for name in ("3b", "7b"):
        for mix, _ in MIXES_BY_LENGTH:
            cells = [
                " / ".join(str(largest(name, mix, card, checkpointing=flag)) for flag in (False, True))
                for card in CARDS
            ]
            yield f"| {name.upper()}, {mix} | " + " | ".join(cells) + " |"


MIXES_BY_LENGTH = [(mix, MIXES[mix]) for mix in ("lvr", "pixelreasoner", "thinkmorph")]


@pytest.mark.slow
def test_the_bounds_are_the_closed_forms():
    for row in bound_rows():
        assert row in PAGE, row


@pytest.mark.slow
def test_what_fits_a_card_is_what_the_estimate_says():
    for row in card_rows():
        assert row in PAGE, row


def test_every_step_of_the_suite_has_its_row():
    suite = PAGE.split("## The suite")[1]
    assert set(re.findall(r"^\| `(\w+)` \|", suite, re.MULTILINE)) == set(VARIANTS)
