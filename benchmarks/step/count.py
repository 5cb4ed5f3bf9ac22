"""What a step does, counted: FLOPs, bytes and operations by phase, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from jepa_vlm.bench.phases import PHASES, PhaseMeter, Reading
from jepa_vlm.bench.step import Step

from jepa_vlm.cost import AliveBytes, FlopCounter, SavedBytes, Traffic, fused_on_meta


@final
@dataclass(frozen=True)
class Work:
    """What one step does; the same on every machine that takes the same code paths.

    Args:
        flops: Matrix-like work, by phase.
        bytes: What operations read and write, by phase.
        operations: How many there are, by phase.
    """

    flops: dict[str, int]
    bytes: dict[str, int]
    operations: dict[str, int]

    @property
    def total_flops(self) -> int:
        """Of the whole step."""
        return sum(self.flops.values())

    @property
    def total_operations(self) -> int:
        """Of the whole step."""
        return sum(self.operations.values())


@final
@dataclass(frozen=True)
class Held:
    """The memory that one step takes, in bytes.

    Args:
        saved: Held for the backward pass when the forward pass is over.
        peak: The most that the step's own tensors hold at once, before the optimiser's step.
        largest: Of the largest of them.
    """

    saved: int
    peak: int
    largest: int


def count_work(step: Step) -> Work:
    """Run a step once, slowly, and count what it does."""
    with FlopCounter() as flops, Traffic() as traffic:
        gauge = _Counters(lambda: (flops.total, traffic.bytes, traffic.operations))
        meter = PhaseMeter(backbone=step.setting.backbone, gauge=gauge)
        step.run(meter)
    by_phase = [dict.fromkeys(PHASES, 0) for _ in range(3)]
    for phase, first, second in meter.intervals():
        for found, before, after in zip(by_phase, first, second, strict=True):
            found[phase] += after - before
    return Work(*by_phase)


def count_memory(step: Step) -> Held:
    """Run a step once, slowly, and count what it holds.

    Not in the run that counts FLOPs: that holds on to tensors which a checkpointed layer makes again.
    """
    backbone = step.setting.backbone
    alive = [*backbone.model.parameters(), *backbone.model.buffers(), *step.parameters]
    with fused_on_meta(), AliveBytes() as memory, SavedBytes(alive) as saved:
        gauge = _Counters(lambda: (saved.total, memory.peak, memory.largest))
        meter = PhaseMeter(backbone=backbone, gauge=gauge)
        step.run(meter)
    begins = {phase: first for phase, first, _ in meter.intervals()}
    return Held(begins["backward"][0], *begins["optimizer"][1:])


@final
class _Counters:
    def __init__(self, read: Callable[[], tuple[int, ...]]) -> None:
        self._read = read

    def read(self) -> Reading:
        return self._read()

    def between(self, first: Reading, second: Reading) -> float:
        return float(second[0] - first[0])
