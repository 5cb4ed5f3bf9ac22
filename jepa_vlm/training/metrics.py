"""The terms' values between two logs, and metrics.jsonl: one JSON object per line, appended as a run goes.

Rows of training, every few steps, averaged since the last one:
    {"kind": "train", "step", "passes", "loss", "learning_rate", "grad_norm", "seconds",
     "terms": {term: {"raw", "weighted"}},
     "sources": {name: {"terms": {term: {"raw", "weighted", "count"}}}}}, the last of a mixture alone
Rows of validation, on held-out trajectories, exact sums over all of them:
    {"kind": "validation", "step", "passes", "loss",
     "terms": {term: {"raw", "weighted", "count"}}, "monitors": {term: {name: value}},
     "sources": {name: {"loss", "terms"}}}, the last of a mixture alone
A term with several parts, such as one for each expert, has them too: ``"parts": {part: value}`` sum to its raw value.
``loss`` is the sum of the weighted terms; ``passes`` counts how often the training set has been seen; ``seconds`` is
the time spent training so far. A run that is resumed repeats no step: later rows are cut off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from jepa_vlm.whole_files import write_whole

if TYPE_CHECKING:
    from jepa_vlm.latent_vlm import LossTerms


@final
class MetricsFile:
    """Appends rows to a run's metrics.jsonl; does nothing on ranks that must not write.

    Args:
        path: The file.
        write: Whether this process writes.
    """

    def __init__(self, *, path: Path, write: bool = True) -> None:
        self.path, self._write = path, write

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and flush it, so that a killed run keeps it."""
        if not self._write:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def cut_after(self, step: int) -> None:
        """Drop the rows of later steps: a run resumed from a checkpoint writes them again."""
        if not self._write or not self.path.exists():
            return
        kept = [row for row in read_metrics(self.path) if row["step"] <= step]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept))  # a run killed here keeps its rows

    def seconds(self) -> float:
        """Return the time spent training at the last row that knows it, 0 before the first."""
        rows = read_metrics(self.path) if self.path.exists() else []
        return float(next((row["seconds"] for row in reversed(rows) if "seconds" in row), 0.0))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl, in order; a line cut short by a killed run is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


@final
class TermLedger:
    """Sums every term over the micro-batches of a step and over the steps since the last log.

    A micro-batch's terms are already divided by the denominators of the whole accumulated global batch: sums over
    micro-batches, averaged over processes, are the step's values.
    """

    def __init__(self) -> None:
        self._raw: dict[str, Tensor] = {}
        self._weighted: dict[str, Tensor] = {}
        self._parts: dict[str, Tensor] = {}  # keyed by "term/part"
        self._computed: dict[str, int] = {}  # steps that did not leave the term out
        self._step: list[tuple[Sequence[str], dict[str, Tensor]]] = []

    def add(self, terms: LossTerms, ids: Sequence[str]) -> None:
        """Note one micro-batch; nothing waits for the device."""
        names = [name for name in terms.raw if name not in terms.skipped]
        for kept, values, own in (
            (self._raw, terms.raw, names),
            (self._weighted, terms.weighted, names),
            (self._parts, terms.parts, list(terms.parts)),
        ):
            for name in own:
                value = values[name].detach()
                kept[name] = kept[name] + value if name in kept else value.clone()
        if not self._step:
            self._computed.update({name: self._computed.get(name, 0) + 1 for name in names})
        self._step.append((ids, {name: terms.raw[name].detach() for name in names}))

    def step_total(self) -> Tensor | None:
        """Return the sum of everything noted since ``close_step``: finite if and only if all of it is."""
        values = [value for _, raw in self._step for value in raw.values()]
        return torch.stack([value.double() for value in values]).sum() if values else None

    def broken(self) -> list[tuple[str, list[str]]]:
        """Return (term, ids of the micro-batch) for every value of this step that is not finite."""
        return [
            (name, list(ids))
            for ids, raw in self._step
            for name, value in raw.items()
            if not bool(torch.isfinite(value))
        ]

    def close_step(self) -> None:
        """Forget this step's micro-batches; the sums since the last log stay."""
        self._step.clear()

    def drain(self, *, steps: int) -> dict[str, dict[str, Any]]:
        """Return each term's values over all processes, and start anew: its weighted mean over ``steps``, its raw mean
        over those that computed it, and, where it has several, its ``parts``, which make up the raw one. A term that
        all of them left out is missing.
        """
        names, parts = list(self._raw), list(self._parts)
        if not names or steps < 1:
            return {}
        sums = [
            *(self._raw[name] for name in names),
            *(self._weighted[name] for name in names),
            *(self._parts[part] for part in parts),
        ]
        computed = [self._computed[name] for name in names]
        over = [*computed, *[steps] * len(names), *(self._computed[part.partition("/")[0]] for part in parts)]
        means = torch.stack([value.double() for value in sums])
        means = means / means.new_tensor(over)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(means)
            means /= torch.distributed.get_world_size()
        self._raw, self._weighted, self._parts, self._computed = {}, {}, {}, {}
        values, count = means.tolist(), len(names)
        pairs = zip(names, values[:count], values[count : 2 * count], strict=True)
        found: dict[str, dict[str, Any]] = {name: {"raw": raw, "weighted": weighted} for name, raw, weighted in pairs}
        for part, value in zip(parts, values[2 * count :], strict=True):
            term, _, name = part.partition("/")
            found[term].setdefault("parts", {})[name] = value
        return found


@final
class SourceLedger:
    """Sums every term by source, over micro-batches, steps and processes, and divides by that source's denominators.

    However a step is split, a source's value is the sum over all its tokens, examples or pairs since the last log,
    divided by their number.

    Args:
        sources: Names of the sources; none without a mixture.
        weights: Each term's weight in the objective.
    """

    def __init__(self, *, sources: Sequence[str], weights: Mapping[str, float]) -> None:
        self._sources, self._weights = tuple(sources), dict(weights)
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, list[int]] = {}

    def add(self, terms: LossTerms, counts: Sequence[Mapping[str, int]]) -> None:
        """Note one micro-batch; nothing waits for the device.

        Args:
            terms: The micro-batch's terms.
            counts: The loss denominator of each term, by source.
        """
        for name, own in terms.by_source.items():
            if name in terms.skipped:
                continue
            wide = own.double()
            self._sums[name] = self._sums[name] + wide if name in self._sums else wide
            held = self._counts.setdefault(name, [0] * len(self._sources))
            self._counts[name] = [have + one[name] for have, one in zip(held, counts, strict=True)]

    def drain(self) -> dict[str, Any]:
        """Return terms by source over all processes, without those whose denominator is 0, and start anew."""
        if not self._sums:
            return {}
        names = [name for name in self._weights if name in self._sums]
        sums = torch.stack([self._sums[name] for name in names])
        found = torch.stack([sums, sums.new_tensor([self._counts[name] for name in names])])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(found)
        self._sums, self._counts = {}, {}
        return {
            source: {"terms": own}
            for source, rows in zip(self._sources, found.permute(2, 1, 0).tolist(), strict=True)
            if (own := {name: self._value(name, *row) for name, row in zip(names, rows, strict=True) if row[1]})
        }

    def _value(self, name: str, total: float, count: float) -> dict[str, float]:
        raw = total / count
        return {"raw": raw, "weighted": self._weights[name] * raw, "count": count}
