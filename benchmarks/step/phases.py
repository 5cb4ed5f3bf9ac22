"""Which part of a step costs what: a gauge is read wherever the step passes from one phase to the next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, final

import torch

from jepa_vlm.adapters import Backbone

# In the order of a step. ``inputs``: embedding and placing what a row is fed; ``target``: rows without gradient;
# ``row``: the conversations, and the [PRED] slots that branch off them.
PHASES = ("vision", "inputs", "target", "row", "losses", "backward", "optimizer")
Reading = Any  # of a gauge: a number, or an event on a GPU


class Gauge(Protocol):
    """Something that grows while a step runs: a clock, or a counter."""

    def read(self) -> Reading:
        """Return a reading, without waiting for the device."""

    def between(self, first: Reading, second: Reading) -> float:
        """Return how much it grew; the device has come to rest."""


@final
class ProcessClock:
    """Seconds of processor time, of all threads together: time that other processes take is not in it."""

    def read(self) -> Reading:
        """See ``Gauge.read``."""
        return time.process_time()

    def between(self, first: Reading, second: Reading) -> float:
        """See ``Gauge.between``."""
        return float(second - first)


@final
class CudaClock:
    """Seconds on the GPU, by events in its stream: time that it waits for the host is included."""

    def read(self) -> Reading:
        """See ``Gauge.read``."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, first: Reading, second: Reading) -> float:
        """See ``Gauge.between``."""
        return float(first.elapsed_time(second)) / 1000


@final
class PhaseMeter:
    """Reads a gauge at the borders of a step's phases.

    Vision tower and decoder are watched by hooks, so that any engine and any stock model can be taken apart; what lies
    between two of their calls is ``inputs``, what follows the last one is ``losses``.

    Args:
        backbone: Whose parts are watched.
        gauge: What is read.
    """

    def __init__(self, *, backbone: Backbone, gauge: Gauge) -> None:
        self._backbone, self._gauge = backbone, gauge
        self._marks: list[tuple[str, Reading]] = []

    @contextmanager
    def watching(self) -> Iterator[PhaseMeter]:
        """Watch one step; it begins inside, and ends with ``mark("end")``."""
        base, adapter = self._backbone.base, self._backbone.adapter
        tower, decoder = adapter.vision(base), adapter.decoder(base)
        hooks = [
            tower.register_forward_pre_hook(lambda *_: self.mark("vision")),
            decoder.register_forward_pre_hook(lambda *_: self.mark("row" if torch.is_grad_enabled() else "target")),
            tower.register_forward_hook(lambda *_: self.mark("inputs")),
            decoder.register_forward_hook(lambda *_: self.mark("inputs")),
        ]
        self._marks = [("inputs", self._gauge.read())]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def mark(self, phase: str) -> None:
        """Say that a phase begins here."""
        self._marks.append((phase, self._gauge.read()))

    def intervals(self) -> list[tuple[str, Reading, Reading]]:
        """Return each stretch of the step: its phase, and the gauge at its two ends."""
        names = [name for name, _ in self._marks]
        if "backward" in names:  # what comes after the last pass of the decoder, and before going back
            names[names.index("backward") - 1] = "losses"
        readings = [reading for _, reading in self._marks]
        return list(zip(names, readings, readings[1:], strict=False))

    def by_phase(self) -> dict[str, float]:
        """Return how much the gauge grew in each phase."""
        found = dict.fromkeys(PHASES, 0.0)
        for name, first, second in self.intervals():
            found[name] += self._gauge.between(first, second)
        return found

    @property
    def total(self) -> float:
        """How much the gauge grew over the whole step."""
        return self._gauge.between(self._marks[0][1], self._marks[-1][1])
