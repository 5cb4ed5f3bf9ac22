"""Gaps of a timeline by hand, what counts as work on a GPU, and the profiler's own events."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.step.timing import idle_share, profile_idle, spans_of
from benchmarks.step.variants import VARIANTS


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([(0, 10), (10, 20)], 0.0),
        ([(0, 10), (15, 20)], 0.25),  # 5 of 20
        ([(15, 20), (0, 10)], 0.25),  # in any order
        ([(0, 10), (2, 4), (12, 20)], 0.1),  # one inside another, as on two streams
        ([(0, 10), (5, 14), (19, 20)], 0.25),
        ([(3, 3)], None),
        ([], None),
    ],
)
def test_idle_gaps_by_hand(spans, share):
    assert idle_share(spans) == (None if share is None else pytest.approx(share))


@dataclass
class Event:
    """What is asked of the profiler's events."""

    begin: int
    end: int
    place: DeviceType = DeviceType.CUDA
    annotation: bool = False

    def start_ns(self):
        return self.begin

    def end_ns(self):
        return self.end

    def device_type(self):
        return self.place

    def is_user_annotation(self):
        return self.annotation


def test_host_events_and_annotations_are_no_work_of_the_gpu():
    events = [Event(0, 4), Event(0, 20, DeviceType.CPU), Event(0, 20, annotation=True), Event(16, 20)]
    assert spans_of(events) == [(0, 4), (16, 20)]
    assert idle_share(spans_of(events)) == 0.6


def test_the_profiler_s_events_answer_what_is_asked():
    with profile(activities=[ProfilerActivity.CPU]) as profiler, torch.profiler.record_function("a note"):
        torch.ones(10).sum()
    events = profiler.profiler.kineto_results.events()
    assert spans_of(events) == []
    assert {event.is_user_annotation() for event in events} == {True, False}
    assert all(event.end_ns() >= event.start_ns() for event in events)


def test_without_a_gpu_there_is_no_idle_share(setting):
    assert profile_idle(VARIANTS["sft"](setting)) is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and torch sees none")
def test_a_step_on_a_gpu_has_an_idle_share():
    from benchmarks.mixes import make_trajectories
    from benchmarks.shapes import SHAPES, build_backbone
    from benchmarks.step.training_step import Setting
    from jepa_vlm.serialization import Serializer

    backbone = build_backbone(SHAPES["tiny"], device=torch.device("cuda"), dtype=torch.bfloat16)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    own = Setting(backbone=backbone, trajectories=make_trajectories("lvr", serializer=serializer, count=2, scale=1 / 3))
    share = profile_idle(VARIANTS["sft"](own))
    assert share is not None
    assert 0 < share < 1
