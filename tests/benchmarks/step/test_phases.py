"""Phases of a step on a fake clock, so that real time never decides a test."""

from __future__ import annotations

import pytest
import torch

from benchmarks.step.training_step import PHASES, PhaseMeter
from benchmarks.step.variants import VARIANTS


def test_marks_become_phases_by_hand(backbone, clock):
    meter = PhaseMeter(backbone=backbone, gauge=clock)
    tower, decoder = backbone.adapter.vision(backbone.base), backbone.adapter.decoder(backbone.base)
    with meter.watching():
        assert tower._forward_hooks
        for phase, seconds in (
            ("inputs", 1), ("vision", 2), ("inputs", 4), ("target", 8), ("inputs", 16), ("row", 32), ("inputs", 64),
            ("backward", 128), ("optimizer", 256),
        ):  # fmt: skip
            if phase != "inputs" or clock.now:
                meter.mark(phase)
            clock.now += seconds
        meter.mark("end")
    assert not tower._forward_hooks
    assert not decoder._forward_pre_hooks
    assert meter.by_phase() == {
        "vision": 2, "inputs": 1 + 4 + 16, "target": 8, "row": 32, "losses": 64, "backward": 128, "optimizer": 256,
    }  # fmt: skip
    assert meter.total == sum(meter.by_phase().values())


@pytest.mark.parametrize(
    ("variant", "target"), [("sft", 0), ("sft_stock", 0), ("pearl", 1), ("pearl_separate", 2), ("pearl_released", 0)]
)
def test_hooks_find_the_parts_of_every_step(variant, target, setting, clock):
    """A tick at each pass of the decoder and of the tower: target rows are those that run without gradient."""
    backbone = setting.backbone
    step = VARIANTS[variant](setting)
    meter = PhaseMeter(backbone=backbone, gauge=clock)

    def tick(*_: object) -> None:
        clock.now += 1

    parts = backbone.adapter.vision(backbone.base), backbone.adapter.decoder(backbone.base)
    hooks = [part.register_forward_pre_hook(tick) for part in parts]
    try:
        # The meter's own hooks come after these, so that a tick falls into the phase before: read both together.
        step.run(meter)
    finally:
        for hook in hooks:
            hook.remove()
    names = [name for name, _, _ in meter.intervals()]
    assert set(names) <= set(PHASES)
    assert names.count("target") == target
    assert names.count("row") >= 1
    assert names[-3:] == ["losses", "backward", "optimizer"]
    passes = names.count("target") + names.count("row") + names.count("vision")
    assert meter.total == passes


def test_a_step_that_breaks_off_leaves_no_hook(setting, clock):
    backbone = setting.backbone
    meter = PhaseMeter(backbone=backbone, gauge=clock)
    with pytest.raises(torch.OutOfMemoryError), meter.watching():
        raise torch.OutOfMemoryError
    assert not backbone.adapter.decoder(backbone.base)._forward_hooks
