"""A seeded procedural world of coloured shapes: unlimited trajectories and held-out questions, no downloads."""

from jepa_vlm.playground.generate import DIRECT_SHARE, World, episodes, questions, trajectories
from jepa_vlm.playground.task import Action, Difficulty, Episode, Task
from jepa_vlm.playground.tasks import REGIMES, TASKS
from jepa_vlm.playground.tools import TOOLS
from jepa_vlm.playground.vocabulary import pieces, words

__all__ = [
    "DIRECT_SHARE",
    "REGIMES",
    "TASKS",
    "TOOLS",
    "Action",
    "Difficulty",
    "Episode",
    "Task",
    "World",
    "episodes",
    "pieces",
    "questions",
    "trajectories",
    "words",
]
