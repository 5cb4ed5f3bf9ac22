"""Read all data of a run once before it begins: which rows it uses, and which it leaves out or shrinks, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.runs.term_checks import HELD_OUT
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
        train: To train on.
        validation: Held out.
        sources: By source: its policy for bad rows, and counts of rows, of those left out, and of notes.
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


Count = Callable[[str, "Trajectory"], object]
"""Takes the source of a trajectory to train on, or HELD_OUT, and the trajectory."""


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
        model: Whose collator checks; its template and processor count the tokens. Images are measured by their headers.
        trajectories: To check.
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
    small = iter(_smaller(image, factor) for image in large)
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


def _smaller(image: LazyImage, factor: float) -> LazyImage:
    return replace(image, resized=_smaller_size(image, factor))


def _smaller_size(image: LazyImage, factor: float) -> tuple[int, int]:
    width, height = image.size
    return max(1, math.floor(width * factor)), max(1, math.floor(height * factor))


def _box(box: Box | None, image: LazyImage, factor: float) -> Box | None:
    """Return where a box lies when its image is made smaller: by what its sides become, which are whole pixels."""
    if box is None or box.relative:
        return box
    across, down = (new / old for new, old in zip(_smaller_size(image, factor), image.size, strict=True))
    return Box(box.left * across, box.top * down, box.right * across, box.bottom * down, relative=False)
