"""The tasks, and the regimes of tool use: each regime is a mixture of tasks and a task itself."""

from jepa_vlm.playground.task import Task, TaskMixture
from jepa_vlm.playground.tasks.chart_reading import ChartReading
from jepa_vlm.playground.tasks.jigsaw import Jigsaw
from jepa_vlm.playground.tasks.maze import Maze
from jepa_vlm.playground.tasks.scattered import RelativePosition, SequentialCrops, VisualSearch
from jepa_vlm.registry import Registry

TASKS: Registry[Task] = Registry("playground task", hint="Tasks live in jepa_vlm/playground/tasks/.")

REGIMES: dict[str, tuple[str, ...]] = {
    "one-tool-one-call": ("visual-search", "relative-position"),
    "many-tools-one-call": ("visual-search", "relative-position", "chart-reading", "jigsaw", "maze"),
    "one-tool-many-calls": ("sequential-crops",),
    "mixture": ("visual-search", "relative-position", "sequential-crops", "chart-reading", "jigsaw", "maze"),
}

for _task in (VisualSearch(), RelativePosition(), SequentialCrops(), ChartReading(), Jigsaw(), Maze()):
    TASKS.register(_task.name)(_task)
for _regime, _names in REGIMES.items():
    TASKS.register(_regime)(TaskMixture(name=_regime, tasks=[TASKS[_name] for _name in _names]))

__all__ = [
    "REGIMES",
    "TASKS",
    "ChartReading",
    "Jigsaw",
    "Maze",
    "RelativePosition",
    "SequentialCrops",
    "TaskMixture",
    "VisualSearch",
]
