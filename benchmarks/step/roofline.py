"""Which roof a phase is under: arithmetic, memory traffic, or the launching of operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_vlm.bench.ceilings import Ceilings
from jepa_vlm.bench.count import Work
from jepa_vlm.bench.phases import PHASES

ROOFS = ("arithmetic", "memory", "launches")


def roofline(work: Work, ceilings: Ceilings, seconds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return for every phase that does anything what bounds it, and how close it comes.

    A phase takes at least the longest of: its FLOPs at the speed of a large matrix product, its bytes at the speed of a
    large copy, its operations at the pace at which empty ones are launched. The byte floor is that of operations run
    one by one, each reading and writing memory: a fused kernel can go below it.

    Args:
        work: What the step does.
        ceilings: Of the machine.
        seconds: Measured, by phase.
    """
    found = {}
    for phase in PHASES:
        if not work.operations[phase]:
            continue
        floors = (
            work.flops[phase] / ceilings.flops,
            work.bytes[phase] / ceilings.bytes,
            work.operations[phase] * ceilings.operation,
        )
        longest = max(floors)
        found[phase] = {
            "intensity": work.flops[phase] / max(work.bytes[phase], 1),
            "floors": dict(zip(ROOFS, floors, strict=True)),
            "bound_by": ROOFS[floors.index(longest)],
            "attained": longest / seconds[phase] if seconds[phase] else None,
        }
    return found
