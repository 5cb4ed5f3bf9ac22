"""A stretch of a run in which some of the objective's terms are computed and the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final


@final
@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a recipe. The schedule of the learning rate runs through all of them.

    Args:
        name: For logs.
        share: Of the run's steps, in (0, 1].
        terms: Names of the objective's terms that are computed; what only others need is not.
        optimizer: Whether AdamW's averages of the stage before are ``kept``, or start ``new``.

    Raises:
        ValueError: If the share is out of range, there is no term, or ``optimizer`` is unknown.
    """

    name: str
    share: float
    terms: tuple[str, ...]
    optimizer: Literal["kept", "new"] = "kept"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"The share of stage {self.name!r} must lie in (0, 1], got {self.share}.")
        if isinstance(self.terms, str) or not self.terms:
            raise ValueError(f"Stage {self.name!r} needs a tuple of the objective's terms, got {self.terms!r}.")
        if self.optimizer not in ("kept", "new"):
            raise ValueError(f"optimizer of stage {self.name!r} must be 'kept' or 'new', got {self.optimizer!r}.")


def check_stages(stages: Sequence[Stage], terms: Mapping[str, float]) -> None:
    """Hold stages to an objective.

    Args:
        stages: Of a recipe.
        terms: Of its objective, each with its loss dropout.

    Raises:
        ValueError: If shares do not make up the whole run, a term is unknown, one is in no stage, or a stage has terms
            with loss dropout alone.
    """
    if not stages:
        return
    if abs(sum(stage.share for stage in stages) - 1) > 1e-6:
        raise ValueError(f"The shares of all stages must sum to 1, got {[stage.share for stage in stages]}.")
    used = {term for stage in stages for term in stage.terms}
    if unknown := sorted(used - set(terms)):
        raise ValueError(f"A stage names terms of the objective ({', '.join(terms)}); got {', '.join(unknown)}.")
    if idle := sorted(set(terms) - used):
        raise ValueError(f"Every term must be in a stage; in none: {', '.join(idle)}. Take it out of the objective.")
    for stage in stages:
        if all(terms[name] for name in stage.terms):
            raise ValueError(
                f"One term at least of stage {stage.name!r} must have no loss dropout, or some steps have nothing to "
                "compute."
            )


def stage_at(stages: Sequence[Stage], step: int, steps: int) -> int:
    """Return the number of the stage of a step, counted from 0; each stage has a step at least, if there are enough."""
    done = 0.0
    for number, stage in enumerate(stages[:-1]):
        done += stage.share
        still = len(stages) - 1 - number  # stages behind it
        if step < max(number + 1, min(round(done * steps), steps - still)):
            return number
    return len(stages) - 1
