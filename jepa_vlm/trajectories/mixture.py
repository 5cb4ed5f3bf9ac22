"""Mixtures: several sources of trajectories, each with a weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import final, overload

from jepa_vlm.trajectories.trajectory import Trajectory


@final
@dataclass(frozen=True)
class Source:
    """One source of a mixture.

    Args:
        name: The name in logs.
        examples: Its trajectories.
        weight: How often each example is seen in one pass over the mixture: 1 is once, 2 is twice, 0.5 is in every
            other pass.
    """

    name: str
    examples: Sequence[Trajectory]
    weight: float = 1.0

    @property
    def share(self) -> int:
        """The number of its examples in one pass, at least one."""
        return max(1, round(self.weight * len(self.examples)))


@final
class Mixture(Sequence[Trajectory]):
    """The sources one after another; ``training.order.Passes`` mixes them by weight.

    Args:
        sources: At least one source, none of them empty, with different names and positive weights.

    Raises:
        ValueError: If there is no source, one is empty, names repeat, or a weight is not positive.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        names = [source.name for source in self.sources]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"A mixture needs sources with different names, got {names}.")
        for source in self.sources:
            if not source.examples or not source.weight > 0:
                raise ValueError(
                    f"Source {source.name} needs examples and a positive weight, got {len(source.examples)} examples "
                    f"and {source.weight}."
                )
        self._starts = [0, *accumulate(len(source.examples) for source in self.sources)]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trajectory]: ...
    def __getitem__(self, index: int | slice) -> Trajectory | list[Trajectory]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"Example {index} is outside a mixture of {len(self)}.")
        number = self.source_of(at)
        return self.sources[number].examples[at - self._starts[number]]

    def source_of(self, index: int) -> int:
        """Return the number of the source that holds an example, both counted from 0."""
        return bisect_right(self._starts, index) - 1
