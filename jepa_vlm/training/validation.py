"""Exact loss on held-out trajectories: sums and counts over all of them, whatever the batches and processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, final

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch.utils.data import DataLoader

from jepa_vlm.generation.inference import inference
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.training.monitors import ROWS, LatentMonitor
from jepa_vlm.training.worker_signals import OutlivingSigterm
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.mixture import Mixture, Source

Pair = tuple[torch.Tensor, torch.Tensor]  # predicted and target latents of a batch
Collate = Callable[[list[Trajectory]], dict[str, Any]]


@final
@dataclass(frozen=True)
class _Found:
    """What one process found on its share.

    Args:
        sums: By term, or "term/part": over all examples.
        counts: By term: its units.
        latents: By term: the newest pairs.
        shuffled: By "term/part": what own and other examples' targets cost, and the number of examples.
    """

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    latents: dict[str, list[Pair]] = field(default_factory=dict)
    shuffled: dict[str, tuple[float, float, int]] = field(default_factory=dict)


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

    def __call__(self, model: LatentVLM, accelerator: Accelerator) -> dict[str, Any]:
        """Return ``loss``, ``terms`` (raw, weighted, count) and ``monitors`` of every latent term.

        Where a term tells what other examples' targets cost, its monitors are that loss and the matched one, by part.

        Of a mixture also ``sources``: loss and terms by the name of each source.
        """
        sources = self.examples.sources if isinstance(self.examples, Mixture) else (Source("", self.examples),)
        weights = model.objective.weights
        found = [self._gathered(model, accelerator, source.examples) for source in sources]
        whole = _joined([one for parts in found for one in parts], weights, self.judged)
        if not isinstance(self.examples, Mixture):
            return whole
        own = {source.name: _joined(parts, weights, self.judged) for source, parts in zip(sources, found, strict=True)}
        return {**whole, "sources": {name: {key: one[key] for key in ("loss", "terms")} for name, one in own.items()}}

    def _gathered(self, model: LatentVLM, accelerator: Accelerator, examples: Sequence[Trajectory]) -> list[_Found]:
        """Return what every process found over the examples."""
        own = _Found()
        share = examples[accelerator.process_index :: accelerator.num_processes]
        loader: DataLoader[Any] = DataLoader(
            share,  # type: ignore[arg-type]
            batch_sampler=_batches(len(share), self.batch_size),
            collate_fn=OutlivingSigterm(self.collator),
            num_workers=self.workers,
            generator=torch.Generator(),  # its own, so that validating draws nothing from the run's
        )
        with inference(model):
            for batch in loader:
                terms = model(send_to_device(batch, accelerator.device))
                for name, value in terms.sums.items():
                    own.sums[name] = own.sums.get(name, 0.0) + float(value)
                    own.counts[name] = own.counts.get(name, 0.0) + float(terms.counts[name])
                for key, part in terms.parts.items():  # its micro-batch's mean; what is summed is the sum
                    of = max(terms.counts[key.partition("/")[0]], 1)
                    own.sums[key] = own.sums.get(key, 0.0) + float(part) * of
                for key, one in terms.shuffled.items():
                    matched, shuffled, count = own.shuffled.get(key, (0.0, 0.0, 0))
                    losses = matched + float(one.matched), shuffled + float(one.shuffled)
                    own.shuffled[key] = (*losses, count + one.count)
                for name, pair in terms.latents.items():
                    _keep_newest(own.latents.setdefault(name, []), pair)
        gathered: list[_Found] = gather_object([own]) if accelerator.num_processes > 1 else [own]
        return gathered


def _batches(examples: int, size: int) -> list[list[int]]:
    """Return the examples of each batch. A last one that would be alone joins the batch before it: some terms compare
    the examples of a batch, and find nothing in a batch of one.
    """
    ends = [*range(size, examples, size), examples]
    if len(ends) > 1 and ends[-1] - ends[-2] == 1:
        del ends[-2]
    return [list(range(start, end)) for start, end in pairwise([0, *ends])] if examples else []


def _keep_newest(kept: list[Pair], pair: Pair) -> None:
    """Add a batch's latents, and drop those that no monitor would still hold: a term may have thousands of slots."""
    predicted, target = (latents[-ROWS:].float().cpu() for latents in pair)
    kept.append((predicted, target))
    while sum(len(one) for one, _ in kept[1:]) >= ROWS:
        del kept[0]


def _joined(found: Sequence[_Found], weights: dict[str, float], judged: Sequence[str] | None) -> dict[str, Any]:
    terms: dict[str, dict[str, Any]] = {}
    monitors: dict[str, dict[str, float]] = {}
    for name, weight in weights.items():
        total = sum(one.sums.get(name, 0.0) for one in found)
        count = sum(one.counts.get(name, 0.0) for one in found)
        raw = total / max(count, 1)
        terms[name] = {"raw": raw, "weighted": weight * raw, "count": count}
        keys = dict.fromkeys(key for one in found for key in one.sums if key.startswith(f"{name}/"))
        if keys:
            parts = {key: sum(one.sums.get(key, 0.0) for one in found) / max(count, 1) for key in keys}
            terms[name]["parts"] = {key.partition("/")[2]: part for key, part in parts.items()}
    for name in dict.fromkeys(name for one in found for name in one.latents):
        monitor = LatentMonitor(rows=ROWS)
        for one in found:
            for predicted, target in one.latents.get(name, []):
                monitor.update(predicted, target)
        monitors[name] = monitor.summary()
    for key in dict.fromkeys(key for one in found for key in one.shuffled):
        held = [one.shuffled[key] for one in found if key in one.shuffled]
        matched, shuffled, count = (sum(each) for each in zip(*held, strict=True))
        name, _, part = key.partition("/")
        losses = {f"matched_loss_{part}": matched / count, f"shuffled_loss_{part}": shuffled / count}
        monitors.setdefault(name, {}).update(losses)
    loss = sum(terms[name]["weighted"] for name in (terms if judged is None else judged))
    return {"loss": loss, "terms": terms, "monitors": monitors}
