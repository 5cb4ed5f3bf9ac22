"""Exact loss on held-out trajectories: sums and counts over all of them, whatever the batches and processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, final

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jepa_vlm.engine import Batch
from jepa_vlm.generation.greedy import inference
from jepa_vlm.latent_vlm import LatentVLM, LossTerms
from jepa_vlm.training.monitors import kind_of, latent_figures, partners, within_kinds
from jepa_vlm.training.signals import OutlivingSigterm
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.rows import Mixture, Source
from jepa_vlm.typing import at_least_float32

ROWS = 512  # latents from which a term's figures are made
Collate = Callable[..., Batch]
Compared = tuple[Trajectory, Trajectory | None]


class _Latents(NamedTuple):
    """Latents of one term, one per row, with the number of its example and its place among that example's latents."""

    example: Tensor
    number: Tensor
    predicted: Tensor
    target: Tensor


@final
@dataclass(frozen=True)
class _Found:
    """One process's results on its share.

    Args:
        sums: Sum over all examples, keyed by term or "term/part".
        counts: Each term's loss denominator.
        latents: Latents from which each term's monitors are computed.
        shuffled: Loss against the own and another example's target, and the number of examples, keyed by "term/part".
    """

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    latents: dict[str, list[_Latents]] = field(default_factory=dict)
    shuffled: dict[str, tuple[float, float, int]] = field(default_factory=dict)

    def add(self, terms: LossTerms, examples: Sequence[int], most: int) -> None:
        """Add a batch.

        Args:
            terms: The batch's terms.
            examples: Number of each example in the set; no latents are kept of an example with -1.
            most: Most latents that are kept of an example.
        """
        for name, value in terms.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
            self.counts[name] = self.counts.get(name, 0.0) + float(terms.counts[name])
        for key, part in terms.parts.items():  # a part is the micro-batch's mean; its sum is added
            of = max(terms.counts[key.partition("/")[0]], 1)
            self.sums[key] = self.sums.get(key, 0.0) + float(part) * of
        for key, one in terms.shuffled.items():
            matched, shuffled, count = self.shuffled.get(key, (0.0, 0.0, 0))
            losses = matched + float(one.matched), shuffled + float(one.shuffled)
            self.shuffled[key] = (*losses, count + one.count)
        for name, pair in terms.latents.items():
            rows = terms.documents.get(name, torch.arange(len(examples))).cpu()
            number = torch.arange(len(rows)) - torch.searchsorted(
                rows, rows
            )  # the rows of an example follow each other
            example = torch.tensor(examples)[rows]
            kept = (number < most) & (example >= 0)
            predicted, target = at_least_float32(*(latents.cpu()[kept] for latents in pair))
            self.latents.setdefault(name, []).append(_Latents(example[kept], number[kept], predicted, target))


@final
class Validation:
    """Evaluates the objective on a fixed set; every process takes its share, and all get the whole result.

    Args:
        examples: Held-out trajectories.
        collator: The model's.
        batch_size: Per process.
        workers: Processes that load data.
        judged: Terms that make up ``loss``; None takes all. The others are measured as well.
    """

    def __init__(
        self,
        *,
        examples: Sequence[Trajectory],
        collator: Collate,
        batch_size: int,
        workers: int = 0,
        judged: Sequence[str] | None = None,
    ) -> None:
        self.examples, self.collator, self.batch_size, self.workers = examples, collator, batch_size, workers
        self.judged = judged
        self._kinds: list[str] = []
        self._partners: list[int | None] = []

    def __call__(self, model: LatentVLM, accelerator: Accelerator) -> dict[str, Any]:
        """Return ``loss``, ``terms`` (raw, weighted, count) and ``monitors`` of every latent term.

        The monitors are ``latent_figures`` and ``within_kinds`` of the first latents of examples that lie evenly in the
        set, ``ROWS`` at most. Where a term tells instead what another example's target costs,
        they are that loss and the matched one, by part, and the number of examples that have another one of their kind.

        Of a mixture also ``sources``: loss and terms by the name of each source.
        """
        sources = self.examples.sources if isinstance(self.examples, Mixture) else (Source("", self.examples),)
        weights = model.objective.weights
        self._look()
        found, start = [], 0
        for source in sources:
            found.append(self._gathered(model, accelerator, start, len(source.examples)))
            start += len(source.examples)
        directions = {term.name: term.by_direction for _, term in model.objective.parts()}
        every = [one for parts in found for one in parts]
        whole = {**_joined(every, weights, self.judged), "monitors": _monitors(every, self._kinds, directions)}
        if not isinstance(self.examples, Mixture):
            return whole
        own = {source.name: _joined(parts, weights, self.judged) for source, parts in zip(sources, found, strict=True)}
        return {**whole, "sources": own}

    def _look(self) -> None:
        """Note each example's kind once: its source's name is part of it."""
        if not self._kinds:
            held = self.examples
            names = [source.name for source in held.sources] if isinstance(held, Mixture) else []
            of = [f"{names[held.source_of(i)]}: " if isinstance(held, Mixture) else "" for i in range(len(held))]
            self._kinds = [name + kind_of(held[i]) for i, name in enumerate(of)]
            self._partners = partners(self._kinds)

    def _gathered(self, model: LatentVLM, accelerator: Accelerator, start: int, count: int) -> list[_Found]:
        """Return what every process found over some of the examples, which follow each other."""
        own, n = _Found(), len(self.examples)
        share = range(start, start + count)[accelerator.process_index :: accelerator.num_processes]
        cuts = _batches(len(share), self.batch_size)
        loader: DataLoader[Any] = DataLoader(
            _Pairs(self.examples, share, self._partners),
            batch_sampler=cuts,
            collate_fn=OutlivingSigterm(_CollatePairs(self.collator)),
            num_workers=self.workers,
            generator=torch.Generator(),  # its own, so that validating draws nothing from the run's
        )
        most = max(1, ROWS // n)
        with inference(model):
            for cut, batch in zip(cuts, loader, strict=True):
                # Of more examples than ROWS, those that lie evenly in the set.
                watched = [i if i * ROWS // n < (i + 1) * ROWS // n else -1 for i in (share[at] for at in cut)]
                own.add(model(send_to_device(batch, accelerator.device)), watched, most)
        gathered: list[_Found] = gather_object([own]) if accelerator.num_processes > 1 else [own]
        return gathered


def _batches(examples: int, size: int) -> list[list[int]]:
    """Return the examples of each batch. A last one that would be alone joins the batch before it: some terms compare
    the examples of a batch, and find nothing in a batch of one.
    """
    ends = [*range(size, examples, size), examples]
    if size > 1 and len(ends) > 1 and ends[-1] - ends[-2] == 1:
        del ends[-2]
    return [list(range(start, end)) for start, end in pairwise([0, *ends])] if examples else []


@final
class _Pairs(Dataset[Compared]):
    """Examples of a set, each with another one of its kind."""

    def __init__(self, examples: Sequence[Trajectory], numbers: Sequence[int], partners: Sequence[int | None]) -> None:
        self.examples, self.numbers, self.partners = examples, numbers, partners

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Compared:
        number = self.numbers[index]
        partner = self.partners[number]
        return self.examples[number], None if partner is None else self.examples[partner]


@final
class _CollatePairs:
    """Makes a batch of examples and those that they are compared with; picklable."""

    def __init__(self, collator: Collate) -> None:
        self.collator = collator

    def __call__(self, pairs: Sequence[Compared]) -> Batch:
        return self.collator([example for example, _ in pairs], others=[other for _, other in pairs])


def _monitors(
    found: Sequence[_Found], kinds: Sequence[str], directions: Mapping[str, bool]
) -> dict[str, dict[str, float]]:
    monitors: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for one in found for name in one.latents):
        held = [latents for one in found for latents in one.latents.get(name, [])]
        latents = _Latents(*(torch.cat(part) for part in zip(*held, strict=True)))
        if not len(latents.example):
            monitors[name] = {}
            continue
        # Several latents of an example stand for different things: the first is compared with the others' first.
        own = [f"{kinds[i]}, {k}" for i, k in zip(latents.example.tolist(), latents.number.tolist(), strict=True)]
        pair = latents.predicted, latents.target
        monitors[name] = latent_figures(*pair) | within_kinds(*pair, own, by_direction=directions[name])
    for key in dict.fromkeys(key for one in found for key in one.shuffled):
        losses = [one.shuffled[key] for one in found if key in one.shuffled]
        matched, shuffled, count = (sum(each) for each in zip(*losses, strict=True))
        name, _, part = key.partition("/")
        own_loss = {f"matched_loss_{part}": matched / count, f"shuffled_loss_{part}": shuffled / count}
        monitors.setdefault(name, {}).update({**own_loss, f"compared_{part}": count})
    return monitors


def _joined(found: Sequence[_Found], weights: dict[str, float], judged: Sequence[str] | None) -> dict[str, Any]:
    terms: dict[str, dict[str, Any]] = {}
    for name, weight in weights.items():
        total = sum(one.sums.get(name, 0.0) for one in found)
        count = sum(one.counts.get(name, 0.0) for one in found)
        raw = total / max(count, 1)
        terms[name] = {"raw": raw, "weighted": weight * raw, "count": count}
        keys = dict.fromkeys(key for one in found for key in one.sums if key.startswith(f"{name}/"))
        if keys:
            parts = {key: sum(one.sums.get(key, 0.0) for one in found) / max(count, 1) for key in keys}
            terms[name]["parts"] = {key.partition("/")[2]: part for key, part in parts.items()}
    loss = sum(terms[name]["weighted"] for name in (terms if judged is None else judged))
    return {"loss": loss, "terms": terms}
