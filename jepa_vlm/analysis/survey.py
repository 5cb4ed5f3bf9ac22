"""Reads every row of a source once, in parallel and bounded memory: what ``data check`` and ``data stats`` count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from torch.utils.data import DataLoader, Dataset

from jepa_vlm.adapters.image_tokens import region_rows
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.serialization import Serializer
from jepa_vlm.trajectories import LazyImage, Rows, Trajectory
from jepa_vlm.trajectories.bad_rows import problem_of
from jepa_vlm.views import IGNORED, Request

BATCH = 16  # rows that a worker hands over at once


@final
@dataclass(frozen=True)
class ViewTokens:
    """Tokens of one view of a trajectory.

    Args:
        total: All of them.
        visual: Those of images.
        supervised: Those that are trained.
    """

    total: int
    visual: int
    supervised: int


@final
@dataclass(frozen=True)
class RowFacts:
    """What was found out about one row.

    Args:
        place: File and row.
        problem: Its kind of problem, or "".
        message: What is wrong, or "".
        task, calls, tools, images: Of its trajectory.
        boxes: Share of its image that each box covers.
        latents: Merged visual tokens inside each box, as LVR counts them.
        tokens: By view.
        notes: What its reader decided, changed or did not read.
    """

    place: str
    problem: str = ""
    message: str = ""
    task: str = ""
    calls: int = 0
    tools: tuple[str, ...] = ()
    images: int = 0
    boxes: tuple[float, ...] = ()
    latents: tuple[int, ...] = ()
    tokens: Mapping[str, ViewTokens] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def survey(
    rows: Sequence[Trajectory], model: LatentVLM, *, workers: int = 0, decode: bool = True, limit: int | None = None
) -> Iterator[RowFacts]:
    """Yield the facts of every row, in order.

    Args:
        rows: The source; messages name the places of ``Rows``, and the numbers of other trajectories.
        model: Whose processor, template and views count tokens.
        workers: Processes that read; 0 reads in this one.
        decode: Whether images are decoded; else their headers must do.
        limit: Most tokens of a view; a longer one is a problem.
    """
    collator = model.collator()
    names = [encoding.view.name for encoding in collator.encodings]
    reader = _Reader(rows, collator.serializer, dict(zip(names, collator.encodings, strict=True)), decode, limit)
    loader: DataLoader[Any] = DataLoader(reader, batch_size=BATCH, num_workers=workers, collate_fn=list)
    for batch in loader:
        yield from batch


@final
class _Reader(Dataset[RowFacts]):
    def __init__(
        self,
        rows: Sequence[Trajectory],
        serializer: Serializer,
        encodings: Mapping[str, Request],
        decode: bool,
        limit: int | None,
    ) -> None:
        self.rows, self.serializer, self.encodings = rows, serializer, encodings
        self.decode, self.limit = decode, limit

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> RowFacts:
        place = self.rows.place(index) if isinstance(self.rows, Rows) else f"trajectory {index}"
        try:
            return self._facts(self.rows[index], place)
        except (DataError, BackboneError) as err:
            return RowFacts(place, *problem_of(err, place))

    def _facts(self, trajectory: Trajectory, place: str) -> RowFacts:
        written = self.serializer.images(trajectory)
        if self.decode:
            for image in _whole(trajectory.all_images):
                image.load()
        views = self.serializer.views(trajectory, tuple(self.encodings.values()), written)
        tokens = {
            name: ViewTokens(len(view), int(view.image_tokens.sum()), int((view.labels != IGNORED).sum()))
            for name, view in zip(self.encodings, views, strict=True)
        }
        for name, one in tokens.items():
            if self.limit is not None and one.total > self.limit:
                raise DataError(f"{place}: view {name!r} has {one.total} tokens, limit {self.limit}.", "too long")
        looked = [step.call for step in trajectory.steps if step.call is not None]
        boxes, latents = [], []
        for call in looked:
            if call.box is not None:
                size, tokens_of = trajectory.all_images[call.image].size, written[call.image]
                left, top, right, bottom = call.box.in_pixels(*size)
                boxes.append((right - left) * (bottom - top) / (size[0] * size[1]))
                if tokens_of.grid:  # a box has tokens of its own only where they lie as its pixels do
                    latents.append(len(region_rows(call.box, size, tokens_of)))
        return RowFacts(
            place,
            task=trajectory.task,
            calls=trajectory.calls,
            tools=tuple(call.name for call in looked),
            images=len(trajectory.all_images),
            boxes=tuple(boxes),
            latents=tuple(latents),
            tokens=tokens,
            notes=trajectory.notes,
        )


def _whole(images: Sequence[LazyImage]) -> Iterable[LazyImage]:
    """Return each picture once, whole, however many of the images are parts of it."""
    whole = (replace(image, region=None, resized=None) for image in images)
    return {image.source: image for image in whole}.values()
