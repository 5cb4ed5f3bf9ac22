"""Which terms the data of a run can train: counted before it begins, without rendering a trajectory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.recipe import Stage
from jepa_vlm.terms import Objective
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.mixture import Mixture, Source
from jepa_vlm.views import View

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


def count_rows(
    objective: Objective,
    train: Sequence[Trajectory],
    validation: Sequence[Trajectory],
    stages: Sequence[Stage] = (),
) -> dict[str, TermRows]:
    """Return, for each term whose views need something that not every trajectory has, how many have it.

    Nothing is read where no term needs anything, as in ``sft`` and ``pearl``.

    Raises:
        DataError: If no training trajectory has what a term needs, so that the run would be another one than it says.
    """
    views = {term.name: [request.view for request in term.requests()] for _, term in objective.parts()}
    needing = {name: own for name, each in views.items() if (own := [view for view in each if view.needs])}
    if not needing:
        return {}
    sources = train.sources if isinstance(train, Mixture) else (Source("", train),)
    counted = {source.name: _count(needing, source.examples) for source in sources}
    held_out = _count(needing, validation)
    found = {
        name: TermRows(
            needs=" and ".join(dict.fromkeys(view.needs for view in own)),
            train=Share(sum(each[name].have for each in counted.values()), len(train)),
            validation=held_out[name],
            sources={source: each[name] for source, each in counted.items() if source},
            stages=tuple(stage.name for stage in stages if name in stage.terms),
        )
        for name, own in needing.items()
    }
    if idle := [_said(name, one) for name, one in found.items() if not one.train.have]:
        raise DataError(
            f"None of the {len(train)} training trajectories has what these terms need. {' '.join(idle)} The run would "
            "train on words alone, under another name. Take data that has it (docs/data.md says what each format "
            "holds), or a recipe that does not need it, such as sft or pearl."
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


def _count(needing: dict[str, list[View]], trajectories: Sequence[Trajectory]) -> dict[str, Share]:
    """Count by term, reading every trajectory once."""
    have = dict.fromkeys(needing, 0)
    for trajectory in trajectories:
        for name, views in needing.items():
            have[name] += all(view.met(trajectory) for view in views)
    return {name: Share(count, len(trajectories)) for name, count in have.items()}
