"""Facts about every row of a source, and their counts: the numbers of ``data check`` and ``data stats``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from torch.utils.data import DataLoader, Dataset

from jepa_vlm.adapters.image_tokens import region_rows
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.serialization import Serializer
from jepa_vlm.trajectories import LazyImage, Rows, Trajectory
from jepa_vlm.trajectories.bad_rows import Problems, problem_of
from jepa_vlm.views import IGNORED, Request

BATCH = 16  # rows that a worker returns at once


@final
@dataclass(frozen=True)
class ViewTokens:
    """Numbers of tokens in one view of a trajectory.

    Args:
        total: Number of all tokens.
        visual: Number of image tokens.
        supervised: Number of tokens with a label.
    """

    total: int
    visual: int
    supervised: int


@final
@dataclass(frozen=True)
class RowFacts:
    """Facts about one row.

    Args:
        place: File and row.
        problem: Kind of the problem; "" for a good row.
        message: Description of the problem; "" for a good row.
        task: Task of the trajectory.
        calls: Number of its tool calls.
        tools: Name of the tool of each call.
        images: Number of its images.
        boxes: Share of its image that each box covers.
        latents: Number of merged visual tokens inside each box, as LVR counts them.
        tokens: Numbers of tokens by view.
        notes: What the format's reader decided, changed or did not read.
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
    """Yield the facts of every row, in order and in bounded memory.

    Args:
        rows: Source of trajectories; messages name the place of each row of a ``Rows``, else its number.
        model: Model whose processor, template and views count the tokens.
        workers: Number of reading processes; 0 reads in this process.
        decode: Whether images are decoded; otherwise only their headers are read.
        limit: Most tokens of a view; a longer view is a problem.
    """
    collator = model.collator()
    names = [encoding.view.name for encoding in collator.encodings]
    facts = _FactsOfRows(rows, collator.serializer, dict(zip(names, collator.encodings, strict=True)), decode, limit)
    loader: DataLoader[Any] = DataLoader(facts, batch_size=BATCH, num_workers=workers, collate_fn=list)
    for batch in loader:
        yield from batch


@final
class _FactsOfRows(Dataset[RowFacts]):
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
    """Return each whole picture once, however many of the images are crops of it."""
    whole = (replace(image, region=None, resized=None) for image in images)
    return {image.source: image for image in whole}.values()


@final
class Tally:
    """Counts rows one by one. It stores counts of values and no rows, so its memory does not grow with the rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.problems = Problems()
        self.notes: Counter[str] = Counter()
        self.counts: dict[str, Counter[Any]] = {name: Counter() for name in ("tasks", "calls", "tools", "images")}
        self.boxes: Counter[int] = Counter()
        self.latents: Counter[int] = Counter()
        self.tokens: dict[str, dict[str, Counter[int]]] = {}

    def add(self, facts: RowFacts) -> None:
        """Count one row."""
        self.rows += 1
        if facts.problem:
            self.problems.add(facts.problem, facts.message)
            return
        self.notes.update(facts.notes)
        for name, value in (("tasks", facts.task), ("calls", facts.calls), ("images", facts.images)):
            self.counts[name][value] += 1
        self.counts["tools"].update(facts.tools)
        self.boxes.update(min(99, int(share * 100)) for share in facts.boxes)
        self.latents.update(facts.latents)
        for view, tokens in facts.tokens.items():
            kinds = self.tokens.setdefault(view, {name: Counter() for name in ("total", "visual", "supervised")})
            for kind, counter in kinds.items():
                counter[getattr(tokens, kind)] += 1

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        bad = self.problems.counts.total()
        return {
            "rows": self.rows,
            "good": self.rows - bad,
            "bad": bad,
            "problems": self.problems.summary(),
            "notes": dict(self.notes.most_common()),
            **{name: {str(key): value for key, value in sorted(c.items())} for name, c in self.counts.items()},
            "tokens": {v: {kind: spread(c) for kind, c in kinds.items()} for v, kinds in self.tokens.items()},
            "box_percent": {str(key): value for key, value in sorted(self.boxes.items())},
            "box_tokens": {str(key): value for key, value in sorted(self.latents.items())},
        }


def spread(counter: Counter[int]) -> dict[str, float]:
    """Return count, minimum, mean, median, 95th percentile and maximum of the counted values."""
    total = sum(counter.values())
    if not total:
        return {"count": 0}
    values = sorted(counter)
    return {
        "count": total,
        "min": values[0],
        "mean": round(sum(value * counter[value] for value in values) / total, 2),
        "median": _quantile(counter, values, 0.5 * total),
        "p95": _quantile(counter, values, 0.95 * total),
        "max": values[-1],
    }


def _quantile(counter: Counter[int], values: list[int], rank: float) -> int:
    seen = 0
    for value in values:
        seen += counter[value]
        if seen >= rank:
            break
    return value
