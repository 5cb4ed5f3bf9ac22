"""Terms that compare the examples of a micro-batch: whether there is anything to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from jepa_vlm.errors import RecipeError
from jepa_vlm.terms import Objective


@final
@dataclass(frozen=True)
class Alone:
    """Micro-batches of one trajectory, in which a term that compares trajectories is 0.

    Args:
        terms: Those terms.
        micro_batches: How many hold one trajectory, in the whole run and on all processes.
        of: How many there are.
        held_out: How many held-out trajectories the process with the fewest has.
    """

    terms: tuple[str, ...]
    micro_batches: int
    of: int
    held_out: int

    @property
    def warnings(self) -> list[str]:
        """What a user should know."""
        names, lines = ", ".join(self.terms), []
        if self.micro_batches:
            lines.append(
                f"{names} compares the trajectories of a micro-batch, and {self.micro_batches} of {self.of} "
                "micro-batches hold one, in which it is 0; raise --batch-tokens"
            )
        if self.held_out < 2:
            lines.append(
                f"{names} compares trajectories, and a process has {self.held_out} of the held-out ones: its held-out "
                "value is 0 there and says little"
            )
        return lines


def comparing_terms(objective: Objective) -> tuple[str, ...]:
    """Return the names of the terms that compare the trajectories of a micro-batch."""
    return tuple(term.name for _, term in objective.parts() if term.compares_examples)


def count_alone(terms: Sequence[str], *, starts: Sequence[int], examples: int, held_out: int) -> Alone:
    """Return how many micro-batches of a run hold one trajectory.

    Args:
        terms: Those that compare trajectories, at least one.
        starts: The position at which each micro-batch begins, and the one at which the last ends.
        examples: In the training set.
        held_out: In the validation set, for the process with the fewest.

    Raises:
        RecipeError: If all of them do, or the training set holds one trajectory: the term would be 0 throughout.
    """
    alone = sum(end - start == 1 for start, end in pairwise(starts))
    if examples == 1 or alone == len(starts) - 1:
        what = "the training set" if examples == 1 else "every micro-batch"
        raise RecipeError(
            f"{', '.join(terms)} compares the trajectories of a micro-batch, and {what} holds one: its loss would be 0 "
            "throughout and teach nothing. Give --batch-size 2 or more, or larger --batch-tokens (--accumulation does "
            "not help: negatives come from the micro-batch alone), or take another loss, such as CosineLoss."
        )
    return Alone(tuple(terms), alone, len(starts) - 1, held_out)
