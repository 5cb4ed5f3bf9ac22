"""From trajectories to a batch: tokens, pixels, rows and indices. All that needs no weights is settled here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final

from torch import Tensor

from jepa_vlm.adapters import ImageTokens
from jepa_vlm.serialization.reads import Read, needed_tokens, read_latent, read_region
from jepa_vlm.serialization.serializer import Serializer
from jepa_vlm.serialization.tokenized import TokenizedView
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import BatchPlan, ViewRequest


class Planner(Protocol):
    """Lays out a batch's views in rows; each engine brings its own.

    ``images_together`` says whether the engine encodes all images of a batch in one pass, or those of each view.
    """

    images_together: bool

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
        adapter = self.serializer.adapter
        processed = [self._images(trajectory) for trajectory in trajectories]
        written = [self.serializer.images(trajectory) for trajectory in trajectories]
        views = [
            self.serializer.views(trajectory, self.encodings, own)
            for trajectory, own in zip(trajectories, written, strict=True)
        ]
        needed = [
            [
                max(needed_tokens(view, request) for request in self.requests if request.encoding == encoding)
                for encoding, view in zip(self.encodings, own, strict=True)
            ]
            for own in views
        ]
        plan = self.planner(views, needed, _image_starts(written))
        reads = {request: self._read(request, views, plan) for request in self.requests}
        return {
            "ids": [trajectory.id for trajectory in trajectories],
            "examples": len(trajectories),
            "counts": {name: counter(len(trajectories), reads) for name, counter in self.counters.items()},
            "images": adapter.collate_images([image for images in processed for image in images])
            if self.planner.images_together
            else processed,
            "rows": dict(plan.rows),
            "reads": [read.tensors for read in reads.values()],
        }

    def _images(self, trajectory: Trajectory) -> list[dict[str, Tensor]]:
        adapter, processor, images = self.serializer.adapter, self.serializer.processor, trajectory.all_images
        return [adapter.process_image(processor, image.load(), together=len(images)) for image in images]

    def _read(self, request: ViewRequest, views: Sequence[Sequence[TokenizedView]], plan: BatchPlan) -> Read:
        number = self.encodings.index(request.encoding)
        own, location = [each[number] for each in views], plan.locations[number]
        if request.readout is not None:
            return read_latent(own, request.readout, location)
        return read_region(own, request.region or "all", location)


def _image_starts(images: Sequence[Sequence[ImageTokens]]) -> list[list[int]]:
    """Return, by example and image, the first row of its features among the batch's."""
    starts: list[list[int]] = []
    start = 0
    for own in images:
        starts.append([])
        for image in own:
            starts[-1].append(start)
            start += image.length
    return starts
