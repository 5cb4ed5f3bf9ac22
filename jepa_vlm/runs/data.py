"""From a data spec to what a run trains on, validates on, and is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import final

from jepa_vlm.errors import DataError
from jepa_vlm.playground import World
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.load import load_trajectories, parse_spec, split_mixture
from jepa_vlm.trajectories.mixture import Mixture, Source
from jepa_vlm.trajectories.rows import Picked, Rows

PLAYGROUND = "playground"
SEARCHED = 256  # of a playground, when only some trajectories are asked for
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
    """Return the trajectories of a data spec.

    Args:
        spec: ``playground:TASK#KEY=VALUE``, ``FORMAT:PATH#KEY=VALUE``, a path, or several of them with weights:
            ``lvr:PATH*2,thinkmorph:PATH``. Every file is split by ``held_out``. A playground's options hold for its
            questions too.
        seed: Of the playground's draws.

    Raises:
        DataError: If a file is broken or too small, or an option has a wrong value.
        UnknownNameError: If there is no such task, format or option.
    """
    specs = split_mixture(spec)
    if len(specs) == 1 and specs[0][1] == 1:
        return _load_one(specs[0][0], seed=seed)
    loaded = [_load_one(one, seed=seed) for one, _ in specs]
    names = source_names([one for one, _ in specs])
    benchmarks = [one.benchmark for one in loaded if one.benchmark is not None]
    return RunData(
        Mixture([Source(n, one.train, w) for n, one, (_, w) in zip(names, loaded, specs, strict=True)]),
        Mixture([Source(n, one.validation) for n, one in zip(names, loaded, strict=True)]),
        "; ".join(f"{name}: {one.rule}" for name, one in zip(names, loaded, strict=True)),
        benchmarks[0] if len(benchmarks) == 1 else None,
    )


def load_rows(spec: str) -> list[tuple[str, Rows]]:
    """Return name and rows of each source of a spec of files; weights do not matter here.

    Raises:
        DataError: If a file is not what it must be, or a playground is named, which has no rows to read.
    """
    specs = [one for one, _ in split_mixture(spec)]
    for one in specs:
        if parse_spec(one).source == PLAYGROUND:
            raise DataError(f"{one} is drawn, not read from a file; name files.")
    return list(zip(source_names(specs), map(load_trajectories, specs), strict=True))


def source_names(specs: Sequence[str]) -> list[str]:
    """Return a short name for each source of a mixture: its format, numbered where it occurs again."""
    names: list[str] = []
    for spec in specs:
        name = parse_spec(spec).source
        again = sum(one.partition("-")[0] == name for one in names)
        names.append(f"{name}-{again + 1}" if again else name)
    return names


def _load_one(spec: str, *, seed: int) -> RunData:
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
    dropped = "".join(f"; dropped by the format: {count} {why}" for why, count in found.dropped.items())
    return RunData(
        Picked(found, [i for i, name in enumerate(ids) if name not in names]),
        Picked(found, [i for i, name in enumerate(ids) if name in names]),
        f"held out: the {len(names)} ids with the smallest SHA-256 (one in {SHARE}, at most {MOST}){dropped}",
        None,
    )


def first_trajectories(
    spec: str, *, count: int, seed: int = 0, keep: Callable[[Trajectory], bool] | None = None
) -> list[Trajectory]:
    """Return the first trajectories of each source of a spec that ``keep`` says yes to.

    Raises:
        DataError: If there is none, or a row on the way is not what it must be.
    """
    found: list[Trajectory] = []
    for one, _ in split_mixture(spec):
        parts = parse_spec(one)
        drawn = count if keep is None else SEARCHED
        source: Sequence[Trajectory] = (
            World.of(parts).trajectories(count=drawn, seed=seed)
            if parts.source == PLAYGROUND
            else load_trajectories(parts)
        )
        found += islice(filter(keep, source), count)
    if not found:
        raise DataError(f"No trajectory of {spec} passes the filters; take one away.")
    return found


def held_out_trajectories(spec: str, *, count: int, seed: int = 0, min_calls: int = 0) -> tuple[list[Trajectory], int]:
    """Return trajectories that no run on this data trains on, as many of each source, and how many were passed over.

    Of a playground they are of its test split, which no checkpoint was chosen by either; of a file, those that
    ``held_out`` names.

    Args:
        spec: As for ``load_data``; weights do not matter here.
        count: Most in all; a file may hold fewer.
        seed: Of a playground's draws.
        min_calls: A trajectory with fewer tool calls is passed over.

    Raises:
        DataError: If fewer than two are left, or a file is not what it must be.
    """
    specs = [one for one, _ in split_mixture(spec)]
    share, found, passed = -(-count // len(specs)), [], 0
    for one in specs:
        parts = parse_spec(one)
        source: Sequence[Trajectory] = (
            World.of(parts).trajectories(count=share, seed=seed, split="test")
            if parts.source == PLAYGROUND
            else _load_one(one, seed=seed).validation
        )
        taken = 0
        for trajectory in source:
            if taken == share:
                break
            if trajectory.calls < min_calls:
                passed += 1
                continue
            found.append(trajectory)
            taken += 1
    if len(found) < 2:
        raise DataError(
            f"{spec} has {len(found)} held-out trajectories with at least {min_calls} tool calls ({passed} have "
            "fewer); two are needed."
        )
    return found[:count], passed


def drawn_or_read(spec: str, *, count: int, seed: int = 0) -> list[tuple[str, Sequence[Trajectory]]]:
    """Return name and trajectories of each source of a spec: a file's all, of a playground the first ``count``.

    Raises:
        DataError: If a file is not what it must be.
    """
    specs = [one for one, _ in split_mixture(spec)]
    return [
        (
            name,
            World.of(parts).trajectories(count=count, seed=seed)
            if (parts := parse_spec(one)).source == PLAYGROUND
            else load_trajectories(parts),
        )
        for name, one in zip(source_names(specs), specs, strict=True)
    ]


def held_out(ids: Sequence[str]) -> set[str]:
    """Return the ids that are kept from training: those with the smallest SHA-256, one in 20, at least 1, at most 512.

    The rule knows neither seed nor order, so every run on a file holds out the same examples.
    """
    count = max(1, min(MOST, len(ids) // SHARE))
    return set(sorted(ids, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())[:count])
