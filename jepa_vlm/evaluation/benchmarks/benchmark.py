"""The parts of a benchmark: its published sizes, the place of its files, and the registry."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.item import BenchmarkItem
from jepa_vlm.evaluation.protocols import DEFAULT_PROTOCOL, NamedProtocol, load_protocol
from jepa_vlm.registry import Registry
from jepa_vlm.trajectories import MultipleChoice
from jepa_vlm.trajectories.load import DataSpec, parse_spec

SIZES: Mapping[str, Mapping[str, int]] = {
    "vstar": {"direct_attributes": 115, "relative_position": 76},
    "mmvp": {"mmvp": 300},
    "blink": {
        "Art_Style": 117,
        "Counting": 120,
        "Forensic_Detection": 132,
        "Functional_Correspondence": 130,
        "IQ_Test": 150,
        "Jigsaw": 150,
        "Multi-view_Reasoning": 133,
        "Object_Localization": 122,
        "Relative_Depth": 124,
        "Relative_Reflectance": 134,
        "Semantic_Correspondence": 139,
        "Spatial_Relation": 143,
        "Visual_Correspondence": 172,
        "Visual_Similarity": 135,
    },
}
PAPER_SUBSETS = ("Counting", "IQ_Test", "Jigsaw", "Relative_Reflectance", "Spatial_Relation")


def published_sizes(benchmark: str, items: Sequence[MultipleChoice]) -> dict[str, int]:
    """Return how many items each task of ``items`` has as published; {} for a benchmark that is made on demand.

    Of BLINK only the subsets that were asked for count; of the others, every task does.
    """
    sizes = SIZES.get(benchmark, {})
    asked = {item.task for item in items}
    return {task: size for task, size in sizes.items() if benchmark != "blink" or task in asked}


def differences(items: Sequence[MultipleChoice], published: Mapping[str, int]) -> list[str]:
    """Return one phrase for each task that has more or fewer items than were published."""
    here = Counter(item.task for item in items)
    tasks = {**published, **{task: published.get(task, 0) for task in here}} if published else {}
    return [f"{task} has {here[task]} of {size} items" for task, size in tasks.items() if here[task] != size]


_COMMIT = re.compile(r"[0-9a-f]{40}")


def parse_source(name: str, argument: str, *, hub_id: str, options: Sequence[str] = ()) -> DataSpec:
    """Return the parts of what follows a benchmark's name: a place, and options behind a ``#``.

    Args:
        name: The benchmark's.
        argument: ``FOLDER`` or ``OWNER/NAME#revision=COMMIT``, options added.
        hub_id: The published data set, for messages.
        options: The options that the benchmark takes besides ``revision``.

    Raises:
        DataError: If there is no place, or an option that the benchmark does not take.
    """
    if not argument:
        raise DataError(
            f"{name} needs the place of its files: {name}:FOLDER, or {name}:{hub_id}#revision=COMMIT from the hub."
        )
    spec = parse_spec(f"{name}:{argument}")
    unknown = sorted(spec.options.keys() - {"revision", *options})
    if unknown:
        raise DataError(f"{name} takes the options {', '.join(('revision', *options))}; got {', '.join(unknown)}.")
    return spec


def folder_of(spec: DataSpec, *, patterns: Sequence[str]) -> Path:
    """Return the benchmark's folder, fetched from the hub if ``revision`` pins a commit of it.

    Args:
        spec: Value of ``parse_source``.
        patterns: The files that are needed of a hub data set.

    Raises:
        DataError: If the folder does not exist, the revision is not a whole commit, or the hub cannot be reached.
    """
    revision = spec.options.get("revision")
    if revision is None:
        folder = Path(spec.rest).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"Folder {spec.rest} does not exist; check the path, or for a data set of the hub pin its commit: "
                f"{spec.source}:OWNER/NAME#revision=COMMIT."
            )
        return folder
    if not _COMMIT.fullmatch(revision):
        raise DataError(
            f"revision must be a commit of 40 hex digits, so that the data cannot change; got {revision!r}."
        )
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(spec.rest, repo_type="dataset", revision=revision, allow_patterns=list(patterns))
    except (OSError, ValueError) as err:
        first_line = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise DataError(
            f"Cannot fetch the data set {spec.rest} at {revision[:12]}: {first_line} Check the id and the network, or "
            "download it elsewhere and give the folder."
        ) from None
    return Path(found)


class Benchmark(Protocol):
    """Makes or reads the items of a benchmark."""

    def __call__(
        self, argument: str, *, count: int | None, seed: int
    ) -> Sequence[MultipleChoice] | Sequence[BenchmarkItem]:
        """Return ``count`` items, or as many as it has; ``argument`` is what follows the colon of a spec, or "".

        Items whose prompt is fixed are ``MultipleChoice``; a ``BenchmarkItem`` gets its prompt from a protocol.
        """
        ...


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", hint="A new one is one file in jepa_vlm/evaluation/benchmarks.")


def load_benchmark(
    spec: str, *, count: int | None = None, seed: int = 0, protocol: str | None = None
) -> list[MultipleChoice]:
    """Return the items of a spec: ``"playground"``, ``"playground:visual-search"``, ``"vstar:FOLDER"``.

    Args:
        spec: A benchmark's name, and after a colon what it takes.
        count: Number of items, at least 1; None for all, or for the benchmark's own number.
        seed: Random seed with which items are drawn.
        protocol: The name of the protocol that makes the prompts; None for ``pearl-paper``.

    Raises:
        ValueError: If ``count`` is below 1.
        UnknownNameError: If there is no such benchmark or protocol, or it has no such part.
        DataError: If files are not what they must be, or the benchmark's prompts are fixed and a protocol is named.
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    name, _, argument = spec.partition(":")
    read = BENCHMARKS[name]
    rules = protocol_of(spec, protocol)
    found = read(argument, count=count, seed=seed)
    return [
        rules.ask(item) if isinstance(item, BenchmarkItem) and rules else cast("MultipleChoice", item) for item in found
    ]


def protocol_of(spec: str, name: str | None) -> NamedProtocol | None:
    """Return the named protocol under which a spec's items are asked; None for a benchmark whose prompts are its own.

    Raises:
        DataError: If a protocol is named for such a benchmark.
        UnknownNameError: If there is no such protocol.
    """
    benchmark = spec.partition(":")[0]
    if benchmark in SIZES:
        return load_protocol(name or DEFAULT_PROTOCOL, benchmark=benchmark)
    if name is not None:
        raise DataError(f"The prompts of {benchmark} are its own, so protocol {name!r} cannot be applied to it.")
    return None


def file_stem(spec: str) -> str:
    """Return what a spec's files are called: ``playground-maze``; a benchmark of files is called by its name alone."""
    name = spec.partition(":")[0]
    return name if name in SIZES else spec.replace(":", "-")


def split_specs(text: str) -> list[str]:
    """Return the specs of a comma-separated list; a comma inside a spec's own part, such as its options, stays."""
    names = "|".join(re.escape(name) for name in BENCHMARKS)
    return [spec for spec in re.split(rf",(?=(?:{names})(?:[:,]|$))", text) if spec]
