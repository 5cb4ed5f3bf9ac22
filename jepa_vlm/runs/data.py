"""From a data spec to what a run trains on, validates on, and is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.playground import World
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.load import load_trajectories, parse_spec
from jepa_vlm.trajectories.rows import Picked

PLAYGROUND = "playground"
TRAIN, VALIDATION = 4096, 128  # of a playground, drawn in seconds
SHARE, MOST = 20, 512  # of a file, one in 20 is held out, at most 512


@final
@dataclass(frozen=True)
class RunData:
    """Trajectories of a run.

    Args:
        train: To train on.
        validation: Held out.
        rule: How the two were told apart, in words.
        benchmark: The questions that belong to the data, or None if it has none.
    """

    train: Sequence[Trajectory]
    validation: Sequence[Trajectory]
    rule: str
    benchmark: str | None


def load_data(spec: str, *, seed: int = 0) -> RunData:
    """Return the trajectories of ``playground:TASK``, ``playground:TASK#KEY=VALUE``, ``FORMAT:PATH`` or a path.

    Args:
        spec: What to load. A file is split by ``held_out``. A playground's options hold for its questions too.
        seed: Of the playground's draws.

    Raises:
        DataError: If a file is broken or too small, or an option has a wrong value.
        UnknownNameError: If there is no such task, format or option.
    """
    parts = parse_spec(spec)
    if parts.source == PLAYGROUND:
        world = World.of(parts)
        return RunData(
            world.trajectories(count=TRAIN, seed=seed),
            world.trajectories(count=VALIDATION, seed=seed, split="validation"),
            "scenes are split by their content: 80% train, 10% validation, 10% test",
            spec,
        )
    found = load_trajectories(parts)
    if len(found) < 2:
        raise DataError(f"{spec} holds {len(found)} trajectory; a run needs one to train on and one to hold out.")
    ids = found.ids
    names = held_out(ids)
    return RunData(
        Picked(found, [i for i, name in enumerate(ids) if name not in names]),
        Picked(found, [i for i, name in enumerate(ids) if name in names]),
        f"held out: the {len(names)} ids with the smallest SHA-256 (one in {SHARE}, at most {MOST})",
        None,
    )


def first_trajectories(spec: str, *, count: int, seed: int = 0) -> Sequence[Trajectory]:
    """Return the first trajectories of a data spec, to look at."""
    parts = parse_spec(spec)
    if parts.source == PLAYGROUND:
        return World.of(parts).trajectories(count=count, seed=seed)
    return load_trajectories(parts)[:count]


def held_out(ids: Sequence[str]) -> set[str]:
    """Return the ids that are kept from training: those with the smallest SHA-256, one in 20, at least 1, at most 512.

    The rule knows neither seed nor order, so every run on a file holds out the same examples.
    """
    count = max(1, min(MOST, len(ids) // SHARE))
    return set(sorted(ids, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])
