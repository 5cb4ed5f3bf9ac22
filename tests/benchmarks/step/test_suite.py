"""The suite end to end on little: a record with everything in it, which reads back as it was written."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.step.counting import count_memory, count_work
from benchmarks.step.records import compare_records
from benchmarks.step.settings import SuiteSettings
from benchmarks.step.suite import run_suite
from benchmarks.step.training_step import PHASES
from benchmarks.step.variants import VARIANTS
from tests.benchmarks.step.records import record


@pytest.fixture(scope="module")
def measured():
    settings = SuiteSettings(
        mixes=("lvr",), variants=("sft", "pearl"), examples=1, rounds=2, warmup=0, device="cpu", crossover=(200,)
    )
    return run_suite(settings, command=["python", "-m", "benchmarks.step"])


def shape_of(value):
    """The keys of a record, all the way down, where they are the same for every case."""
    if not isinstance(value, dict):
        return None
    return {key: shape_of(held) for key, held in value.items() if key not in ("machine", "versions")}


@pytest.mark.slow
def test_a_record_looks_as_the_readers_of_records_expect(measured):
    hand = record()
    assert shape_of({**measured, "cases": None}) == shape_of({**hand, "cases": None})
    assert shape_of(measured["calls"][0]) == shape_of(hand["calls"][0])
    own, expected = measured["cases"][0], hand["cases"][0]
    assert own.keys() == expected.keys()
    assert shape_of(own["closed_form"]) == shape_of(expected["closed_form"])
    assert own["variants"]["pearl"].keys() == expected["variants"]["pearl"].keys()
    for part in ("counted", "timed"):
        assert shape_of(own["variants"]["pearl"][part]) == shape_of(expected["variants"]["pearl"][part])
    one, other = (found["variants"]["pearl"]["roofline"]["row"] for found in (own, expected))
    assert shape_of(one) == shape_of(other)
    assert measured["crossover"][0].keys() == hand["crossover"][0].keys()
    assert measured["crossover"][0]["variants"]["sft"].keys() == hand["crossover"][0]["variants"]["sft"].keys()


@pytest.mark.slow
def test_a_record_is_json(measured):
    assert json.loads(json.dumps(measured)) == measured


@pytest.mark.slow
def test_figures_follow_from_counts_and_times(measured):
    case, roofs = measured["cases"][0], measured["calls"][0]["ceilings"]
    pearl = case["variants"]["pearl"]
    seconds, flops = pearl["timed"]["seconds"]["median"], pearl["counted"]["total_flops"]
    assert case["tokens"] == case["context"] + case["trajectory"]
    assert pearl["timed"]["tokens_per_second"] == pytest.approx(case["tokens"] / seconds)
    assert pearl["timed"]["hardware_utilisation"] == pytest.approx(flops / seconds / roofs["flops"])
    assert pearl["counted"]["over_closed_form"] == pytest.approx(flops / case["closed_form"]["pearl"]["total"])
    assert pearl["counted"]["over_closed_form"] == pytest.approx(1, rel=0.03)
    assert sum(pearl["timed"]["phases"].values()) == pytest.approx(seconds, rel=0.5)
    sft = case["variants"]["sft"]["timed"]
    ratios = sorted(a / b for a, b in zip(pearl["timed"]["samples"], sft["samples"], strict=True))
    assert pearl["timed"]["over"]["sft"]["median"] == pytest.approx(sum(ratios) / 2, rel=1e-4)
    assert sft["over"]["sft"]["median"] == 1


@pytest.mark.slow
def test_a_record_compared_with_itself_reports_no_change(measured):
    found = compare_records(measured, measured)
    assert found.movements == ()
    assert found.compared == 2 * 5


@pytest.mark.slow
def test_the_meta_device_is_counted_and_not_timed():
    settings = SuiteSettings(mixes=("lvr",), variants=("sft", "sft_stock", "pearl_released"), examples=1, device="meta")
    found = run_suite(settings)
    assert found["calls"][0]["ceilings"] is None
    for one in found["cases"][0]["variants"].values():
        assert one.keys() == {"failure", "counted"}
        assert one["counted"]["total_flops"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["sft_stock", "pearl_released", "pearl", "pearl_cached", "lvr"])
def test_the_meta_device_counts_what_the_cpu_counts(variant, backbone, serializer, setting):
    from dataclasses import replace

    from benchmarks.shapes import SHAPES, build_backbone

    meta = replace(setting, backbone=build_backbone(SHAPES["tiny"], device=torch.device("meta"), dtype=torch.float32))
    here, there = (count_work(VARIANTS[variant](own)).flops for own in (setting, meta))
    assert here == there
    held, estimated = (count_memory(VARIANTS[variant](own)).saved for own in (setting, meta))
    assert estimated == pytest.approx(held, rel=0.03)


def test_flops_of_phases_add_up_to_those_of_the_step(setting):
    work = count_work(VARIANTS["pearl"](setting))
    assert set(work.flops) == set(PHASES)
    assert work.total_flops == sum(work.flops.values())
    assert work.flops["target"] > 0
    assert work.flops["inputs"] == work.flops["optimizer"] == 0
