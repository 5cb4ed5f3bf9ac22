"""Read all data of a run once: find the rows that it uses, leaves out or shrinks, and whether they train its terms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, final

from jepa_vlm.errors import DataError, RecipeError
from jepa_vlm.recipe import Stage
from jepa_vlm.terms import Objective
from jepa_vlm.trajectories import Box, LazyImage, Trajectory
from jepa_vlm.trajectories.bad_rows import BadRows
from jepa_vlm.trajectories.rows import Mixture, Picked, RowReader, Rows, Source, policy_of

if TYPE_CHECKING:
    from jepa_vlm.latent_vlm import LatentVLM
    from jepa_vlm.runs.data import RunData


@final
@dataclass(frozen=True)
class Fitted:
    """Trajectories that a run can use.

    Args:
        kept: Those to use.
        dropped: Ids of those left out because they are too long.
        shrunk: Ids of those whose images were made smaller.
    """

    kept: Sequence[Trajectory]
    dropped: tuple[str, ...] = ()
    shrunk: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Scanned:
    """What a run uses of its data.

    Args:
        train: Trajectories to train on.
        validation: Held-out trajectories.
        sources: For each source, its policy for bad rows, and counts of rows, of those left out, and of notes.
    """

    train: Fitted
    validation: Fitted
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return what was left out, decided and changed, a line for each kind."""
        found = []
        for name, one in self.sources.items():
            left = {kind: problem["count"] for kind, problem in one["left_out"].items()}
            for word, counts in (("left out by the format", one["dropped"]), ("left out", left), ("", one["notes"])):
                found += [f"{name}: {word}{' ' * bool(word)}{n} x {kind}" for kind, n in counts.items()]
        return found


Count = Callable[[str, Trajectory], object]  # takes a trajectory's source, or HELD_OUT, and the trajectory


def scan(model: LatentVLM, data: RunData, *, limit: int | None, policy: str, count: Count = lambda *_: None) -> Scanned:
    """Read every row once; see ``fit``.

    Raises:
        DataError: If a row cannot be used and its source refuses such rows, too many cannot be used, or none is left.
    """
    if not (isinstance(data.train, Mixture) and isinstance(data.validation, Mixture)):
        train, validation, found = _scan_one(
            model, Source(data.name, data.train), data.validation, limit=limit, policy=policy, count=count
        )
        return Scanned(train, validation, {data.name: found})
    parts = zip(data.train.sources, data.validation.sources, strict=True)
    scanned = [_scan_one(model, own, held.examples, limit=limit, policy=policy, count=count) for own, held in parts]
    names = [source.name for source in data.train.sources]
    return Scanned(
        _joined(data.train, [train for train, _, _ in scanned]),
        _joined(data.validation, [validation for _, validation, _ in scanned]),
        {name: found for name, (_, _, found) in zip(names, scanned, strict=True)},
    )


def _scan_one(
    model: LatentVLM,
    source: Source,
    validation: Sequence[Trajectory],
    *,
    limit: int | None,
    policy: str,
    count: Count,
) -> tuple[Fitted, Fitted, dict[str, Any]]:
    train = source.examples
    reader = RowReader(policy_of(train))
    fitted = []
    for part, name in ((train, source.name), (validation, HELD_OUT)):
        fitted.append(fit(model, part, limit=limit, policy=policy, reader=reader, count=partial(count, name)))
    own, held = fitted
    reader.finish()
    for used, what in ((own, "to train on"), (held, "to hold out")):
        if not used.kept:
            raise DataError(f"Every row {what} is bad; repair the data.\n{reader.lines()}")
    return own, held, {**reader.summary(), "dropped": dict(train.dropped) if isinstance(train, Rows) else {}}


def _joined(mixture: Mixture, parts: Sequence[Fitted]) -> Fitted:
    return Fitted(
        Mixture([replace(source, examples=own.kept) for source, own in zip(mixture.sources, parts, strict=True)]),
        tuple(name for own in parts for name in own.dropped),
        tuple(name for own in parts for name in own.shrunk),
    )


def fit(
    model: LatentVLM,
    trajectories: Sequence[Trajectory],
    *,
    limit: int | None,
    policy: str,
    reader: RowReader | None = None,
    count: Callable[[Trajectory], object] = lambda _: None,
) -> Fitted:
    """Read every trajectory of a source once, check it, and hold every view of it to ``limit`` tokens.

    Args:
        model: Its collator checks, its template and processor count tokens. Images are measured by their headers.
        trajectories: Trajectories of one source.
        limit: Most tokens, or None for no limit.
        policy: ``error``, ``drop``, or ``shrink``: scale all images of a trajectory down until it fits. Numbers in its
            texts, such as pixel coordinates, are not rewritten.
        reader: Leaves out and counts what cannot be used; None refuses it.
        count: Called with every trajectory that is kept.

    Raises:
        DataError: If one cannot be used and is refused, or is too long under ``error``, or none is left.
    """
    collator = model.collator()

    def measured(trajectory: Trajectory) -> tuple[int, Trajectory]:
        """Return the tokens of the longest view, where they are limited, and the trajectory as it is used."""
        collator.check(trajectory)
        length = 0 if limit is None else longest(model, trajectory)
        if limit is not None and length > limit and policy == "shrink":
            return length, _shrunk(model, trajectory, limit)
        return length, trajectory

    indices: list[int] = []
    dropped: list[str] = []
    shrunk: dict[int, Trajectory] = {}
    for index, trajectory, (length, used) in (reader or RowReader(BadRows())).read(trajectories, measured):
        if used is not trajectory:
            shrunk[index] = used
        elif limit is not None and length > limit and policy == "error":
            raise DataError(
                f"Trajectory {trajectory.id!r} has {length} tokens, limit {limit}; raise --max-tokens, or choose "
                "--too-long drop or --too-long shrink."
            )
        elif limit is not None and length > limit:
            dropped.append(trajectory.id)
            continue
        indices.append(index)
        count(used)
    if dropped and not indices:
        raise DataError(f"All {len(dropped)} trajectories have more than {limit} tokens; raise --max-tokens.")
    smaller = tuple(one.id for one in shrunk.values())
    if len(indices) == len(trajectories) and not shrunk:
        return Fitted(trajectories)
    if isinstance(trajectories, Rows) and not shrunk:
        return Fitted(Picked(trajectories, indices), tuple(dropped))
    return Fitted([shrunk.get(index) or trajectories[index] for index in indices], tuple(dropped), smaller)


def longest(model: LatentVLM, trajectory: Trajectory) -> int:
    """Return the tokens of the trajectory's longest view."""
    return max(len(view.input_ids) for view in model.serialize(trajectory).values())


def _shrunk(model: LatentVLM, trajectory: Trajectory, limit: int) -> Trajectory:
    factor = 1.0
    for _ in range(8):
        views = model.serialize(trajectory if factor == 1.0 else _scaled(trajectory, factor)).values()
        view = max(views, key=lambda each: len(each.input_ids))
        images, length = int(view.image_tokens.sum()), len(view.input_ids)
        if length <= limit:
            return _scaled(trajectory, factor)
        room = limit - (length - images)
        if room <= 0:
            break
        factor *= math.sqrt(room / images) * 0.97  # tokens go with the area; rounding to patches takes a little more
    raise DataError(f"Trajectory {trajectory.id!r} does not fit {limit} tokens however small its images; drop it.")


def _scaled(trajectory: Trajectory, factor: float) -> Trajectory:
    large = trajectory.all_images
    small = iter(replace(image, resized=_smaller_size(image, factor)) for image in large)
    images = tuple(next(small) for _ in trajectory.images)
    steps = tuple(
        replace(
            step,
            image=next(small) if step.image is not None else None,
            call=replace(step.call, box=_box(step.call.box, large[step.call.image], factor)) if step.call else None,
        )
        for step in trajectory.steps
    )
    return replace(trajectory, images=images, steps=steps)


def _smaller_size(image: LazyImage, factor: float) -> tuple[int, int]:
    width, height = image.size
    return max(1, math.floor(width * factor)), max(1, math.floor(height * factor))


def _box(box: Box | None, image: LazyImage, factor: float) -> Box | None:
    """Return where a box lies when its image is made smaller: by what its sides become, which are whole pixels."""
    if box is None or box.relative:
        return box
    across, down = (new / old for new, old in zip(_smaller_size(image, factor), image.size, strict=True))
    return Box(box.left * across, box.top * down, box.right * across, box.bottom * down, relative=False)


HELD_OUT = "held out"  # no source is called so: their names are those of formats
FEW = 0.1  # a share of trajectories below which a term is warned of


@final
@dataclass(frozen=True)
class Share:
    """Number of trajectories that have what a term needs, of all that were counted."""

    have: int
    of: int

    def __str__(self) -> str:
        return f"{self.have} of {self.of}"


@final
@dataclass(frozen=True)
class TermRows:
    """Numbers of trajectories that a term can learn from.

    Args:
        needs: What they must have, see ``View.needs``.
        train, validation: How many have it.
        sources: The same for each source of a mixture, training trajectories alone.
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
        objective: The run's objective.
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
            stages: Stages of the recipe.

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
        """Warnings for the user."""
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
        examples: Number of training trajectories.
        held_out: Number of held-out trajectories of the process that has the fewest.

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
