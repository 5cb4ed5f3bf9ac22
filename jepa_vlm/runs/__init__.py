"""A run from start to end: train, evaluate, export, report; and the folder that holds it. Loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepa_vlm.lazy import on_first_use

if TYPE_CHECKING:
    from jepa_vlm.runs.comparing.compare import ComparisonResult, compare, start_comparison
    from jepa_vlm.runs.folder import RunResult
    from jepa_vlm.runs.plan import Plan, plan_run
    from jepa_vlm.runs.settings import CompareSettings, RunSettings
    from jepa_vlm.runs.training_run import start_run, train

_HOMES = {
    "CompareSettings": "settings",
    "ComparisonResult": "comparing.compare",
    "Plan": "plan",
    "RunResult": "folder",
    "RunSettings": "settings",
    "compare": "comparing.compare",
    "plan_run": "plan",
    "start_comparison": "comparing.compare",
    "start_run": "training_run",
    "train": "training_run",
}

__all__ = [
    "CompareSettings",
    "ComparisonResult",
    "Plan",
    "RunResult",
    "RunSettings",
    "compare",
    "plan_run",
    "start_comparison",
    "start_run",
    "train",
]

__getattr__ = on_first_use(__name__, _HOMES)
