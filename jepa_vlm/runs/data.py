"""Load the data of a run from its spec: what it trains on, what it holds out, and which questions it answers.

Of files, whole pictures are held out, so that no held-out row shows a picture that a run trains on. A digest of the
rows lets a resumed run refuse other data.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.playground import World
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.formats.jsonl import row_of
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.load import load_trajectories, parse_spec, split_mixture
from jepa_vlm.trajectories.rows import Mixture, Picked, RowReader, Rows, Source, policy_of

PLAYGROUND = "playground"
SEARCHED = 256  # of a playground, when only some trajectories are asked for
TRAIN, VALIDATION = 4096, 128  # of a playground, drawn in seconds


@final
@dataclass(frozen=True)
class RunData:
    """Trajectories of a run.

    Args:
        train: Trajectories to train on.
        validation: Held-out trajectories.
        rule: How the two were told apart, in words.
        benchmark: The questions that belong to the data, or None if it has none.
        digests: Digest of the rows and pictures of each source that is read from files.
        name: What logs call the source, where it is one; those of a mixture have their own.
    """

    train: Sequence[Trajectory]
    validation: Sequence[Trajectory]
    rule: str
    benchmark: str | None
    digests: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


def load_data(spec: str, *, seed: int = 0) -> RunData:
    """Return the trajectories of a data spec.

    Args:
        spec: ``playground:TASK#KEY=VALUE``, ``FORMAT:PATH#KEY=VALUE``, a path, or several of them with weights:
            ``lvr:PATH*2,thinkmorph:PATH``. Files are split by ``split_by_picture``, all of them together. A
            playground's options hold for its questions too.
        seed: Random seed of the playground's draws.

    Raises:
        DataError: If a file is broken or too small, or an option has a wrong value.
        UnknownNameError: If there is no such task, format or option.
    """
    specs = split_mixture(spec)
    names = source_names([one for one, _ in specs])
    files = _files([one for one, _ in specs], names)
    loaded = [files[i] if i in files else _drawn(one, seed=seed) for i, (one, _) in enumerate(specs)]
    if len(specs) == 1 and specs[0][1] == 1:
        return replace(loaded[0], name=names[0])
    benchmarks = [one.benchmark for one in loaded if one.benchmark is not None]
    return RunData(
        Mixture([Source(n, one.train, w) for n, one, (_, w) in zip(names, loaded, specs, strict=True)]),
        Mixture([Source(n, one.validation) for n, one in zip(names, loaded, strict=True)]),
        "; ".join(f"{name}: {one.rule}" for name, one in zip(names, loaded, strict=True)),
        benchmarks[0] if len(benchmarks) == 1 else None,
        {name: digest for one in loaded for name, digest in one.digests.items()},
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


def _files(specs: Sequence[str], names: Sequence[str]) -> dict[int, RunData]:
    """Return the data of each source of files; they are split together: none trains on what another holds out."""
    opened = {i: _opened(one) for i, one in enumerate(specs) if parse_spec(one).source != PLAYGROUND}
    digests = {i: digest_rows(rows) for i, rows in opened.items()}
    splits = split_by_picture([(rows.ids, digests[i].pictures) for i, rows in opened.items()])
    return {
        i: _split(rows, split, {names[i]: digests[i].digest})
        for (i, rows), split in zip(opened.items(), splits, strict=True)
    }


def file_digests(spec: str) -> dict[str, str]:
    """Return the digest of each source of a spec that is read from files, as a run's record has it.

    Raises:
        DataError: If a file is not what it must be.
    """
    specs = [one for one, _ in split_mixture(spec)]
    named = zip(source_names(specs), specs, strict=True)
    return {name: digest_rows(_opened(one)).digest for name, one in named if parse_spec(one).source != PLAYGROUND}


def _opened(spec: str) -> Rows:
    found = load_trajectories(spec)
    if len(found) < 2:
        raise DataError(f"{spec} holds {len(found)} trajectory; a run needs one to train on and one to hold out.")
    return found


def _drawn(spec: str, *, seed: int) -> RunData:
    world = World.of(parse_spec(spec))
    return RunData(
        world.trajectories(count=TRAIN, seed=seed),
        world.trajectories(count=VALIDATION, seed=seed, split="validation"),
        "scenes are split by their content: 80% train, 10% validation, 10% test",
        spec,
    )


def _split(rows: Rows, split: Split, digests: Mapping[str, str]) -> RunData:
    held_out = set(split.held_out)
    shared = f"; {split.shared} of them show a picture that training shows too" if split.shared else ""
    dropped = "".join(f"; dropped by the format: {count} {why}" for why, count in rows.dropped.items())
    return RunData(
        Picked(rows, [i for i in range(len(rows)) if i not in held_out]),
        Picked(rows, split.held_out),
        f"held out: {len(held_out)} rows (about one in {SHARE}, at most {MOST}), chosen by the SHA-256 of their ids "
        f"and together with every row that shows the same first picture{shared}{dropped}",
        None,
        digests,
    )


def first_trajectories(
    spec: str, *, count: int, seed: int = 0, keep: Callable[[Trajectory], bool] | None = None
) -> list[Trajectory]:
    """Return the first trajectories of each source of a spec that ``keep`` says yes to.

    Raises:
        DataError: If there is none, or a row on the way is not what it must be and its source refuses such rows.
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
        found += islice(filter(keep, usable(source)), count)
    if not found:
        raise DataError(f"No trajectory of {spec} passes the filters; take one away.")
    return found


def held_out_trajectories(
    spec: str, *, count: int, seed: int = 0, min_calls: int = 0, recorded: Mapping[str, str] | None = None
) -> tuple[list[Trajectory], int]:
    """Return trajectories that no run on this data trains on, as many of each source, and how many were passed over.

    Of a playground they are of its test split, which no checkpoint was chosen by either; of files, those that
    ``load_data`` holds out.

    Args:
        spec: As for ``load_data``; weights do not matter here.
        count: Most in all; a file may hold fewer.
        seed: Random seed of a playground's draws.
        min_calls: A trajectory with fewer tool calls is passed over.
        recorded: The digests that the run which trained on the data recorded; None where there is no such run.

    Raises:
        DataError: If fewer than two are left, a file is not what it must be, or files are not those that were recorded.
    """
    specs = [one for one, _ in split_mixture(spec)]
    share, found, passed = -(-count // len(specs)), [], 0
    files = _files(specs, source_names(specs))
    for name, digest in (pair for one in files.values() for pair in one.digests.items()):
        if recorded is not None and recorded.get(name) != digest:
            raise DataError(
                f"The run recorded other rows of {spec} (source {name}) than there are now, or is of an earlier "
                "version, which held out other rows; what it did not train on is not known. Restore the files, or name "
                "data that it never saw with --data."
            )
    for number, one in enumerate(specs):
        source: Sequence[Trajectory] = (
            files[number].validation
            if number in files
            else World.of(parse_spec(one)).trajectories(count=share, seed=seed, split="test")
        )
        taken = 0
        for trajectory in usable(source):
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


def usable(source: Sequence[Trajectory]) -> Iterator[Trajectory]:
    """Yield the trajectories of a source, without the bad rows that its policy leaves out."""
    for _, trajectory, _ in RowReader(policy_of(source)).read(source, lambda _: None):
        yield trajectory


SHARE, MOST = 20, 512  # one row in 20 of each source is held out, at most 512


@final
@dataclass(frozen=True)
class Split:
    """The rows that one source holds out.

    Args:
        held_out: Their indices, in order.
        shared: How many of them show a picture that a source trains on: 0, unless no whole picture could be held out,
            such as where every row shows the same one.
    """

    held_out: tuple[int, ...]
    shared: int = 0


def split_by_picture(sources: Sequence[tuple[Sequence[str], Sequence[bytes | None]]]) -> list[Split]:
    """Return what each source holds out.

    A picture is held out with all its rows, in every source. The first to go are those of the rows whose ids have the
    smallest SHA-256, as long as no more than the source's share is held out and every source keeps rows to train on.
    The rule knows no seed, so every run on the same files holds out the same rows; where rows have ids of their own, it
    does not know their order either.

    Args:
        sources: For each source, its rows' ids, and a key of each row's first picture; None for a row that cannot be
            read, which is not held out. At least two rows.
    """
    rows = [Counter(picture for picture in pictures if picture is not None) for _, pictures in sources]
    chosen: set[bytes] = set()
    held = [0] * len(sources)
    for number, (ids, pictures) in enumerate(sources):
        own = rows[number]
        wanted = share(own.total())
        by_id = (pictures[i] for i in sorted(range(len(ids)), key=lambda i: _hashed(ids[i])))
        order = list(dict.fromkeys(picture for picture in by_id if picture is not None))
        if min(own.values(), default=0) > wanted:  # every picture has more rows than the share: one of the rarest goes
            wanted, order = min(own.values()), sorted(order, key=own.__getitem__)
        for picture in order:
            if held[number] + own[picture] > wanted or picture in chosen:
                continue
            if all(so_far + each[picture] < each.total() for so_far, each in zip(held, rows, strict=True)):
                chosen.add(picture)
                held = [so_far + each[picture] for so_far, each in zip(held, rows, strict=True)]
    held_out = [_held_out(ids, pictures, chosen) for ids, pictures in sources]
    trained: set[bytes] = set()
    for (_, pictures), out in zip(sources, held_out, strict=True):
        trained.update(picture for i, picture in enumerate(pictures) if i not in out and picture is not None)
    return [
        Split(tuple(sorted(out)), shared=sum(pictures[i] in trained for i in out))
        for (_, pictures), out in zip(sources, held_out, strict=True)
    ]


def share(rows: int) -> int:
    """Return how many of so many rows are held out."""
    return max(1, min(MOST, rows // SHARE))


def _held_out(ids: Sequence[str], pictures: Sequence[bytes | None], chosen: set[bytes]) -> set[int]:
    """Return the rows that show a chosen picture; where there is none, those with the smallest hashes."""
    found = {i for i, picture in enumerate(pictures) if picture in chosen}
    return found or set(sorted(range(len(ids)), key=lambda i: _hashed(ids[i]))[: share(len(ids))])


def _hashed(identity: str) -> bytes:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()


@final
@dataclass(frozen=True)
class RowDigests:
    """Digests of the rows of one source.

    Args:
        pictures: Key of each row's first picture, which rows that show the same file share; None for a row that cannot
            be read.
        digest: Digest of all rows in their order (ids, texts, boxes, the bytes of every picture), in hexadecimal.
    """

    pictures: tuple[bytes | None, ...]
    digest: str


def digest_rows(rows: Rows) -> RowDigests:
    """Read every row once. The message of a row that cannot be read is part of the digest."""
    known: dict[Path, bytes] = {}
    digest = hashlib.sha256()
    pictures: list[bytes | None] = []

    def picture(image: LazyImage) -> bytes:
        if image.path is None:
            return image.picture()
        if image.path not in known:
            known[image.path] = image.picture()
        return known[image.path]

    def saved(image: LazyImage) -> list[Any]:
        region = None if image.region is None else repr(image.region)
        return [picture(image).hex(), region, image.resized]

    for index, name in enumerate(rows.ids):
        try:
            trajectory = rows[index]
            found = json.dumps(row_of(trajectory, saved), sort_keys=True).encode()
            key: bytes | None = picture(trajectory.images[0])
        except DataError as err:
            found, key = f"{name}: {err}".encode("utf-8", "surrogatepass"), None
        digest.update(b"%d " % len(found) + found)
        pictures.append(key)
    return RowDigests(tuple(pictures), digest.hexdigest())
