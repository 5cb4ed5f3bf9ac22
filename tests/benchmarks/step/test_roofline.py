from __future__ import annotations

from benchmarks.step.counting import Work
from benchmarks.step.suite import roofline
from benchmarks.step.timing import Ceilings
from benchmarks.step.training_step import PHASES


def test_the_longest_floor_binds_by_hand():
    nothing = dict.fromkeys(PHASES, 0)
    work = Work(
        flops={**nothing, "row": 1000, "losses": 10},
        bytes={**nothing, "row": 100, "losses": 100, "optimizer": 10},
        operations={**nothing, "row": 2, "losses": 2, "optimizer": 40},
    )
    found = roofline(work, Ceilings(flops=100, bytes=20, operation=0.25), {**dict.fromkeys(PHASES, 0.0), "row": 20.0})
    assert set(found) == {"row", "losses", "optimizer"}
    assert {phase: one["bound_by"] for phase, one in found.items()} == {
        "row": "arithmetic",
        "losses": "memory",
        "optimizer": "launches",
    }
    assert found["row"] == {
        "intensity": 10.0,
        "floors": {"arithmetic": 10.0, "memory": 5.0, "launches": 0.5},
        "bound_by": "arithmetic",
        "attained": 0.5,
    }
    assert found["losses"]["attained"] is None
