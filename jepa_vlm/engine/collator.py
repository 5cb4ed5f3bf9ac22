"""From trajectories to a batch: tokens, pixels, packed sequences. All that needs no weights is settled here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import accumulate
from typing import final

import torch
from torch import Tensor

from jepa_vlm.adapters import ImageTokens
from jepa_vlm.engine.batch import Batch, BatchPlan, Location, Read, Sources
from jepa_vlm.engine.engine import Planner
from jepa_vlm.serialization import Serializer
from jepa_vlm.serialization.target_store import TargetStore, target_digest
from jepa_vlm.terms import Denominator, ExtraInputs
from jepa_vlm.trajectories import LazyImage, Trajectory
from jepa_vlm.views import IGNORED, Request, TokenizedView

LATENT = ("latents", "before_latents")
PREDICTING = ("supervised", "before_latents")  # regions read one token early, at the state that predicts each token


@final
class Collator:
    """Makes batches of trajectories. Picklable, so that data-loading workers can run it; holds no weights.

    Args:
        serializer: Tokenises views.
        requests: By term: what it reads.
        planner: Returns the planner of some encodings: that of the engine which will run the batch.
        denominators: By term: what its sum is divided by.
        stores: Where the states of requests with a ``cached`` policy are.
        extra_inputs: By term: what makes the tensors that it reads besides states.
    """

    def __init__(
        self,
        *,
        serializer: Serializer,
        requests: Mapping[str, Sequence[Request]],
        planner: Callable[..., Planner],
        denominators: Mapping[str, Denominator],
        stores: Mapping[Request, TargetStore],
        extra_inputs: Mapping[str, ExtraInputs],
    ) -> None:
        self.serializer, self.planner, self.stores = serializer, planner, dict(stores)
        self.requests, self.denominators, self.extra_inputs = dict(requests), dict(denominators), dict(extra_inputs)

    def __call__(
        self,
        trajectories: Sequence[Trajectory],
        without: Collection[str] = (),
        sources: Sequence[int] = (),
        of: int = 0,
        others: Sequence[Trajectory | None] = (),
    ) -> Batch:
        """Return a batch.

        Args:
            trajectories: The examples.
            without: Terms that this batch leaves out; what they alone need is not computed, and they count 0.
            sources: The number of each example's source, where losses are to be told by source.
            of: How many sources there are.
            others: For each example another one, against whose images a term may hold its own; none if not given.

        Raises:
            DataError: If a trajectory or one of its images is not what it must be, or its cached target is not stored.
            RunError: If cached targets are not computed yet.
            ValueError: If there is no trajectory, or no term of a name that is left out.
        """
        if not trajectories:
            raise ValueError("A batch needs at least one trajectory, got none.")
        if unknown := sorted(set(without) - self.requests.keys()):
            raise ValueError(f"There is no term {', '.join(unknown)} to leave out; known: {', '.join(self.requests)}.")
        written = [self.serializer.images(trajectory) for trajectory in trajectories]
        requests = self._requests(without)
        views = self._views(trajectories, requests, written)
        planner = self._planner(requests)
        images = _Images(self.serializer)
        run = [views[encoding] for encoding in planner.encodings]  # what is stored needs no image
        needed = [{image for own in run for image in own[i].needed_images} for i in range(len(trajectories))]
        if not any(needed):
            needed[0] = {0}  # the vision tower is handed one image at least
        shown = [images.add(trajectory, own) for trajectory, own in zip(trajectories, needed, strict=True)]
        plan = self._plan(planner, views, requests, _image_starts(written, shown))
        reads = {
            request: self._stored(request, views, trajectories)
            if request in self.stores
            else read(request, views[request.encoding], plan.locations)
            for request in requests
        }
        by_source = [self._counts(reads, without, [i for i, own in enumerate(sources) if own == n]) for n in range(of)]
        together = self.serializer.adapter.collate_images(images.processed) if planner.images_together else None
        return Batch(
            ids=tuple(trajectory.id for trajectory in trajectories),
            skipped=tuple(sorted(without)),
            counts=self._counts(reads, without, range(len(trajectories))),
            images=[[None if number is None else images.processed[number] for number in own] for own in shown]
            if together is None
            else together,
            shown=shown,
            sequences=plan.sequences,
            reads={request: each.of(()) for request, each in reads.items()},
            extra={n: make(trajectories, others) for n, make in self.extra_inputs.items() if n not in without},
            sources=Sources(torch.tensor(sources), by_source) if of else None,
        )

    def check(self, trajectory: Trajectory) -> None:
        """Check what can be checked cheaply before a run begins: texts, answers, looks, and images by their headers.

        Raises:
            DataError: If a text or an image is not what it must be, an answer that is encoded is empty or too long, or
                latent slots have nothing to stand for.
        """
        self.serializer.check(trajectory, [encoding.view for encoding in self.encodings])
        for extra in self.extra_inputs.values():
            extra.check(trajectory)

    def tokens(self, trajectories: Sequence[Trajectory]) -> list[int]:
        """Return how many tokens the decoder computes for each trajectory, counted from texts and image headers.

        Raises:
            DataError: If a trajectory or one of its images is not what it must be.
        """
        requests, counts = self._requests(), []
        for trajectory in trajectories:
            written = [self.serializer.images(trajectory)]
            starts = _image_starts(written, [range(len(written[0]))])
            views = self._views([trajectory], requests, written)
            plan = self._plan(self._planner(requests), views, requests, starts)
            counts.append(plan.tokens())
        return counts

    @property
    def encodings(self) -> tuple[Request, ...]:
        """Every encoding of the backbone that a term reads, each once."""
        return self._encodings(self._requests())

    def _encodings(self, requests: Sequence[Request]) -> tuple[Request, ...]:
        return tuple(dict.fromkeys(request.encoding for request in requests))

    def _counts(
        self, reads: Mapping[Request, Read], without: Collection[str], examples: Sequence[int]
    ) -> dict[str, int]:
        """Return each term's units in some of the examples."""
        own = {request: read.of(examples) for request, read in reads.items()}
        return {n: 0 if n in without else each.count(len(examples), own) for n, each in self.denominators.items()}

    def _requests(self, without: Collection[str] = ()) -> tuple[Request, ...]:
        asked = (request for name, own in self.requests.items() if name not in without for request in own)
        return tuple(dict.fromkeys(asked))

    def _views(
        self,
        trajectories: Sequence[Trajectory],
        requests: Sequence[Request],
        written: Sequence[Sequence[ImageTokens]],
    ) -> dict[Request, list[TokenizedView]]:
        encodings = self._encodings(requests)
        each = [self.serializer.views(t, encodings, own) for t, own in zip(trajectories, written, strict=True)]
        return {encoding: [views[e] for views in each] for e, encoding in enumerate(encodings)}

    def _planner(self, requests: Sequence[Request]) -> Planner:
        return self.planner(self._encodings([each for each in requests if each not in self.stores]))

    def _plan(
        self,
        planner: Planner,
        views: Mapping[Request, Sequence[TokenizedView]],
        requests: Sequence[Request],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        reading: dict[Request, list[Request]] = {}
        for request in requests:
            if request not in self.stores:
                reading.setdefault(request.encoding, []).append(request)
        needed = {
            encoding: [max(needed_tokens(view, request) for request in own) for view in views[encoding]]
            for encoding, own in reading.items()
        }
        return planner(views, needed, image_starts)

    def _stored(
        self,
        request: Request,
        views: Mapping[Request, Sequence[TokenizedView]],
        trajectories: Sequence[Trajectory],
    ) -> Read:
        """Return the read of states that are stored."""
        own = views[request.encoding]
        digests = [target_digest(view, trajectory) for view, trajectory in zip(own, trajectories, strict=True)]
        latent = self.stores[request].read(digests, [trajectory.id for trajectory in trajectories])
        return Read("", torch.arange(0), latent=latent)


@final
class _Images:
    """A batch's images that a view needs, each once, however many examples show it.

    A family that counts images by conversation gets all of every example's.
    """

    def __init__(self, serializer: Serializer) -> None:
        self.processed: list[dict[str, Tensor]] = []
        self._serializer, self._numbers = serializer, dict[Hashable, int]()

    def add(self, trajectory: Trajectory, needed: Collection[int]) -> list[int | None]:
        """Return the numbers of a trajectory's images among the batch's; None for one that nothing needs."""
        images, every = trajectory.all_images, self._serializer.adapter.counts_images
        return [self._number(one, len(images)) if every or i in needed else None for i, one in enumerate(images)]

    def _number(self, image: LazyImage, together: int) -> int:
        adapter, key = self._serializer.adapter, (image.source, together)
        if key not in self._numbers or adapter.counts_images:
            self._numbers[key] = len(self.processed)
            self.processed.append(adapter.process_image(self._serializer.processor, image.load(), together=together))
        return self._numbers[key]


def _image_starts(written: Sequence[Sequence[ImageTokens]], shown: Sequence[Sequence[int | None]]) -> list[list[int]]:
    """Return, by example and image, the first row of its features among the batch's.

    Args:
        written: By example and image: its tokens.
        shown: Likewise: its number among the batch's images; None for one that is not among them, which starts at 0.
    """
    pairs = [pair for own in zip(written, shown, strict=True) for pair in zip(*own, strict=True)]
    lengths = {number: one.length for one, number in pairs if number is not None}
    starts = list(accumulate((lengths[number] for number in sorted(lengths)), initial=0))
    return [[0 if number is None else starts[number] for number in own] for own in shown]


def region_tokens(view: TokenizedView, region: str) -> Tensor:
    """Return the positions of a region in a view. A view's first token is not supervised: no state predicts it."""
    if region == "supervised":
        return (view.labels[1:] != IGNORED).nonzero()[:, 0] + 1
    if region == "trajectory":
        return view.trajectory.nonzero()[:, 0]
    if region == "all":
        return torch.arange(len(view))
    return view.marks[region].nonzero()[:, 0] if region in view.marks else torch.arange(0)


def needed_tokens(view: TokenizedView, request: Request) -> int:
    """Return how many tokens of the view, from the front, a request needs computed."""
    if request.at == "mean":
        return int(view.content.nonzero()[-1]) + 1
    if request.reads_one:
        return view.readouts[request.at] + 1
    tokens = region_tokens(view, request.at)
    if request.at == "supervised":
        tokens = tokens - 1  # the state that predicts a token stands one before it, and the token itself is not read
    return int(tokens[-1]) + 1 if len(tokens) else 1


def read(request: Request, views: Sequence[TokenizedView], locations: Mapping[Request, Location]) -> Read:
    """Resolve a request for a batch, given the tokens of its view for each example."""
    location = locations[request.encoding]
    return _read_one(request.at, views, location) if request.reads_one else _read_region(request.at, views, location)


def _read_one(at: str, views: Sequence[TokenizedView], location: Location) -> Read:
    """Resolve one place per example, or for ``mean`` the places of its content tokens."""
    starts = _starts(views)
    if at != "mean":
        places = torch.tensor([start + view.readouts[at] for start, view in zip(starts, views, strict=True)])
        return Read(location.sequence, location.index[places])
    content = [view.content.nonzero()[:, 0] for view in views]
    places = torch.cat([start + own for start, own in zip(starts, content, strict=True)])
    sizes = torch.tensor([len(own) for own in content])
    return Read(location.sequence, location.index[places], document=_documents(sizes), size=sizes)


def _read_region(region: str, views: Sequence[TokenizedView], location: Location) -> Read:
    starts = _starts(views)
    tokens = [region_tokens(view, region) for view in views]
    places = torch.cat([start + own for start, own in zip(starts, tokens, strict=True)])
    own_labels = [view.labels[own] for view, own in zip(views, tokens, strict=True)]
    sizes = torch.tensor([len(own) for own in tokens])
    return Read(
        location.sequence,
        location.index[places - (1 if region in PREDICTING else 0)],
        labels=torch.cat(own_labels),
        document=_documents(sizes),
        slots=location.index[places] if region in LATENT else None,
        lengths=tuple(sizes.tolist()),
        supervised=tuple(tuple((labels != IGNORED).nonzero()[:, 0].tolist()) for labels in own_labels),
    )


def _starts(views: Sequence[TokenizedView]) -> list[int]:
    ends = torch.tensor([len(view) for view in views]).cumsum(0)
    return [0, *ends[:-1].tolist()]


def _documents(sizes: Tensor) -> Tensor:
    return torch.arange(len(sizes)).repeat_interleave(sizes)
