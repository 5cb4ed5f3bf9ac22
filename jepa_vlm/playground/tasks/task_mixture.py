"""The mixture: every item comes from one of several tasks, each as likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.task import Episode, Task


@final
class TaskMixture(Task):
    """Draws a task, then an episode of it; the episode names the task that drew it.

    Args:
        name: The mixture's own.
        tasks: What is mixed, at least one.

    Raises:
        ValueError: If there is no task.
    """

    def __init__(self, *, name: str, tasks: Sequence[Task]) -> None:
        if not tasks:
            raise ValueError("A mixture needs at least one task, got none.")
        self._name, self.tasks = name, tuple(tasks)

    @property
    def name(self) -> str:
        """See ``Task.name``."""
        return self._name

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode of one of the tasks."""
        return self.chosen(rng).sample(rng, difficulty)

    def chosen(self, rng: np.random.Generator) -> Task:
        """Return one of the tasks."""
        return self.tasks[int(rng.integers(len(self.tasks)))]
