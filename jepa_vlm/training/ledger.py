"""Keeps each term's value between two logs, on the device, and finds the one that is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jepa_vlm.latent_vlm import LossTerms


@final
class TermLedger:
    """Sums every term over the micro-batches of a step and over the steps since the last log.

    A micro-batch's terms are already divided by the units of the whole accumulated global batch, so that sums over
    micro-batches, averaged over processes, are the step's values.
    """

    def __init__(self) -> None:
        self._raw: dict[str, Tensor] = {}
        self._weighted: dict[str, Tensor] = {}
        self._parts: dict[str, Tensor] = {}  # by "term/part"
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
