"""A task with its dials: what ``playground:TASK#KEY=VALUE`` names, for training and for asking alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import final

from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.playground.difficulty import Dials, Difficulty
from jepa_vlm.playground.generate import DIRECT_SHARE, questions, trajectories
from jepa_vlm.trajectories import MultipleChoice, Trajectory
from jepa_vlm.trajectories.data_spec import DataSpec

DIALS = tuple(dial.name for dial in fields(Difficulty))
KEYS = ("direct", *DIALS)
_EXAMPLE = "For example playground:visual-search#direct=1,size=5-7."
_ALLOWED = f"Options are direct (a share from 0 to 1) and {', '.join(DIALS)} (LOW-HIGH). {_EXAMPLE}"


@final
@dataclass(frozen=True)
class World:
    """Where a run's trajectories and its questions come from.

    Args:
        task: Name of a task in ``TASKS``.
        direct_share: Share of direct turns among the trajectories; questions are always direct.
        dials: Of both, in place of the task's own.
    """

    task: str
    direct_share: float = DIRECT_SHARE
    dials: Dials = field(default_factory=dict)

    @classmethod
    def of(cls, spec: DataSpec) -> World:
        """Return the world of ``playground:TASK#KEY=VALUE,KEY=VALUE``.

        Raises:
            UnknownNameError: If there is no such option.
            DataError: If an option has a value that it cannot have.
        """
        if "#" in spec.rest:
            raise DataError(f"What follows '#' must be KEY=VALUE,KEY=VALUE, got {str(spec)!r}. {_ALLOWED}")
        for key in spec.options:
            if key not in KEYS:
                raise UnknownNameError("playground option", key, known=KEYS, hint=_EXAMPLE)
        given = dict(spec.options)
        try:
            share = _share(given.pop("direct")) if "direct" in given else DIRECT_SHARE
            dials = {key: _range(key, value) for key, value in given.items()}
            Difficulty(**dials)
            return cls(spec.rest, share, dials)
        except ValueError as err:
            raise DataError(f"{spec}: {err} {_ALLOWED}") from None

    def trajectories(self, *, count: int, seed: int = 0, split: str = "train") -> list[Trajectory]:
        """See ``playground.trajectories``."""
        return trajectories(
            self.task,
            count=count,
            seed=seed,
            split=split,
            direct_share=self.direct_share,
            dials=self.dials,
        )

    def questions(self, *, count: int, seed: int = 0, split: str = "test") -> list[MultipleChoice]:
        """See ``playground.questions``."""
        return questions(self.task, count=count, seed=seed, split=split, dials=self.dials)


def _share(text: str) -> float:
    if not re.fullmatch(r"\d*\.?\d+", text) or not 0 <= float(text) <= 1:
        raise ValueError(f"direct must be a share from 0 to 1, got {text!r}.")
    return float(text)


def _range(key: str, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    if found is None:
        raise ValueError(f"{key} must be LOW-HIGH or one number, got {text!r}.")
    return int(found[1]), int(found[2] or found[1])
