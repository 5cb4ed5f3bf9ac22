"""Reads all data of a run once before it begins: which rows it uses, which it leaves out, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.runs.length import Fitted, fit
from jepa_vlm.runs.term_rows import HELD_OUT
from jepa_vlm.trajectories.mixture import Mixture, Source
from jepa_vlm.trajectories.rows import RowReader, Rows, policy_of

if TYPE_CHECKING:
    from jepa_vlm.latent_vlm import LatentVLM
    from jepa_vlm.runs.data import RunData
    from jepa_vlm.trajectories import Trajectory


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
