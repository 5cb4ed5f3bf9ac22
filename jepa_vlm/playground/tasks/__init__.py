"""The tasks, one to a file, and the regimes of tool use that they make."""

from jepa_vlm.playground.task import Task
from jepa_vlm.playground.tasks.chart_reading import ChartReading
from jepa_vlm.playground.tasks.jigsaw import Jigsaw
from jepa_vlm.playground.tasks.maze import Maze
from jepa_vlm.playground.tasks.mixture import Mixture
from jepa_vlm.playground.tasks.relative_position import RelativePosition
from jepa_vlm.playground.tasks.sequential_crops import SequentialCrops
from jepa_vlm.playground.tasks.visual_search import VisualSearch
from jepa_vlm.registry import Registry

TASKS: Registry[Task] = Registry("playground task", hint="Tasks live in jepa_vlm/playground/tasks/, one to a file.")

_SINGLE = (VisualSearch(), RelativePosition(), SequentialCrops(), ChartReading(), Jigsaw(), Maze())
for _task in (*_SINGLE, Mixture(tasks=_SINGLE)):
    TASKS.register(_task.name)(_task)

REGIMES: dict[str, tuple[str, ...]] = {
    "one-tool-one-call": ("visual-search", "relative-position"),
    "many-tools-one-call": ("visual-search", "relative-position", "chart-reading", "jigsaw", "maze"),
    "one-tool-many-calls": ("sequential-crops",),
    "mixture": ("mixture",),
}

__all__ = [
    "REGIMES",
    "TASKS",
    "ChartReading",
    "Jigsaw",
    "Maze",
    "Mixture",
    "RelativePosition",
    "SequentialCrops",
    "VisualSearch",
]
