"""What each source of a mixture contributes: sums and units of its examples between two logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jepa_vlm.latent_vlm import LossTerms


@final
class SourceLedger:
    """Sums every term by source, over micro-batches, steps and processes, and divides by the units of that source.

    However a step is split, a source's value is the sum over all its units (tokens, examples, pairs) seen since the
    last log, divided by their number.

    Args:
        sources: Their names; none without a mixture.
        weights: By term: its weight in the objective.
    """

    def __init__(self, *, sources: Sequence[str], weights: Mapping[str, float]) -> None:
        self._sources, self._weights = tuple(sources), dict(weights)
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, list[int]] = {}

    def add(self, terms: LossTerms, counts: Sequence[Mapping[str, int]]) -> None:
        """Note one micro-batch; nothing waits for the device.

        Args:
            terms: Of the micro-batch.
            counts: By source: the units of each term.
        """
        for name, own in terms.by_source.items():
            if name in terms.skipped:
                continue
            wide = own.double()
            self._sums[name] = self._sums[name] + wide if name in self._sums else wide
            held = self._counts.setdefault(name, [0] * len(self._sources))
            self._counts[name] = [have + one[name] for have, one in zip(held, counts, strict=True)]

    def drain(self) -> dict[str, Any]:
        """Return terms by source over all processes, those without a unit left out, and start anew."""
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
