"""What a benchmark is, and where benchmarks are filed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, cast

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.benchmarks.sizes import SIZES
from jepa_vlm.evaluation.item import BenchmarkItem
from jepa_vlm.evaluation.protocols import DEFAULT_PROTOCOL, NamedProtocol, load_protocol
from jepa_vlm.registry import Registry
from jepa_vlm.trajectories import MultipleChoice


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
        count: How many items, at least 1; None for all, or for the benchmark's own number.
        seed: What they are drawn with.
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
