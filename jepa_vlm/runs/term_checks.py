"""Whether a run trains its terms: how many trajectories have what a term needs, and whether micro-batches hold enough.

Both are counted before the run begins, without rendering a trajectory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import final

from jepa_vlm.errors import DataError, RecipeError
from jepa_vlm.recipe import Stage
from jepa_vlm.terms import Objective
from jepa_vlm.trajectories import Trajectory

HELD_OUT = "held out"  # no source is called so: their names are those of formats
FEW = 0.1  # a share of trajectories below which a term is warned of


@final
@dataclass(frozen=True)
class Share:
    """How many of some trajectories have what a term needs."""

    have: int
    of: int

    def __str__(self) -> str:
        return f"{self.have} of {self.of}"


@final
@dataclass(frozen=True)
class TermRows:
    """How many trajectories a term can learn from.

    Args:
        needs: What they must have, see ``View.needs``.
        train, validation: How many have it.
        sources: Of a mixture: how many of each source's training trajectories.
        stages: The stages that compute the term; none without stages.
    """

    needs: str
    train: Share
    validation: Share
    sources: dict[str, Share] = field(default_factory=dict)
    stages: tuple[str, ...] = ()


@final
class RowCounter:
    """Counts, while the trajectories of a run are read, how many have what its terms need.

    Only terms count whose views need something that not every trajectory has; ``sft`` and ``pearl`` have none.

    Args:
        objective: Of the run.
    """

    def __init__(self, objective: Objective) -> None:
        views = {term.name: [request.view for request in term.requests()] for _, term in objective.parts()}
        self._needing = {name: own for name, each in views.items() if (own := [view for view in each if view.needs])}
        self._read: Counter[str] = Counter()
        self._have: dict[str, Counter[str]] = {name: Counter() for name in self._needing}

    def add(self, source: str, trajectory: Trajectory) -> None:
        """Count a trajectory of a source to train on, or of those ``HELD_OUT``."""
        self._read[source] += 1
        for name, views in self._needing.items():
            self._have[name][source] += all(view.met(trajectory) for view in views)

    def found(self, stages: Sequence[Stage] = ()) -> dict[str, TermRows]:
        """Return the counts by term.

        Args:
            stages: Of the recipe.

        Raises:
            DataError: If no training trajectory has what a term needs: the run would be another one than it says.
        """
        sources = [source for source in self._read if source != HELD_OUT]
        found = {}
        for name, views in self._needing.items():
            shares = {source: Share(self._have[name][source], self._read[source]) for source in sources}
            found[name] = TermRows(
                needs=" and ".join(dict.fromkeys(view.needs for view in views)),
                train=Share(sum(one.have for one in shares.values()), sum(one.of for one in shares.values())),
                validation=Share(self._have[name][HELD_OUT], self._read[HELD_OUT]),
                sources=shares if len(shares) > 1 else {},
                stages=tuple(stage.name for stage in stages if name in stage.terms),
            )
        if idle := [(name, one) for name, one in found.items() if not one.train.have]:
            raise DataError(
                f"None of the {idle[0][1].train.of} training trajectories has what these terms need. "
                f"{' '.join(_said(name, one) for name, one in idle)} The run would train on words alone, under another "
                "name. Take data that has it (docs/data.md says what each format holds), or a recipe that does not "
                "need it, such as sft or pearl."
            )
        return found


def warnings(rows: Mapping[str, TermRows]) -> list[str]:
    """Return a sentence for each term that few trajectories train: under 10%, or none of a source or held out."""
    lines = []
    for name, one in rows.items():
        if one.train.have < FEW * one.train.of:
            share = one.train.have / one.train.of
            lines.append(
                f"{_said(name, one)} {one.train} training trajectories ({share:.1%}, under {FEW:.0%}) have it."
            )
        lines += [
            f"{_said(name, one)} None of the {own.of} training trajectories of {source} has it."
            for source, own in one.sources.items()
            if not own.have
        ]
        if not one.validation.have:
            lines.append(
                f"{_said(name, one)} None of the {one.validation.of} held-out trajectories has it, so that the term's "
                "held-out value says nothing."
            )
    return lines


def _said(name: str, one: TermRows) -> str:
    stage = f" (stage {', '.join(one.stages)})" if one.stages else ""
    return f"{name}{stage} needs {one.needs}."


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
