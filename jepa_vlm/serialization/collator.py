"""From trajectories to a batch: tokens, pixels, rows and indices. All that needs no weights is settled here."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, final

from torch import Tensor

from jepa_vlm.adapters import Grid
from jepa_vlm.serialization.reads import Read, needed_tokens, read_latent, read_region
from jepa_vlm.serialization.serializer import Serializer
from jepa_vlm.serialization.tokenized import TokenizedView
from jepa_vlm.trajectories import LazyImage, Trajectory
from jepa_vlm.views import BatchPlan, ViewRequest


class Planner(Protocol):
    """Lays out a batch's views in rows; each engine brings its own."""

    def __call__(
        self,
        views: Sequence[Sequence[TokenizedView]],
        needed: Sequence[Sequence[int]],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        """Return the rows, and where each encoding is found in them."""


class Counter(Protocol):
    """Counts a term's units in a batch."""

    def __call__(self, examples: int, reads: Mapping[ViewRequest, Read]) -> int:
        """Return the count."""


@final
class Collator:
    """Makes batches of trajectories. Picklable, so that data-loading workers can run it; holds no weights.

    Args:
        serializer: Tokenises views.
        requests: What the objective reads.
        planner: Of the engine that will run the batch.
        counters: By term: counts what its sum is divided by.
    """

    def __init__(
        self,
        *,
        serializer: Serializer,
        requests: Sequence[ViewRequest],
        planner: Planner,
        counters: Mapping[str, Counter],
    ) -> None:
        self.serializer, self.planner, self.counters = serializer, planner, dict(counters)
        self.requests = tuple(requests)
        self.encodings = tuple(dict.fromkeys(request.encoding for request in requests))

    def __call__(self, trajectories: Sequence[Trajectory]) -> dict[str, Any]:
        """Return a batch: nested dictionaries of tensors and host numbers.

        Raises:
            DataError: If a trajectory or one of its images is not what it must be.
            ValueError: If there is no trajectory.
        """
        if not trajectories:
            raise ValueError("A batch needs at least one trajectory, got none.")
        images = _Images(self.serializer.processor.image_processor)
        shown = [images.add(trajectory) for trajectory in trajectories]
        grids = [[_grid(images.processed[number]) for number in own] for own in shown]
        views = [
            self.serializer.views(trajectory, self.encodings, own)
            for trajectory, own in zip(trajectories, grids, strict=True)
        ]
        needed = [
            [
                max(needed_tokens(view, request) for request in self.requests if request.encoding == encoding)
                for encoding, view in zip(self.encodings, own, strict=True)
            ]
            for own in views
        ]
        plan = self.planner(views, needed, self._image_starts(images.processed, shown))
        reads = {request: self._read(request, views, plan) for request in self.requests}
        return {
            "ids": [trajectory.id for trajectory in trajectories],
            "examples": len(trajectories),
            "shown": shown,
            "counts": {name: counter(len(trajectories), reads) for name, counter in self.counters.items()},
            "images": self.serializer.adapter.collate_images(images.processed),
            "rows": dict(plan.rows),
            "reads": [read.tensors for read in reads.values()],
        }

    def _image_starts(
        self, processed: Sequence[Mapping[str, Tensor]], shown: Sequence[Sequence[int]]
    ) -> list[list[int]]:
        lengths = [self.serializer.adapter.image_length(_grid(image)) for image in processed]
        starts = list(accumulate(lengths, initial=0))
        return [[starts[number] for number in own] for own in shown]

    def _read(self, request: ViewRequest, views: Sequence[Sequence[TokenizedView]], plan: BatchPlan) -> Read:
        number = self.encodings.index(request.encoding)
        own, location = [each[number] for each in views], plan.locations[number]
        if request.readout is not None:
            return read_latent(own, request.readout, location)
        return read_region(own, request.region or "all", location)


@final
class _Images:
    """A batch's images, each once, however many examples show it."""

    def __init__(self, image_processor: Any) -> None:
        self.processed: list[dict[str, Tensor]] = []
        self._processor, self._numbers = image_processor, dict[Hashable, int]()

    def add(self, trajectory: Trajectory) -> list[int]:
        """Return the numbers of a trajectory's images among the batch's."""
        return [self._number(image) for image in trajectory.all_images]

    def _number(self, image: LazyImage) -> int:
        if image.source not in self._numbers:
            self._numbers[image.source] = len(self.processed)
            self.processed.append(dict(self._processor(images=[image.load()], return_tensors="pt")))
        return self._numbers[image.source]


def _grid(image: Mapping[str, Tensor]) -> Grid:
    frames, rows, columns = image["image_grid_thw"][0].tolist()
    return frames, rows, columns
