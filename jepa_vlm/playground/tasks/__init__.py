"""The tasks, one to a file."""

from jepa_vlm.playground.task import Task
from jepa_vlm.playground.tasks.visual_search import VisualSearch
from jepa_vlm.registry import Registry

TASKS: Registry[Task] = Registry("playground task", hint="Tasks live in jepa_vlm/playground/tasks/, one to a file.")

for _task in (VisualSearch(),):
    TASKS.register(_task.name)(_task)

__all__ = ["TASKS", "VisualSearch"]
