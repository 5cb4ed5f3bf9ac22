"""The one-pass step at the sizes of real models, run on the meta device: it does the work of the closed form, no more.

Small shapes run for real as well, with the whole step around them.
"""

from __future__ import annotations

import pytest
import torch

from benchmarks.mixes import MIXES
from benchmarks.step.closed_form import closed_forms
from benchmarks.step.counting import count_work
from benchmarks.step.variants import VARIANTS
from tests.cost.test_memory_estimate import setting_of

WITHIN = 0.03
FAST_AND_SLOW = [pytest.param(mix, marks=[pytest.mark.slow] * (mix != "lvr")) for mix in MIXES]  # lvr is the shortest


every_size_mix_and_way = pytest.mark.parametrize(
    ("name", "mix", "checkpointing"),
    [("3b", "pixelreasoner", False), ("3b", "lvr", True), ("7b", "thinkmorph", True)],
)


def counted_and_bound(name, mix, variant="pearl", **options):
    setting = setting_of(name, mix, **options)
    work = count_work(VARIANTS[variant](setting))
    bounds = closed_forms(setting.backbone, setting.trajectories, checkpointing=setting.checkpointing)
    return work, bounds[variant if variant in bounds else "sft" if variant.startswith("sft") else "pearl"].total


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", ["3b", "7b"])
def test_pearl_at_real_sizes(name, mix):
    work, bound = counted_and_bound(name, mix, device="meta", dtype=torch.bfloat16)
    assert work.total_flops == pytest.approx(bound, rel=WITHIN)


@pytest.mark.slow
def test_lvr_at_real_sizes():
    work, bound = counted_and_bound("3b", "lvr", "lvr", device="meta", dtype=torch.bfloat16)
    assert work.total_flops == pytest.approx(bound, rel=WITHIN)


@pytest.mark.slow
@every_size_mix_and_way
def test_lvr_at_more_real_sizes(name, mix, checkpointing):
    work, bound = counted_and_bound(name, mix, "lvr", device="meta", dtype=torch.bfloat16, checkpointing=checkpointing)
    assert work.total_flops == pytest.approx(bound, rel=WITHIN)


CACHED = 1.06  # of the next-token step's work, with targets computed beforehand


@pytest.mark.slow
@every_size_mix_and_way
def test_a_cached_target_at_real_sizes(name, mix, checkpointing):
    options = {"device": "meta", "dtype": torch.bfloat16, "checkpointing": checkpointing}
    work, bound = counted_and_bound(name, mix, "pearl_cached", **options)
    sft, _ = counted_and_bound(name, mix, "sft", **options)
    assert work.total_flops == pytest.approx(bound, rel=WITHIN)
    assert work.total_flops <= CACHED * sft.total_flops


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mix"), [("3b", "pixelreasoner"), ("7b", "lvr")])
def test_pearl_at_real_sizes_with_checkpointing(name, mix):
    work, bound = counted_and_bound(name, mix, device="meta", dtype=torch.bfloat16, checkpointing=True)
    assert work.total_flops == pytest.approx(bound, rel=WITHIN)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["held", "checkpointed"])
@pytest.mark.parametrize("mix", FAST_AND_SLOW)
@pytest.mark.parametrize(
    "variant", ["pearl", "lvr", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sft", "pearl_cached"))]
)
def test_small_shapes_by_real_execution(variant, mix, checkpointing):
    work, bound = counted_and_bound("tiny", mix, variant, checkpointing=checkpointing)
    assert work.total_flops == pytest.approx(bound, rel=WITHIN)


def test_the_meta_device_counts_what_real_execution_counts():
    counts = [counted_and_bound("tiny", "lvr", device=device)[0].flops for device in ("cpu", "meta")]
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_stock_and_released_steps_are_seen_to_do_more():
    totals = {
        variant: counted_and_bound("tiny", "lvr", variant)[0].total_flops
        for variant in ("sft", "sft_stock", "pearl", "pearl_cached", "pearl_separate", "pearl_released")
    }
    assert totals["pearl"] < 1.2 * totals["sft"]
    assert totals["pearl_cached"] <= CACHED * totals["sft"]
    assert totals["sft_stock"] > 1.1 * totals["sft"]
    assert totals["pearl_separate"] > 1.5 * totals["pearl"]
    assert totals["pearl_released"] > 2.8 * totals["pearl"]


@pytest.mark.slow
def test_launches_have_a_budget():
    """Operations of a Pearl step over those of a next-token step: one more forward-only row, and branches in attention.

    The budget is what the engine takes on a CPU, where attention is one call for each segment and branch.
    """
    steps = {variant: counted_and_bound("tiny", "lvr", variant)[0].operations for variant in ("sft", "pearl")}
    assert steps["pearl"]["vision"] == steps["sft"]["vision"]
    assert steps["pearl"]["target"] <= steps["sft"]["row"]
    assert steps["pearl"]["row"] <= 1.5 * steps["sft"]["row"]
    assert steps["pearl"]["backward"] <= 1.5 * steps["sft"]["backward"]
    assert sum(steps["pearl"].values()) <= 1.5 * sum(steps["sft"].values())
